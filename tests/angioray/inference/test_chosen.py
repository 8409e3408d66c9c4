"""Which networks of a study predict: it is known before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from angioray.inference.chosen import choose
from angioray.inference.settings import PredictSettings
from angioray.interface.system import System
from angioray.predict import predict
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from preprocess.cohort import Cohort
from preprocess.console.command_line import run as run_command
from tests.angioray.settings import TOY


def study_of(
    cohort: Cohort, runs: Path, finished: Iterable[str], settings: StudySettings = TOY
) -> Study:
    """A frozen study of which these runs are finished."""
    study = Study.plan(cohort, runs, settings)
    study.freeze(cohort)
    for name in finished:
        (runs / study.run(name).name).mkdir()
        (runs / name / "result.json").write_text("{}")
    return study


VIEWS = ("view-32-fold0", "view-32-fold1")
DETECTORS = tuple(f"detector-{view}-B-64-fold{fold}" for view in ("LCA", "RCA") for fold in (0, 1))


def test_an_unfinished_study_is_refused_before_anything_is_decoded(
    toy_cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, out = tmp_path / "runs", tmp_path / "predictions"
    study_of(toy_cohort, runs, ("view-32-fold1", DETECTORS[2], DETECTORS[3]))
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "a.dcm").write_bytes(b"not looked into")
    argv = [str(tmp_path / "dicom"), "--runs", str(runs), "--out", str(out)]
    with pytest.raises(SystemExit, match="2"):
        run_command(predict, prog="predict", argv=argv)
    assert capsys.readouterr().err.splitlines() == [
        f"predict: The study in {runs} is not far enough to predict, for which each step needs a "
        "finished network:",
        "  view classifier at 32 px: fold 1 of 2 finished",
        "  LCA detector of variant B: none of 2 finished",
        "  RCA detector of variant B: folds 0, 1 of 2 finished",
        f"Continue it with `python -m angioray.cv COHORT --all-folds --runs {runs}` and its "
        "settings.",
    ]
    assert not out.exists()
    with pytest.raises(ValueError, match="LCA detector of variant B: none of 2 finished"):
        System(runs)


def test_a_study_of_which_folds_are_missing_says_which(toy_cohort: Cohort, tmp_path: Path) -> None:
    study = study_of(toy_cohort, tmp_path / "runs", (VIEWS[0], *DETECTORS))
    chosen = choose(study, PredictSettings())
    assert (chosen.variant, chosen.view_size) == ("B", 32)
    assert chosen.notes == (
        "view classifier at 32 px: fold 0 of 2 finished; cines that only the other folds may judge "
        "are left out.",
    )
    whole = study_of(toy_cohort, tmp_path / "whole", (*VIEWS, *DETECTORS))
    assert choose(whole, PredictSettings()).notes == ()


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("view", r"has no detectors \(its setting `tasks` is \[view\]\)"),
        ("detector", r"has no view classifiers \(its setting `tasks` is \[detector\]\)"),
    ],
)
def test_a_study_of_one_step_is_refused(
    task: str, expected: str, toy_cohort: Cohort, tmp_path: Path
) -> None:
    settings = replace(TOY, tasks=(task,))
    study = study_of(toy_cohort, tmp_path / "runs", (), settings)
    with pytest.raises(ValueError, match=expected):
        choose(study, PredictSettings())


def test_names_that_the_study_has_not(toy_cohort: Cohort, tmp_path: Path) -> None:
    settings = replace(TOY, detector=replace(TOY.detector, variants=("B", "BGNL")))
    study = study_of(toy_cohort, tmp_path / "runs", (), settings)
    with pytest.raises(
        ValueError, match=r"variant is BG, .*: the nearest is BGNL; there are B, BG"
    ):
        choose(study, PredictSettings(variant="BG"))


def test_predictions_are_not_made_where_they_cannot_be_written(
    toy_cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, out = tmp_path / "runs", tmp_path / "file"
    study_of(toy_cohort, runs, (*VIEWS, *DETECTORS))  # of which none has weights
    out.write_text("")
    argv = [str(toy_cohort.folder), "--runs", str(runs), "--out", str(out)]
    with pytest.raises(SystemExit, match="2"):
        run_command(predict, prog="predict", argv=argv)
    assert capsys.readouterr().err == (
        f"predict: {out} is a file; expected a folder, or nothing there. Name another one.\n"
    )
