"""What predict says of its models: numbers on what was held out, and what speaks against them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from angioray.evaluation.detection import detector_metrics, fixed_predictions
from angioray.evaluation.views import view_metrics
from angioray.inference.chosen import Chosen
from angioray.report.derived import commonest_class, false_box_estimates, majority_estimates
from angioray.report.evidence import DetectorEvidence, ViewEvidence, xyxy
from angioray.report.quality import NO_ACQUISITIONS, NO_INTERVALS, Quality
from angioray.report.runs import ReportedStudy
from angioray.report.writing import write_report
from angioray.study.detector_task import coco_results
from angioray.study.frame_index import FrameIndex
from preprocess.cohort import Cohort
from preprocess.storage import Location
from tests.angioray.synthetic_study import CLASSES, FOLDS, write_cohort, write_study
from tests.s3_server import S3

CORNER = [[0.0, 0.0, 4.0, 4.0]]
"""Fixed boxes that find no lesion, xywh."""
CUT_BY_SEQUENCE = (
    "Cines of one patient lie on both sides of the folds of the view classifiers (cut by sequence; "
    "10 patients are on both), so that their metrics may be better than they would be on new "
    "patients."
)
MAY_LIE = (
    "Cines of one patient may lie on both sides of the folds of the view classifiers (cut by "
    "sequence), so that their metrics may be better than they would be on new patients."
)
FEW = "10 patients are too few to conclude anything from these numbers."
PHANTOMS = (
    "The models were trained on phantoms alone: what they find in the cine of a patient means "
    "nothing."
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return write_cohort(tmp_path_factory.mktemp("study") / "cohort")


@pytest.fixture(scope="module")
def made(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of which each detector finds all lesions, and its fixed boxes none."""
    runs = write_study(tmp_path_factory.mktemp("made") / "runs", cohort)
    for view in CLASSES:
        for fold in range(FOLDS):
            truth = FrameIndex(cohort=cohort).truth(images(runs, f"detector-{view}-B-128", fold))
            found = {image: (boxes, np.full(len(boxes), 0.9)) for image, boxes in truth.items()}
            rewrite(runs, cohort, f"detector-{view}-B-128-fold{fold}", found, CORNER)
    return runs


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


def images(runs: Path, group: str, fold: int) -> list[int]:
    return list(json.loads((runs / f"{group}-fold{fold}" / "evaluated_images.json").read_text()))


def rewrite(
    runs: Path, cohort: Cohort, name: str, found: dict[int, Any], fixed_xywh: list[list[float]]
) -> None:
    """Make a detector's run one that found other boxes."""
    judged = images(runs, *name.split("-fold")[:1], int(name[-1]))
    baseline = fixed_predictions(xyxy(np.array(fixed_xywh)), judged)
    metrics = detector_metrics(FrameIndex(cohort=cohort).judged(judged), found, baseline=baseline)
    (runs / name / "predictions.json").write_text(json.dumps(coco_results(found)))
    path = runs / name / "result.json"
    result = json.loads(path.read_text()) | {"metrics": metrics, "fixed_boxes": fixed_xywh}
    path.write_text(json.dumps(result))


def quality_of(runs: Location, *, with_cohort: bool = True, notes: tuple[str, ...] = ()) -> Quality:
    study = ReportedStudy.open(runs)
    cohort = study.cohort()[0] if with_cohort else None
    chosen = Chosen(variant="B", view_size=64, classifiers=(), detectors={}, notes=notes)
    return Quality.of(study, cohort, chosen)


def test_a_detector_that_finds_all_is_better_than_fixed_boxes(made: Path) -> None:
    said = quality_of(made, notes=("RCA detector of variant B: fold 0 of 2 finished.",))
    # Of ten patients who all agree: 1 / (1 + t² / 10), t of nine degrees of freedom.
    all_of_them = "1.00 ± 0.00 (95 % interval 0.66 to 1.00)"
    assert said.sentences[0].startswith("View at 64 px: accuracy ")
    assert said.sentences[1:] == tuple(
        f"{view} detector, variant B: finds {all_of_them} of the lesions with at most five boxes a "
        f"frame of score above 0.5; {all_of_them} of these boxes are right, and 0.00 ± 0.00 a "
        "frame are false. Its five best boxes of any score find 1.00; five boxes at fixed places "
        "that ignore the image find 0.00."
        for view in CLASSES
    )
    assert said.warnings == (
        "RCA detector of variant B: fold 0 of 2 finished.",
        FEW,
        CUT_BY_SEQUENCE,
    )


