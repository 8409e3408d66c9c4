"""The table of networks: weights by hand, operations as published, times as the runs recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from angioray.cluster.flops import forward_flop, parameters
from angioray.report.networks import networks_table
from angioray.report.runs import ReportedStudy
from angioray.study.settings import StudySettings, ViewTraining
from tests.angioray.synthetic_study import write_cohort, write_study


def test_weights_and_operations_of_a_resnet_by_hand() -> None:
    settings = StudySettings(view=ViewTraining(backbone="resnet18"))
    # torchvision's has 11 689 512 weights: less two colours and 1000 classes, and two views.
    assert parameters(settings, "view") == 11_689_512 - 2 * 64 * 49 - 513_000 + 2 * 513
    # 1.814 billion multiplications with additions at 224 px, of which the colours are 2 / 3 of
    # those of the first layer (112 x 112 x 64 x 49 each).
    expected = 2 * (1.814e9 - 2 * 112 * 112 * 64 * 49)
    assert forward_flop(settings, "view", 224) == pytest.approx(expected, rel=0.01)


def test_times_are_those_of_the_runs_by_hardware(tmp_path: Path) -> None:
    runs = write_study(tmp_path / "runs", write_cohort(tmp_path / "cohort"), sizes=(64,))
    nothing = "\N{EN DASH}"
    _, detector = networks_table(ReportedStudy.open(runs)).rows
    assert detector.cells[:2] == ("Stenosis detector", "128 x 128")
    assert detector.cells[4:] == (nothing, nothing)
    for fold, (seconds, device) in enumerate([(0.4, "cpu"), (0.2, "cpu"), (0.016, "NVIDIA H200")]):
        folder = runs / f"view-64-fold{fold}"
        result = json.loads((folder / "result.json").read_text())
        result["inference"] = {"frames": 8, "seconds": seconds}
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "environment.json").write_text(json.dumps({"device": device, "threads": 2}))
    view, _ = networks_table(ReportedStudy.open(runs)).rows
    assert view.cells[4:] == ("37.5; 2", "CPU, 2 threads; NVIDIA H200")
