"""What a cluster may become, by the file of `ray up`, as Ray completes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import yaml
from ray.autoscaler._private.util import prepare_config

from angioray.cluster.nodes import Node, nodes_to_come
from tests.end_to_end.command_processes import REPOSITORY

CUDA = frozenset({"cuda"})
GPU = Node("10.0.0.2", 16, 1, 10**11, 48 * 10**9, CUDA, kind="gpu")
EMPTY: dict[str, Any] = {"node_config": {}}


def config(name: str = "cluster.yaml", **kinds: dict[str, Any]) -> dict[str, Any]:
    """A file of this project with other kinds of nodes beside its own."""
    found = yaml.safe_load((REPOSITORY / name).read_text())
    if kinds:
        found["available_node_types"].update(kinds)
    prepared: dict[str, Any] = prepare_config(found)
    return prepared


def test_without_the_file_nothing_is_expected() -> None:
    assert nodes_to_come([GPU], None) == []


def test_all_eight_machines_of_the_cloud_may_come() -> None:
    new = Node("", 16, 1, bfloat16=None, kind="gpu", is_up=False)
    assert nodes_to_come([], config()) == [new] * 8


def test_machines_that_are_up_are_not_expected_again_and_say_what_others_are_like() -> None:
    assert nodes_to_come([GPU], config()) == [replace(GPU, is_up=False)] * 7
    assert nodes_to_come([GPU] * 8, config()) == []
    assert nodes_to_come([GPU] * 9, config()) == []


def test_a_cluster_that_may_not_grow_does_not() -> None:
    assert nodes_to_come([], config() | {"max_workers": 0}) == []
    none = {"resources": {"GPU": 4}, "max_workers": 0, **EMPTY}
    assert [node.kind for node in nodes_to_come([], config(large=none))] == ["gpu"] * 8


def test_kinds_come_up_to_their_limits_and_the_clusters_those_with_most_gpus_first() -> None:
    large = {"resources": {"CPU": 64, "GPU": 8, "memory": 2e11}, "max_workers": 2, **EMPTY}
    cores = {"resources": {"CPU": 64}, **EMPTY}  # without a number up to the cluster's
    mixed = config(cores=cores, large=large)
    found = nodes_to_come([], mixed)
    assert [node.kind for node in found] == ["large"] * 2 + ["gpu"] * 6
    assert found[0] == Node("", 64, 8, 2 * 10**11, bfloat16=None, kind="large", is_up=False)
    of_another_kind = [node.kind for node in nodes_to_come([replace(GPU, kind="cores")] * 3, mixed)]
    assert of_another_kind == ["large"] * 2 + ["gpu"] * 3


def test_the_head_is_none_of_the_machines_that_come() -> None:
    head = Node("10.0.0.1", cpus=4, gpus=0, kind="head")
    assert len(nodes_to_come([head], config())) == 8
    alike = config(head={"resources": {"CPU": 4}, "max_workers": 3, **EMPTY})
    assert nodes_to_come([head], alike)[-1].kind == "gpu"
    assert len(nodes_to_come([head, head], alike | {"max_workers": 11})) == 10


def test_machines_of_ones_own_are_there_or_not() -> None:
    assert nodes_to_come([], config("cluster-onprem.yaml")) == []