def test_a_detector_that_finds_what_fixed_boxes_find_is_no_better_here_and_in_the_report(
    runs: Path, cohort: Cohort
) -> None:
    middle = [[30.0, 30.0, 20.0, 20.0]]
    for fold in range(FOLDS):
        name = f"detector-RCA-B-128-fold{fold}"
        same = fixed_predictions(xyxy(np.array(middle)), images(runs, "detector-RCA-B-128", fold))
        rewrite(runs, cohort, name, same, middle)
    weak = (
        "The RCA detectors of variant B are not shown to be better than five boxes at fixed places "
        "that ignore the image (recall 0.00"
    )
    known = f"{weak}, 95 % interval 0.00 to 0.00): do not trust their boxes."
    said = quality_of(runs)
    assert said.warnings == (known, FEW, CUT_BY_SEQUENCE)
    report = write_report(runs).with_name("report.md").read_text()
    assert f"> **Note.** {known}" in report
    assert f"- {said.sentences[0]} {CUT_BY_SEQUENCE}\n" in report
    assert all(f"- {sentence}\n" in report for sentence in said.sentences[1:])
    gone = quality_of(runs, with_cohort=False).warnings
    assert gone[0] == f"{weak}): do not trust their boxes."


def test_one_lucky_patient_makes_no_detector_better(runs: Path, cohort: Cohort) -> None:
    """Without that patient there is no gain: the interval holds 0."""
    index = FrameIndex(cohort=cohort)
    for fold in range(FOLDS):
        judged = images(runs, "detector-RCA-B-128", fold)
        of_one = [i for i, who in zip(judged, index.patients(judged), strict=True) if who == "p04"]
        found = {i: (boxes, np.full(1, 0.9)) for i, boxes in index.truth(of_one).items()}
        rewrite(runs, cohort, f"detector-RCA-B-128-fold{fold}", found, CORNER)
    (weak, *_) = quality_of(runs).warnings
    # 10 patients, of whom 4 have two lesions in RCA: one of 14.
    assert "recall +0.07, 95 % interval \N{MINUS SIGN}0.09 to +0.24" in weak


def test_a_fold_that_finds_nothing_is_named(runs: Path, cohort: Cohort) -> None:
    corner = np.array(CORNER)
    for fold, score in ((1, 0.5), (3, 0.9)):  # a score of 0.5 is not above 0.5
        judged = images(runs, "detector-RCA-B-128", fold)
        found = {image: (xyxy(corner), np.array([score])) for image in judged}
        rewrite(runs, cohort, f"detector-RCA-B-128-fold{fold}", found, CORNER)
    ending = "above 0.5 on the frames that it is judged on, which have lesions: do not trust it."
    named = (
        f"The RCA detector of fold 1, variant B, gives no box a score {ending}",
        f"The RCA detector of fold 3, variant B, finds no lesion with boxes of a score {ending}",
    )
    assert quality_of(runs).warnings == (*named, FEW, CUT_BY_SEQUENCE)
    assert quality_of(runs, with_cohort=False).warnings[:2] == named
    report = write_report(runs).with_name("report.md").read_text()
    assert all(f"> **Note.** {sentence}\n" in report for sentence in named)


def test_the_majority_class_by_hand(runs: Path, cohort: Cohort) -> None:
    """Fold 2 trains on more RCA than LCA, the others on as many: the first by name is answered."""
    document = json.loads((runs / "study.json").read_text())
    train = document["splits"]["view"]["folds"][2]["train"]
    train.remove(next(s for s in train if cohort.sequences[s].view == "LCA"))
    (runs / "study.json").write_text(json.dumps(document))
    study = ReportedStudy.open(runs)
    group = study.groups[0]
    seen = ViewEvidence.of(group, FrameIndex(cohort=cohort), study.view_class)
    assert seen is not None
    assert [commonest_class(study, seen, fold) for fold in range(FOLDS)] == [
        *("LCA", "LCA", "RCA", "LCA", "LCA")
    ]
    of_fold = [
        [x for x, f in zip(seen.labels, seen.folds, strict=True) if f == n] for n in range(5)
    ]
    (found,) = majority_estimates(study, seen).values()
    answers = ("LCA", "LCA", "RCA", "LCA", "LCA")
    shares = [of.count(answer) / 4 for of, answer in zip(of_fold, answers, strict=True)]
    assert found.folds == tuple(shares) and found.mean == pytest.approx(np.mean(shares))
    assert found.ci95 is not None and found.ci95[0] <= np.mean(shares) <= found.ci95[1]
    text = write_report(runs).with_name("report.md").read_text()
    assert f"| Majority class | {found.mean:.2f} ± {found.std:.2f} \\[" in text
    assert f"where always giving the commonest view has {found.mean:.2f}. Cines of one" in text


