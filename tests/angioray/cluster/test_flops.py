"""What a run is expected to take, from what others took."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from angioray.cluster.flops import CPU_CORE_FLOP_PER_S, GPU_FLOP_PER_S, lane_rates, run_flop
from angioray.study.run_folder import RunFolder
from angioray.study.selection import CohortIndex
from angioray.study.study import Study
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY


def finish(study: Study, name: str, seconds: float) -> None:
    RunFolder.of(study.folder, study.run(name)).files.write_json(
        "result.json", {"seconds": seconds}
    )


def test_a_run_is_expected_to_take_what_others_of_its_kind_took(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    study = Study.plan(toy_cohort, tmp_path / "runs", TOY)
    index = CohortIndex.of(toy_cohort, TOY.view_classes)

    def seconds(name: str) -> float:
        run = study.run(name)
        return run_flop(study, index, run) / rates.of(run)

    rates = lane_rates(study, index, gpus_per_lane=0.0, cpus=2.0, dtype=torch.float32)
    assert rates.otherwise == 2 * CPU_CORE_FLOP_PER_S[torch.float32] and rates.source.startswith(
        "assumed"
    )
    finish(study, "detector-LCA-B-64-fold0", 40.0)
    rates = lane_rates(study, index, gpus_per_lane=0.0, cpus=2.0, dtype=torch.float32)
    assert rates.source == "measured on 1 finished run"
    assert seconds("detector-RCA-B-64-fold1") == pytest.approx(40.0)  # equal steps and batches
    one = run_flop(study, index, study.run("detector-LCA-B-64-fold0")) / 40.0
    assert rates.of(study.run("view-32-fold0")) == pytest.approx(one)  # for want of its own kind
    finish(study, "view-32-fold0", 3.0)
    finish(study, "detector-LCA-B-64-fold1", 60.0)
    rates = lane_rates(study, index, gpus_per_lane=0.0, cpus=2.0, dtype=torch.float32)
    assert seconds("view-32-fold0") == pytest.approx(3.0)
    assert seconds("detector-RCA-B-64-fold1") == pytest.approx(50.0)


def test_a_share_of_a_gpu_is_assumed_to_bring_its_share(toy_cohort: Cohort, tmp_path: Path) -> None:
    study = Study.plan(toy_cohort, tmp_path / "runs", TOY)
    index = CohortIndex.of(toy_cohort, TOY.view_classes)
    rates = lane_rates(study, index, gpus_per_lane=0.25, cpus=1.0, dtype=torch.bfloat16)
    assert rates.of(study.runs[0]) == GPU_FLOP_PER_S[torch.bfloat16] / 4
