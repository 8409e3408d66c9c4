"""The two files for `ray up`: Ray's own schema, and what a cluster must not be without."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml
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
