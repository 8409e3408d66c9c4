"""Two-step inference for real: by models that never saw the patient, and with what it costs."""

from __future__ import annotations

import csv
import io
import json
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from angioray.evaluation.detection import JudgedFrames
from angioray.evaluation.end_to_end import EndToEnd
from angioray.predict import predict
from angioray.report.writing import write_report
from angioray.study.executor import Executor
from angioray.study.held_out import HeldOut
from angioray.study.splits import Fold
from angioray.study.study import Study
from angioray.training.step import World
from preprocess.cohort import Cohort
from preprocess.console.command_line import run as run_command
from tests.angioray.settings import TOY
from tests.s3_server import S3
from tests.toy_cohort import write_toy_cohort


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return write_toy_cohort(tmp_path_factory.mktemp("toy") / "cohort")


@pytest.fixture(scope="module")
def runs(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished toy study; its classifiers are nearly untrained, so that they err."""
    folder = tmp_path_factory.mktemp("toy") / "runs"
    view = replace(TOY.view, epochs=1, frozen_epochs=0, frames_per_sequence=1)
    study = Study.plan(cohort, folder, replace(TOY, view=view))
    study.freeze(cohort)
    torch.set_num_threads(1)
    executor = Executor(study, cohort, World(torch.device("cpu")))
    for run in study.runs:
        executor.execute(run, lambda *_: None)
    return folder


def predicted(out: Path, source: Path | str, runs: Path | str, *options: str) -> dict[str, Any]:
    """What the command wrote, by the name of its file."""
    argv = [str(source), "--runs", str(runs), "--out", str(out), *options]
    run_command(predict, prog="python -m angioray.predict", argv=argv)
    found = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    with (out / "sequences.csv").open() as file:
        return {**found, "rows": list(csv.DictReader(file))}


@pytest.fixture(scope="module")
def own(cohort: Cohort, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is predicted of the study's own cohort, and what the command says of it."""
    out = tmp_path_factory.mktemp("own")
    with redirect_stdout(io.StringIO()) as said:
        found = predicted(out, cohort.folder, runs, "--frames", "reference")
    return {**found, "said": said.getvalue()}


def test_on_its_own_cohort_each_patient_is_judged_by_the_fold_that_held_them_out(
    cohort: Cohort, runs: Path, own: dict[str, Any]
) -> None:
    found = own
    assert {named["models"] for named in found["views"].values()} == {1}
    assert found["metrics"]["patients"] == 10
    # What the runs themselves said of their validation parts, of views and of boxes.
    said = {}
    for fold in (0, 1):
        for row in json.loads((runs / f"view-32-fold{fold}" / "predictions.json").read_text()):
            said[row["image_id"]] = row["probabilities"]
    for sequence_id, named in found["views"].items():
        image_id = cohort.image_id(sequence_id, cohort.sequences[sequence_id].reference_frame or 4)
        if image_id in said:
            assert named["probabilities"] == pytest.approx(said[image_id], abs=0.02)
    boxes: dict[int, list[float]] = {}
    for row in found["predictions"]:
        boxes.setdefault(row["image_id"], []).append(row["score"])
    checked = 0
    for view in ("RCA", "LCA"):
        for fold in (0, 1):
            folder = runs / f"detector-{view}-B-64-fold{fold}"
            theirs: dict[int, list[float]] = {}
            for row in json.loads((folder / "predictions.json").read_text()):
                theirs.setdefault(row["image_id"], []).append(row["score"])
            for image_id, scores in theirs.items():
                sequence_id = next(
                    s
                    for s, first in cohort.first_image_id.items()
                    if first <= image_id < first + cohort.sequences[s].length
                )
                if found["views"][sequence_id]["view"] == view:
                    assert boxes[image_id] == pytest.approx(scores, abs=0.02)
                    checked += 1
    assert checked >= 5
    assert "by models that held the patient out" in found["said"]


def test_new_patients_are_judged_by_all_folds_together(runs: Path, tmp_path: Path) -> None:
    new = write_toy_cohort(tmp_path / "new", patients=3, seed=9, prefix="new")
    found = predicted(tmp_path / "out", new.folder, runs)
    assert {named["models"] for named in found["views"].values()} == {2}
    assert {row["sequence_id"] for row in found["rows"]} == set(new.sequences)
    assert all(row["frames"] == "5" for row in found["rows"])  # the optimal interval, 2 to 6
    assert len(found["evaluated_images"]) == 5 * len(new.sequences)


def test_flips_are_one_more_opinion(
    cohort: Cohort, runs: Path, own: dict[str, Any], tmp_path: Path
) -> None:
    options = ("--frames", "reference", "--flips", "[horizontal]")
    flips = predicted(tmp_path, cohort.folder, runs, *options)
    assert flips["views"] == own["views"]
    assert flips["predictions"] != own["predictions"]
    assert flips["metrics"]["settings"]["flips"] == ["horizontal"]


def test_what_the_study_has_not_is_named(cohort: Cohort, runs: Path, tmp_path: Path) -> None:
    from angioray.inference.settings import PredictSettings

    for settings, message in (
        (PredictSettings(variant="NL"), r"variant is NL, which .* has not: there is B"),
        (PredictSettings(view_size=99), r"view_size is 99, which .* has not: there is 32"),
    ):
        with pytest.raises(ValueError, match=message):
            predict(cohort.folder, runs=runs, out=tmp_path / "out", settings=settings)
    with pytest.raises(ValueError, match="is no folder"):
        predict(tmp_path / "no", runs=runs, out=tmp_path / "out", settings=PredictSettings())


def test_the_report_says_what_wrong_views_cost(runs: Path) -> None:
    html = write_report(runs).read_text()
    assert "Both steps together: what wrongly named views cost" in html
    document = json.loads((runs / "report" / "report.json").read_text())
    rows = {row["metric"]: row for row in document["two_step"]}
    row = rows["recall@IoU0.20/score0.00/max5"]
    assert row["sequences"] == 20 and not row["wrong_views_without_boxes"]
    assert row["wrong_views"] > 0, "the classifiers are meant to err"
    assert row["difference"] == pytest.approx(row["view_named"] - row["view_given"])


def test_a_wrong_view_costs_what_its_detector_misses() -> None:
    lesion = np.array([[0.0, 0.0, 10.0, 10.0]])
    frames = JudgedFrames(sequence={1: "a", 2: "b"}, truth={1: lesion, 2: lesion})
    right = (lesion, np.array([0.9]))
    found = EndToEnd.of(frames, ["p", "q"], {1: right, 2: right}, {1: right}, {"b"})
    cost = found.costs["recall@IoU0.20/score0.50/max5"]
    assert (cost.given, cost.named, cost.difference.value) == (1, 0.5, -0.5)
    assert cost.difference.ci95 is None  # two patients
    assert (found.sequences, found.wrong_views, found.patients) == (2, 1, 2)


def test_the_rule_by_hand() -> None:
    splits = {
        # By patient: p in fold 0's validation part, q in fold 1's.
        "detector/RCA": (Fold(("q1",), ("p1", "p2")), Fold(("p1", "p2"), ("q1",))),
        # By sequence: p lies on both sides of both.
        "view": (Fold(("p1", "q1"), ("p2",)), Fold(("p2", "q1"), ("p1",))),
    }
    study = Study(Path(), Path(), TOY, splits, ())
    patient = {"p1": "p", "p2": "p", "q1": "q", "p3": "p", "n1": "n"}
    held_out = HeldOut(study=study, patient=patient)
    assert held_out.folds("detector/RCA", "p1") == [0]
    assert held_out.folds("detector/RCA", "q1") == [1]
    assert held_out.folds("detector/RCA", "p3") == [0]  # another cine of a patient it knows
    assert held_out.folds("detector/RCA", "n1") == [0, 1]
    assert held_out.folds("view", "p2") == [0]
    assert held_out.folds("view", "n1") == [0, 1]
    assert held_out.folds("view", "q1") == []  # every model has seen it
    assert held_out.is_new("n1") and not held_out.is_new("p3")


def test_a_patient_is_known_by_a_cine_whatever_their_pseudonym(
    cohort: Cohort, runs: Path, tmp_path: Path
) -> None:
    other = write_toy_cohort(tmp_path / "other", patients=2, prefix="other")
    held_out = HeldOut.of(Study.open(runs), cohort, other)
    new = {s for s in other.sequences if held_out.is_new(s)}
    # The two healthy patients' frames are others.
    assert new == {s for s, sequence in other.sequences.items() if sequence.no_lesion}
    assert new and len(new) < len(other.sequences)


def test_models_and_cines_in_a_store_say_the_same(
    cohort: Cohort, runs: Path, own: dict[str, Any], s3: S3, tmp_path: Path
) -> None:
    places = s3.upload(cohort.folder, "cohort"), s3.upload(runs, "runs")
    there = predicted(tmp_path, *places, "--frames", "reference")
    assert there == {name: value for name, value in own.items() if name != "said"}


def test_an_empty_folder_is_told_by_its_name(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "new-dicom"
    source.mkdir()
    with pytest.raises(SystemExit):
        predicted(tmp_path / "out", source, runs)
    assert f"{source} holds no files. Give the folder" in capsys.readouterr().err
    assert not (tmp_path / "out" / "cohort").exists()