def test_false_boxes_by_hand(runs: Path, cohort: Cohort) -> None:
    """Two corners of score 0.9 and one of 0.4 on each frame of one fold, none on the others."""
    group = ReportedStudy.open(runs).groups[2]
    assert group.view == "LCA"
    corners = xyxy(np.array([[0.0, 0, 4, 4], [9, 0, 4, 4], [0, 9, 4, 4]]))
    judged = images(runs, "detector-LCA-B-128", 0)
    found = {image: (corners, np.array([0.9, 0.9, 0.4])) for image in judged}
    rewrite(runs, cohort, "detector-LCA-B-128-fold0", found, CORNER)
    evidence = DetectorEvidence.of(group, FrameIndex(cohort=cohort))
    (false,) = false_box_estimates(evidence).values()
    assert false.folds == (2, 0, 0, 0, 0) and false.mean == pytest.approx(0.4)
    for fold in range(FOLDS):
        judged = images(runs, "detector-LCA-B-128", fold)
        found = {image: (corners, np.array([0.9, 0.9, 0.4])) for image in judged}
        rewrite(runs, cohort, f"detector-LCA-B-128-fold{fold}", found, CORNER)
    same = DetectorEvidence.of(group, FrameIndex(cohort=cohort))
    (more,) = false_box_estimates(same).values()
    assert more.mean == 2 and more.ci95 is None  # ten patients are too few
    (mean,) = false_box_estimates(replace(evidence, others=(same,))).values()
    assert mean.seeds == ((2, 0, 0, 0, 0), (2, 2, 2, 2, 2)) and mean.mean == pytest.approx(1.2)
    assert false.metric == "false_boxes_per_frame@IoU0.20/score0.50/max5"


def test_a_fold_that_gives_one_answer_is_named(runs: Path, cohort: Cohort) -> None:
    path = runs / "view-64-fold3" / "predictions.json"
    rows = json.loads(path.read_text())
    index = FrameIndex(cohort=cohort)
    frames = [index.frame(row["image_id"])[0] for row in rows]
    labels = [str(cohort.sequences[sequence].view) for sequence in frames]
    assert set(labels) == set(CLASSES)
    for row in rows:
        row["probabilities"] = {"LCA": 0.6, "RCA": 0.4}
    path.write_text(json.dumps(rows))
    result = json.loads(path.with_name("result.json").read_text())
    table = np.tile([0.6, 0.4], (len(rows), 1))
    result["metrics"] = view_metrics(labels, table, CLASSES)
    path.with_name("result.json").write_text(json.dumps(result))
    named = (
        "The view classifier of fold 3 at 64 px takes all that it is judged on for LCA, where LCA "
        "and RCA are true: do not trust its views."
    )
    assert quality_of(runs).warnings == (named, FEW, CUT_BY_SEQUENCE)
    assert quality_of(runs, with_cohort=False).warnings[0] == named
    # Where one class alone is true, one answer is right.
    result["metrics"] = view_metrics(["LCA"] * len(rows), table, CLASSES)
    path.with_name("result.json").write_text(json.dumps(result))
    assert named not in quality_of(runs).warnings


def test_without_the_cohort_the_means_remain(made: Path) -> None:
    said = quality_of(made, with_cohort=False)
    assert said.sentences[1].startswith(
        "LCA detector, variant B: finds 1.00 ± 0.00 of the lesions with at most five boxes a "
    )
    assert not any("interval" in sentence for sentence in said.sentences)
    assert said.warnings == (FEW, MAY_LIE, NO_INTERVALS)


def test_models_of_phantoms_are_not_for_patients(runs: Path) -> None:
    document = json.loads((runs / "study.json").read_text())
    for phantoms, warned in ((20, True), (19, False), (0, False)):
        document["cohort"]["phantoms"] = phantoms
        (runs / "study.json").write_text(json.dumps(document))
        assert (quality_of(runs).warnings[0] == PHANTOMS) is warned


def test_models_of_an_earlier_version_cannot_say_what_is_unlike_them(runs: Path) -> None:
    path = runs / "view-64-fold1" / "result.json"
    result = json.loads(path.read_text())
    del result["acquisitions"]
    path.write_text(json.dumps(result))
    assert quality_of(runs).warnings == (FEW, CUT_BY_SEQUENCE, NO_ACQUISITIONS)


def test_a_study_in_a_store_says_the_same(made: Path, s3: S3) -> None:
    assert quality_of(s3.upload(made, "quality")) == quality_of(made)
