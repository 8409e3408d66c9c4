"""What a study uses of its cohort, counted by hand on the toy cohort: ten lesion patients with a
sequence of each view and five frames with boxes in it, two healthy ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from angioray.cv import cv
from angioray.study.coverage import (
    describe_runs,
    describe_unused,
    equal_variants,
    left_out,
    trained_on,
)
from angioray.study.selection import CohortIndex
from angioray.study.settings import StudySettings, Variant
from angioray.study.splits import Fold
from angioray.study.study import Study
from preprocess.cohort import Cohort, Sequence
from preprocess.console.command_line import run as run_command
from tests.angioray.settings import TOY
from tests.end_to_end.test_command_line import TOY as TOY_YAML
from tests.toy_cohort import write_toy_cohort

ALL: tuple[Variant, ...] = ("B", "BG", "NL", "BGNL")
FOUR = replace(TOY, detector=replace(TOY.detector, variants=ALL))


def changed(cohort: Cohort, change: Callable[[Sequence], Sequence]) -> Cohort:
    sequences = {name: change(sequence) for name, sequence in cohort.sequences.items()}
    return Cohort(cohort.folder, sequences, cohort.boxes)


def planned(cohort: Cohort, settings: StudySettings = FOUR) -> tuple[Study, CohortIndex]:
    study = Study.plan(cohort, Path("nothing-here"), settings)
    return study, CohortIndex.of(cohort, settings.view_classes)


def without_contrast_free(sequence: Sequence) -> Sequence:
    return replace(sequence, introducing_start=0)


def test_the_frames_that_are_really_used(toy_cohort: Cohort) -> None:
    study, index = planned(toy_cohort)
    runs = [run for run in study.runs if run.view != "RCA"]
    # Folds of two: twelve sequences of each view; of six of a detector, five have a lesion.
    judged = "is judged on 5 frames and on 1 of healthy arteries."
    assert describe_runs(study, index, runs) == [
        "view-32: trains on 24 frames of 12 sequences, is judged on 12 frames.",
        f"detector-LCA-B-64: trains on 25 frames of 5 sequences, {judged}",
        f"detector-LCA-BG-64: trains on 30 frames of 5 sequences, {judged}",
        f"detector-LCA-NL-64: trains on 30 frames of 6 sequences, {judged}",
        f"detector-LCA-BGNL-64: trains on 35 frames of 6 sequences, {judged}",
    ]
    assert describe_unused(study, index, study.runs) == []


def test_variants_that_cannot_differ_without_contrast_free_frames(toy_cohort: Cohort) -> None:
    study, index = planned(changed(toy_cohort, without_contrast_free))
    why = "for no sequence with a box has a frame without contrast."
    # 2 views x 2 folds x (BG and BGNL), of 2 runs of the classifier and 16 of detectors.
    assert equal_variants(study, index) == [
        f"LCA, RCA: variant BG has the frames of B, {why}",
        f"LCA, RCA: variant BGNL has the frames of NL, {why}",
        "8 of 18 runs cannot differ from others. `--detector.variants '[B, NL]'` leaves them out.",
    ]


def test_of_the_papers_50_runs_20_cannot_differ(toy_cohort: Cohort) -> None:
    # As a set of pictures has it: no contrast-free frames, but healthy ones.
    study, index = planned(changed(toy_cohort, without_contrast_free), StudySettings())
    assert len(study.runs) == 50
    assert equal_variants(study, index)[-1].startswith("20 of 50 runs cannot differ from others.")


def test_variants_that_cannot_differ_without_healthy_sequences(toy_cohort: Cohort) -> None:
    lesions = toy_cohort.only(
        s.sequence_id for s in toy_cohort.sequences.values() if not s.no_lesion
    )
    study, index = planned(lesions)
    assert equal_variants(study, index)[:2] == [
        "LCA, RCA: variant NL has the frames of B, for no sequence is free of lesions.",
        "LCA, RCA: variant BGNL has the frames of BG, for no sequence is free of lesions.",
    ]
    study, index = planned(changed(lesions, without_contrast_free))
    *_, both, counted = equal_variants(study, index)
    assert both == (
        "LCA, RCA: variant BGNL has the frames of B, for no sequence with a box has a frame "
        "without contrast and no sequence is free of lesions."
    )
    assert counted.startswith("12 of 18 runs cannot differ")


def test_variants_of_one_view_alone_have_no_setting(toy_cohort: Cohort) -> None:
    def change(sequence: Sequence) -> Sequence:
        return without_contrast_free(sequence) if sequence.view == "LCA" else sequence

    study, index = planned(changed(toy_cohort, change))
    assert equal_variants(study, index)[-1] == "4 of 18 runs cannot differ from others."


def test_variants_that_cannot_differ_in_one_fold_are_named(toy_cohort: Cohort) -> None:
    one = changed(toy_cohort, lambda s: replace(s, no_lesion=s.patient_id == "P10"))
    study, index = planned(one)
    (fold,) = [i for i, f in enumerate(study.splits["detector/LCA"]) if "S10LCA" in f.validation]
    assert equal_variants(study, index)[:2] == [
        f"LCA: variant {name} has the frames of {other} in fold {fold}, where the two cannot "
        "differ: their difference looks more certain than it is."
        for name, other in (("NL", "B"), ("BGNL", "BG"))
    ]


def test_sequences_in_which_no_artery_fills_are_left_out(toy_cohort: Cohort) -> None:
    def change(sequence: Sequence) -> Sequence:
        if sequence.sequence_id not in ("S00LCA", "S10LCA"):  # one with a box, one healthy
            return sequence
        unknown = dict.fromkeys(("introducing_start", "optimal_start", "vanishing_start"))
        return replace(sequence, phases_proposed=True, **unknown)

    study, index = planned(changed(toy_cohort, change))
    used = {s for cut in study.splits.values() for f in cut for s in (*f.train, *f.validation)}
    assert set(index.cohort.sequences) - used == {"S10LCA"}  # a reader saw the other one filled
    assert left_out(study.splits, index) == [
        f"The {step} leave out 1 of 24 sequences: 1 in which no artery fills."
        for step in ("view classifiers", "detectors")
    ]


def test_sequences_that_are_left_out_are_counted_by_the_reason(toy_cohort: Cohort) -> None:
    views = {"S00RCA": None, "S10LCA": None}  # one with a box, one healthy
    reference = {"S03LCA": 0}  # a frame without a box

    def change(sequence: Sequence) -> Sequence:
        name = sequence.sequence_id
        return replace(
            sequence,
            view=views.get(name, sequence.view),
            reference_frame=reference.get(name, sequence.reference_frame),
        )

    study, index = planned(changed(toy_cohort, change))
    assert left_out(study.splits, index) == [
        "The view classifiers leave out 2 of 24 sequences: 2 without a view.",
        "The detectors leave out 3 of 24 sequences: 1 with a box but without a view, 1 without a "
        "box on the reference frame and not marked as free of lesions, 1 without a view.",
    ]
    given = {"detector/LCA": [Fold(("S00LCA",), ("S01LCA",))]}
    healthy = changed(toy_cohort, lambda s: replace(s, no_lesion=True))
    (sentence,) = left_out(given, CohortIndex.of(healthy, FOUR.view_classes))
    assert sentence == (
        "The detectors leave out 22 of 24 sequences: 12 of the view RCA, which has no box, 10 that "
        "the given folds do not name."
    )


def test_without_views_one_detector_leaves_nothing_out(tmp_path: Path) -> None:
    cohort = write_toy_cohort(tmp_path, patients=3, views=(None,))
    study, index = planned(cohort, replace(FOUR, tasks=("detector",)))
    assert left_out(study.splits, index) == []


def test_a_run_without_frames_is_refused_by_the_plan(toy_cohort: Cohort, tmp_path: Path) -> None:
    boxed = next(box.sequence_id for box in toy_cohort.boxes)
    boxes = tuple(box for box in toy_cohort.boxes if box.sequence_id == boxed)
    cohort = Cohort(toy_cohort.folder, toy_cohort.sequences, boxes)
    study, index = planned(cohort, TOY)
    (empty,) = [run for run in study.runs if run.view and boxed not in study.fold(run).train]
    with pytest.raises(ValueError, match=f"{empty.name} has no frame to train on"):
        trained_on(study, index, empty)
    with pytest.raises(ValueError, match="has no frame to train on"):
        describe_runs(study, index, study.runs)
    (unjudged,) = [run for run in study.runs if run.view and run != empty]
    assert f"{unjudged.name} is judged on no frame, for its validation part has no box." in (
        describe_unused(study, index, study.runs)
    )


def test_the_plan_shows_it(
    toy_cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(TOY_YAML))
    argv = [str(toy_cohort.folder), "--config", str(tmp_path / "toy.yaml"), "--plan"]
    run_command(cv, prog="cv", argv=[*argv, "--runs", str(tmp_path / "runs")])
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if "detector-LCA-B-64-fold0" in line)
    assert "25 frames of 5 sequences" in row and "5 frames of 5 sequences" in row
    assert "leave out" not in shown and not (tmp_path / "runs").exists()
