"""The two files for `ray up`: Ray's own schema, and what a cluster must not be without."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.end_to_end.command_processes import REPOSITORY

FILES = ["cluster.yaml", "cluster-onprem.yaml"]


def document(name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((REPOSITORY / name).read_text())
    return parsed


def validated(found: dict[str, Any]) -> dict[str, Any]:
    """As `ray up` prepares it, and as the cluster's head checks it against Ray's schema."""
    prepared: dict[str, Any] = prepare_config(found)
    validate_config({**prepared, "cluster_synced_files": []})
    return prepared


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_it(name: str) -> None:
    prepared = validated(document(name))
    assert prepared["max_workers"] == document(name)["max_workers"]


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_key_is_not_accepted(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match="idle_minutes"):
        validated(document(name) | {"idle_minutes": 3})


@pytest.mark.parametrize("name", FILES)
def test_the_token_is_there_before_ray_and_the_dashboard_is_for_nobody_else(name: str) -> None:
    found = document(name)
    assert any(target.endswith("/.ray/auth_token") for target in found["file_mounts"])
    first = " ".join(found["initialization_commands"])
    assert "chmod 600" in first and "RAY_AUTH_MODE=token" in first
    assert "RAY_TMPDIR=" in first
    for start in (found["head_start_ray_commands"], found["worker_start_ray_commands"]):
        assert start.index("install -d -m 700 $RAY_TMPDIR") < len(start) - 1
    (head,) = [line for line in found["head_start_ray_commands"] if "--head" in line]
    assert "--dashboard-host=127.0.0.1" in head
    assert "0.0.0.0" not in (REPOSITORY / name).read_text()


def test_machines_in_the_cloud_come_on_demand_and_may_be_taken_back() -> None:
    workers = document("cluster.yaml")["available_node_types"]["gpu"]
    assert workers["min_workers"] == 0 < workers["max_workers"]
    assert workers["resources"]["GPU"] >= 1
    assert workers["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    head = document("cluster.yaml")["available_node_types"]["head"]
    assert head["resources"] == {"CPU": 0}


@pytest.mark.parametrize("name", FILES)
def test_what_may_be_rented_stands_in_the_file_and_not_in_the_command(name: str) -> None:
    said = (REPOSITORY / name).read_text()
    assert "-m angioray.cv" in said
    assert "--lanes." not in said


def test_machines_in_the_cloud_have_the_least_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray prepares the file and rents a machine of each kind, of an AWS on loopback."""
    monkeypatch.setenv("HOME", str(tmp_path))  # where Ray keeps the key that it makes
    with mock_aws():
        ec2 = boto3.client("ec2", region_name="eu-central-1")
        iam = boto3.client("iam", region_name="eu-central-1")
        group = ec2.create_security_group(GroupName="angioray", Description="-")["GroupId"]
        before = len(ec2.describe_security_groups()["SecurityGroups"])
        found = document("cluster.yaml")
        for kind in found["available_node_types"].values():
            assert len(kind["node_config"]["SecurityGroupIds"]) == 1
            kind["node_config"]["SecurityGroupIds"] = [group]
        kinds = bootstrap_aws(validated(found))["available_node_types"]
        assert len(ec2.describe_security_groups()["SecurityGroups"]) == before
        assert iam.list_roles()["Roles"] == [] == iam.list_instance_profiles()["InstanceProfiles"]
        assert "instance-profile/angioray-head" in str(kinds["head"]["node_config"])
        assert "IamInstanceProfile" not in kinds["gpu"]["node_config"]
        for kind in kinds.values():
            wanted = {k: v for k, v in kind["node_config"].items() if k != "SubnetIds"}
            # What the loopback server cannot look up.
            wanted |= {"ImageId": "ami-12345678"}
            wanted.pop("IamInstanceProfile", None)
            (machine,) = ec2.run_instances(**wanted, MinCount=1, MaxCount=1)["Instances"]
            assert [found["GroupId"] for found in machine["SecurityGroups"]] == [group]
            assert machine["MetadataOptions"]["HttpTokens"] == "required"
            (disk,) = ec2.describe_volumes(
                Filters=[{"Name": "attachment.instance-id", "Values": [machine["InstanceId"]]}]
            )["Volumes"]
            assert disk["Encrypted"]


def test_the_roles_of_the_documentation_are_policies() -> None:
    """Every statement names its resources or a condition, but for what can only be looked up."""
    text = (REPOSITORY / "docs" / "clusters.md").read_text("utf-8")
    policies = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert len(policies) == 2
    for statement in [each for policy in policies for each in policy["Statement"]]:
        actions = statement["Action"]
        if statement["Resource"] == "*" and "Condition" not in statement:
            assert all(action.startswith("ec2:Describe") for action in actions), actions
        assert not [action for action in actions if action.endswith(":*")]
    with mock_aws():
        iam = boto3.client("iam")
        for number, policy in enumerate(policies):
            iam.create_policy(PolicyName=f"p{number}", PolicyDocument=json.dumps(policy))


def test_every_machine_of_ones_own_is_started() -> None:
    found = document("cluster-onprem.yaml")
    count = len(found["provider"]["worker_ips"])
    assert found["min_workers"] == found["max_workers"] == count
    assert "RAY_UP_enable_autoscaler_v2=0" in (REPOSITORY / "cluster-onprem.yaml").read_text()


@pytest.mark.parametrize("name", FILES)
def test_it_says_how_to_begin_and_how_to_end(name: str) -> None:
    said = (REPOSITORY / name).read_text()
    for word in ("ray up", "ray dashboard", "ray job submit", "ray down", "--status"):
        assert f"#   {word}" in said or f"{word} " in said
