"""The plan of a toy study on made-up machines: lanes, ranks, shares, and what cannot fit."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from angioray.cluster import plan as plan_module
from angioray.cluster.assumed import AssumedGpus
from angioray.cluster.footprint import Footprint
from angioray.cluster.lane_settings import LaneSettings
from angioray.cluster.nodes import Node
from angioray.cluster.plan import LaneGroup, Plan, make_plan
from angioray.study.selection import CohortIndex
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY
from tests.s3_server import S3

LAPTOP = [Node("laptop", cpus=8, gpus=0, memory=32_000_000_000)]
CUDA = frozenset({"cuda"})
BIG = [Node("big", cpus=64, gpus=8, memory=10**12, gpu_memory=80 * 10**9, bfloat16=CUDA)]
FROZEN = replace(
    TOY, detector=replace(TOY.detector, frozen_batch_norm=True, weights="imagenet", batch_size=8)
)


def planned(
    cohort: Cohort,
    nodes: list[Node],
    settings: StudySettings = TOY,
    *,
    only: str = "",
    runs: str = "/tmp/nothing-here",
    **lanes: object,
) -> Plan:
    study = Study.plan(cohort, runs, settings)
    index = CohortIndex.of(cohort, settings.view_classes)
    todo = [run for run in study.runs if run.name.startswith(only)]
    return make_plan(study, index, todo, LaneSettings(**lanes), nodes)  # type: ignore[arg-type]


def test_a_lane_for_each_run_where_there_are_cores(toy_cohort: Cohort) -> None:
    plan = planned(toy_cohort, LAPTOP)
    assert plan.groups == (LaneGroup(6, 1, 1.0, 0.0),)
    assert plan.at_once == 6
    assert "Found 0 GPUs, 8 CPU cores, 32 GB of memory." in plan.notes


def test_longest_runs_come_first(toy_cohort: Cohort) -> None:
    seconds = [entry.seconds for entry in planned(toy_cohort, LAPTOP).entries]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] > seconds[-1]


def test_small_runs_share_a_gpu(toy_cohort: Cohort) -> None:
    (group,) = planned(toy_cohort, [replace(BIG[0], gpus=1.0)]).groups
    assert (group.lanes, group.ranks, group.gpus) == (6, 1, 1 / 6)


def test_nothing_is_shared_where_the_gpus_memory_is_unknown(toy_cohort: Cohort) -> None:
    (group,) = planned(toy_cohort, [Node("n", cpus=8, gpus=1)]).groups
    assert (group.lanes, group.gpus) == (1, 1.0)


def test_fewer_runs_than_gpus_get_several_each(toy_cohort: Cohort) -> None:
    (group,) = planned(toy_cohort, BIG, FROZEN, only="detector-LCA").groups
    assert group == LaneGroup(2, 4, 1.0, 1.0, wide=True)


def test_batch_statistics_keep_a_run_on_one_gpu(toy_cohort: Cohort) -> None:
    (group,) = planned(toy_cohort, BIG, TOY, only="detector-LCA").groups
    assert (group.lanes, group.ranks) == (2, 1)


def test_lanes_add_up_over_nodes_and_every_process_fits_into_one(toy_cohort: Cohort) -> None:
    nodes = [Node("a", cpus=3, gpus=0), Node("b", cpus=3, gpus=0)]
    assert planned(toy_cohort, nodes, cpus=2.0).at_once == 2
    with pytest.raises(ValueError, match=r"3 CPU cores, but one run needs 1 x \(0 GPUs, 4 CPU"):
        planned(toy_cohort, nodes, cpus=4.0)


def test_memory_limits_lanes_on_processors(toy_cohort: Cohort) -> None:
    plan = planned(toy_cohort, [Node("small", cpus=8, gpus=0, memory=4_000_000_000)])
    assert plan.at_once == 2
    assert any("limited by memory" in note for note in plan.notes)


def test_a_gpu_that_is_too_small_is_refused_with_numbers(toy_cohort: Cohort) -> None:
    small = [replace(BIG[0], gpu_memory=10**9)]
    with pytest.raises(ValueError, match=r"GB on its GPU, but the smallest has 1\.0 GB"):
        planned(toy_cohort, small)


def test_a_disk_that_is_too_small_is_refused_with_numbers(
    toy_cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ValueError, match=r"needs \d\.\d GB .* but 0\.1 GB are free"):
        planned(toy_cohort, LAPTOP)


def test_a_cohort_in_a_store_must_fit_onto_this_disk_and_runs_there_need_none(
    toy_cohort: Cohort, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = Cohort.open(s3.upload(toy_cohort.folder, "cohort"))
    usage = shutil.disk_usage("/")._replace(free=10**5)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    runs = s3.uri("runs")
    with pytest.raises(ValueError, match=f"Copying the cohort from {cohort.copy.location} needs"):
        planned(cohort, LAPTOP, runs=runs)
    cohort.bring(cohort.sequences)
    plan = planned(cohort, LAPTOP, runs=runs)
    assert plan.free_bytes is None
    assert plan.disk_bytes > 10**5


def test_frames_that_do_not_fit_leave_one_lane_and_refuse_nothing(
    toy_cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Footprint.of

    def with_many_frames(*arguments: Any) -> Footprint:
        return replace(counted(*arguments), frames=10**12)

    monkeypatch.setattr(plan_module.Footprint, "of", with_many_frames)
    (group,) = planned(toy_cohort, LAPTOP).groups
    assert group.lanes == 1
    (group,) = planned(toy_cohort, BIG, gpus=1.0).groups
    assert group.lanes == 6  # a GPU for each run


RENTED = Node("", cpus=16, gpus=1, bfloat16=None, kind="gpu", is_up=False)
ONE_UP = Node("10.0.0.2", 16, 1, 10**11, 48 * 10**9, CUDA, kind="gpu")
ALIKE = replace(ONE_UP, is_up=False)
CORES = Node("", cpus=2, gpus=0, bfloat16=None, is_up=False)
EIGHT = replace(RENTED, cpus=64, gpus=8)


@pytest.mark.parametrize(
    ("nodes", "lanes"),
    [
        ([RENTED] * 8, 6),
        ([RENTED] * 4, 4),
        ([ONE_UP, *[ALIKE] * 7], 6),
        ([ONE_UP, *[ALIKE] * 3, *[RENTED] * 4], 6),
        ([ONE_UP] * 8, 6),
        ([*LAPTOP, *[RENTED] * 2, *[CORES] * 9], 2),
        ([CORES] * 2, 4),
        ([replace(CORES, is_up=True), CORES, CORES], 6),
    ],
)
def test_lanes_are_what_the_queue_can_use_and_the_cluster_may_become(
    toy_cohort: Cohort, nodes: list[Node], lanes: int
) -> None:
    gpus = 1.0 if any(node.gpus for node in nodes) else 0.0
    assert planned(toy_cohort, nodes).groups == (LaneGroup(lanes, 1, 1.0, gpus),)
    assert planned(toy_cohort, nodes, lanes=2).at_once == 2


def test_small_runs_share_the_gpus_of_nodes_to_come_if_they_are_known(toy_cohort: Cohort) -> None:
    (group,) = planned(toy_cohort, [ONE_UP, ALIKE]).groups
    assert (group.lanes, group.gpus) == (6, 1 / 3)
    (group,) = planned(toy_cohort, [ONE_UP, RENTED]).groups
    assert (group.lanes, group.gpus) == (2, 1.0)


def test_runs_get_several_gpus_of_a_node_to_come_and_never_more_than_one_has(
    toy_cohort: Cohort,
) -> None:
    def group(nodes: list[Node], **lanes: object) -> LaneGroup:
        (found,) = planned(toy_cohort, nodes, FROZEN, only="detector-LCA", **lanes).groups
        return found

    assert group([EIGHT]) == LaneGroup(2, 4, 1.0, 1.0, wide=True)
    assert group([EIGHT] * 2) == LaneGroup(2, 8, 1.0, 1.0, wide=True)
    assert group(BIG, grow=16) == LaneGroup(2, 8, 1.0, 1.0, wide=True)
    assert group([RENTED] * 8) == LaneGroup(2, 1, 1.0, 1.0)
    four, six = replace(EIGHT, gpus=4), replace(EIGHT, gpus=6)
    assert group([four, RENTED, RENTED], ranks=4) == LaneGroup(1, 4, 1.0, 1.0, wide=True)
    assert group([six, six], ranks=4, lanes=4) == LaneGroup(2, 4, 1.0, 1.0, wide=True)
    with pytest.raises(
        ValueError, match=r"may come to have 1 GPU,.* 2 x \(1 GPU,.* within one node"
    ):
        group([RENTED] * 8, ranks=2)


@pytest.mark.parametrize(
    ("nodes", "lanes", "group"),
    [
        ([], {"grow": 4}, (4, 1, 1.0)),
        ([], {"grow": 64}, (6, 1, 1.0)),
        ([], {"grow": 4, "ranks": 2}, (2, 2, 1.0)),
        ([], {"grow": 3, "gpus": 0.5}, (6, 1, 0.5)),
        ([], {"grow": 3, "gpus": 0.0}, (3, 1, 0.0)),
        ([], {"grow": 9, "gpus": 0.0, "cpus": 4.0}, (2, 1, 0.0)),
        (LAPTOP, {"grow": 4}, (4, 1, 1.0)),
        (LAPTOP, {"grow": 16, "gpus": 0.0, "cpus": 4.0}, (4, 1, 0.0)),
        ([RENTED] * 8, {"grow": 2}, (2, 1, 1.0)),
        ([ONE_UP], {"grow": 3, "gpus": 1.0}, (3, 1, 1.0)),
    ],
)
def test_the_user_says_what_the_cluster_may_grow_to(
    toy_cohort: Cohort, nodes: list[Node], lanes: dict[str, Any], group: tuple[int, int, float]
) -> None:
    (found,) = planned(toy_cohort, nodes, **lanes).groups
    assert (found.lanes, found.ranks, found.gpus) == group


def test_without_nodes_it_says_how_to_tell_what_may_come(toy_cohort: Cohort) -> None:
    with pytest.raises(ValueError, match=r"^No node of the cluster takes work.*`ray up`.*grow 8`"):
        planned(toy_cohort, [])


def test_what_is_not_known_of_nodes_to_come_is_said(toy_cohort: Cohort) -> None:
    def notes(nodes: list[Node], precision: str = "auto") -> tuple[str, ...]:
        return planned(toy_cohort, nodes, replace(TOY, precision=precision)).notes

    found, memory, _, arithmetic = notes([RENTED] * 8)
    assert found == ("Found no node that takes work; 8 x 1 GPU, 16 CPU cores may come on demand.")
    assert memory == "The memory of nodes to come is not known and limits nothing."
    assert arithmetic.startswith("Forward passes in bfloat16 on nodes that compute in it")
    unknown = "; whether nodes to come compute in it is not known."
    assert arithmetic.endswith(unknown)
    assert notes([RENTED], "bf16")[-1].endswith("in bfloat16, as it is set" + unknown)
    assert notes([RENTED], "fp32")[-1] == "Forward passes in float32, as it is set."
    assert notes([*BIG, RENTED])[-1].endswith(unknown)
    found, *_, arithmetic = notes([ONE_UP, ALIKE])
    assert found.endswith("; 1 GPU of 48 GB, 16 CPU cores, 100 GB of memory may come on demand.")
    assert "in bfloat16, which this" in arithmetic
    one_gpu = replace(BIG[0], gpus=1.0, gpu_memory=0)
    compiled = replace(TOY, compile=True)  # whose steps wait for the GPU alone
    slow, fast = (
        planned(toy_cohort, nodes, compiled).makespan_s for nodes in ([RENTED], [one_gpu])
    )
    assert slow > 2 * fast, "planned in float32, as long as it is not known"


def test_frames_that_lanes_share_are_counted_once(
    toy_cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Footprint.of
    monkeypatch.setattr(
        plan_module.Footprint, "of", lambda *given: replace(counted(*given), frames=10**10)
    )
    # Three tasks of two folds, with 10 GB of frames each; every process takes some 2 GB more.
    room = replace(LAPTOP[0], memory=44 * 10**9)
    (group,) = planned(toy_cohort, [room]).groups
    assert group.lanes == 6
    (group,) = planned(toy_cohort, [replace(room, memory=33 * 10**9)]).groups
    assert group.lanes == 2


def test_arithmetic_is_what_the_devices_compute_in(toy_cohort: Cohort) -> None:
    def said(nodes: list[Node], precision: str = "auto", **lanes: object) -> str:
        settings = replace(TOY, precision=precision)
        return planned(toy_cohort, nodes, settings, **lanes).notes[-1]

    able = replace(LAPTOP[0], bfloat16=frozenset({"cpu"}))
    assert said([able]) == "Forward passes in bfloat16, which this hardware computes in."
    assert said(LAPTOP) == "Forward passes in float32, as this hardware has no bfloat16."
    assert said([able], "fp32") == "Forward passes in float32, as it is set."
    assert "only emulates it, many times slower" in said(LAPTOP, "bf16")
    assert "on the nodes that compute in it and in float32 on the others" in said([able, *LAPTOP])
    assert "in bfloat16, which" in said(BIG)
    assert "in float32, as this hardware" in said(BIG, gpus=0.0)
    assert "in bfloat16, which" in said([*BIG, *LAPTOP]), "a node without GPUs bears no run"
    slow, fast = (planned(toy_cohort, nodes).makespan_s for nodes in (LAPTOP, [able]))
    assert slow > 2 * fast


def test_two_ranks_never_share_a_gpu() -> None:
    with pytest.raises(ValueError, match="two ranks of one run must not share"):
        LaneSettings(ranks=2, gpus=0.5)


def test_what_is_kept_on_disk_is_what_is_counted(toy_cohort: Cohort) -> None:
    study = Study.plan(toy_cohort, Path("/tmp/nothing-here"), TOY)
    index = CohortIndex.of(toy_cohort, TOY.view_classes)
    run = study.run("detector-LCA-B-64-fold0")
    need = Footprint.of(study, index, run, torch.float32)
    half = Footprint.of(study, index, run, torch.bfloat16)
    assert half.kept == need.kept and need.training / 2 < half.training < need.training
    from angioray.models.retinanet import RetinaNet

    state = RetinaNet(TOY.detector, pretrained=False).state_dict()
    assert need.kept == sum(t.numel() * t.element_size() for t in state.values())
    # 10 sequences with a lesion, 5 frames each that have a box; one frame of each healthy one.
    assert need.frames == 52 * 64 * 64
    assert torch.device("meta") not in {t.device for t in state.values()}


def assumed(cohort: Cohort, named: str, settings: StudySettings = TOY, **lanes: object) -> Plan:
    study = Study.plan(cohort, "/tmp/nothing-here", settings)
    index = CohortIndex.of(cohort, settings.view_classes)
    gpus = AssumedGpus.named(named)
    return make_plan(study, index, study.runs, LaneSettings(**lanes), LAPTOP, gpus)  # type: ignore[arg-type]


def test_a_plan_for_gpus_that_are_not_here_says_so(toy_cohort: Cohort) -> None:
    plan = assumed(toy_cohort, "4xH100", gpus=1.0)
    assert plan.notes[0] == (
        "Assumed, and not looked for: 4 GPUs of 80 GB, 64 CPU cores, 512 GB of memory."
    )
    assert plan.at_once == 4
    assert "0.94 times what the RetinaNet reached on an H200" in plan.rates.source
    assert plan.rates.otherwise == pytest.approx(2.5e14 * 300 / 318)


def test_tiny_steps_wait_for_the_host_and_compiled_ones_for_the_gpu(toy_cohort: Cohort) -> None:
    tiny = {entry.name: entry.seconds for entry in assumed(toy_cohort, "h200", gpus=1.0).entries}
    assert tiny["detector-LCA-B-64-fold0"] == TOY.detector.steps * 0.02
    compiled = replace(TOY, compile=True)
    slow, fast = (
        {e.name: e.seconds for e in assumed(toy_cohort, kind, compiled, gpus=1.0).entries}
        for kind in ("a100", "b200")
    )
    name = "detector-LCA-B-64-fold0"
    assert slow[name] / fast[name] == pytest.approx(500 / 128)


def test_many_assumed_gpus_are_in_machines_of_eight(toy_cohort: Cohort) -> None:
    nodes = AssumedGpus.named("20 x B200").nodes
    assert [node.gpus for node in nodes] == [8, 8, 4]
    for named in ("h20", "0xh200", "xh200", "4x", "-1xh200"):
        with pytest.raises(
            ValueError, match=r"expected a GPU whose speed is known, such as `h200`"
        ):
            AssumedGpus.named(named)
