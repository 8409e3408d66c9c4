"""The plan of a toy study on made-up machines: lanes, ranks, shares, and what cannot fit."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from angioray.cluster import plan as plan_module
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


def test_lanes_that_a_cluster_may_grow_to_are_not_refused(toy_cohort: Cohort) -> None:
    (group,) = planned(toy_cohort, [], lanes=4, grow=True).groups
    assert (group.lanes, group.gpus) == (4, 1.0)
    with pytest.raises(ValueError, match="grow is true; `lanes` must say"):
        LaneSettings(grow=True)


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
    # 10 sequences with a lesion, 5 frames each that have a box.
    assert need.frames == 50 * 64 * 64
    assert torch.device("meta") not in {t.device for t in state.values()}
