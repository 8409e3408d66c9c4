"""Runs of torchvision's detectors, as systems of a study: stopped, resumed and planned."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from angioray.cluster.flops import forward_flop
from angioray.cluster.footprint import Footprint
from angioray.models.settings import FASTER_RCNN, FCOS, SSD
from angioray.pretrain.run import PretrainingRun
from angioray.pretrain.settings import PretrainingSettings
from angioray.report.runs import ReportedStudy
from angioray.report.training_methods import detector_training
from angioray.study.executor import Executor
from angioray.study.selection import CohortIndex
from angioray.study.settings import ignored_settings
from angioray.study.study import Study
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY
from tests.angioray.training.toy_runs import CPU, StoppedError, execute

COMPARED = replace(
    TOY,
    precision="fp32",
    tasks=("detector",),
    systems={
        "FCOS": {"architecture": FCOS},
        "Faster": {"architecture": FASTER_RCNN},
        "SSD": {
            "architecture": SSD,
            "size": 300,
            "steps": 1,
            "batch_size": 1,
            "optimiser": {"learning_rate": 1e-4},
        },
    },
)
NAMES = ["detector-RCA-B-64-FCOS", "detector-RCA-B-64-Faster"]


def kept(run: Path) -> list[bytes]:
    """The weights and the predictions of a finished run."""
    (weights,) = (run / "checkpoint").glob("weights-*.safetensors")
    return [weights.read_bytes(), (run / "predictions.json").read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_stopped_run_ends_with_the_same_bits(
    toy_cohort: Cohort, tmp_path: Path, name: str
) -> None:
    torch.set_num_threads(1)
    found = {}
    for fold in range(2):
        run = f"{name}-fold{fold}"
        undisturbed = execute(toy_cohort, tmp_path / "undisturbed", run, COMPARED)
        with pytest.raises(StoppedError):
            execute(toy_cohort, tmp_path / "stopped", run, COMPARED, stop_at=4)
        torch.manual_seed(fold + 7)  # what another process would have drawn by then
        found[fold] = kept(execute(toy_cohort, tmp_path / "stopped", run, COMPARED))
        assert found[fold] == kept(undisturbed)
    assert found[0] != found[1]
    result = json.loads((tmp_path / "stopped" / f"{name}-fold1" / "result.json").read_text())
    assert result["metrics"]["recall@IoU0.20/score0.00/max5"] is not None


@pytest.mark.slow
def test_a_run_of_ssd_is_trained_and_judged(toy_cohort: Cohort, tmp_path: Path) -> None:
    run = execute(toy_cohort, tmp_path, "detector-LCA-B-300-SSD-fold0", COMPARED)
    line = json.loads((run / "metrics.jsonl").read_text())
    assert line["loss"] == pytest.approx(line["bbox_regression"] + line["classification"])
    assert json.loads((run / "predictions.json").read_text())


def test_a_study_plans_and_describes_them(toy_cohort: Cohort, tmp_path: Path) -> None:
    study = Study.plan(toy_cohort, tmp_path / "runs", COMPARED)
    index = CohortIndex.of(toy_cohort, COMPARED.view_classes)
    flop = {
        run.system: forward_flop(study.settings_of(run), "detector", run.size) for run in study.runs
    }
    # 2 x 30.4 G multiplications: torchvision counts 34.9 G, with heads for 91 classes.
    assert flop["SSD"] == pytest.approx(2 * 30.4e9, rel=0.01)
    assert 0 < flop["FCOS"] < flop["Faster"] < flop["SSD"]  # Faster R-CNN looks at 512 boxes more
    for run in study.runs:
        needs = Footprint.of(study, index, run, torch.bfloat16)
        assert needs.training > 3 * needs.kept > 0
    study.freeze(toy_cohort)
    reported = ReportedStudy.open(tmp_path / "runs")
    sentences = {
        name: next(detector_training(reported, detector))
        for name, detector in COMPARED.detectors.items()
    }
    assert "over a vgg16 with the boxes" in sentences["SSD"]
    assert "one Faster R-CNN per view over a resnet18 with a feature" in sentences["Faster"]
    assert "anchors" not in sentences["FCOS"]
    notes = ignored_settings(COMPARED)
    assert notes[0] == "fcos_resnet50_fpn does not use anchors."
    assert "ssd300_vgg16 does not use anchors, backbone, frozen_batch_norm, levels" in notes[-1]


def test_where_steps_are_compiled_theirs_are_not_and_it_is_said(
    toy_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = replace(COMPARED.detector, architecture=FCOS, steps=1)
    settings = replace(COMPARED, compile=True, systems={}, detector=detector)
    study = Study.plan(toy_cohort, tmp_path / "runs", settings)
    monkeypatch.delattr(torch, "compile")
    run = study.run("detector-RCA-B-64-fold0")
    assert Executor(study, toy_cohort, CPU).execute(run, lambda *_: None)
    assert "fcos_resnet50_fpn is not compiled: its shapes change." in ignored_settings(settings)


def test_only_retinanet_is_pretrained(tmp_path: Path) -> None:
    settings = replace(TOY, detector=replace(TOY.detector, architecture=FCOS))
    with pytest.raises(ValueError, match="for the architectures retinanet and patches, not"):
        PretrainingRun(str(tmp_path / "weights"), settings, PretrainingSettings())
