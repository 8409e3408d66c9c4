"""No leak: trials see the inner split alone, which no patient straddles."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from angioray.study.selection import CohortIndex
from angioray.study.settings import Task
from angioray.study.study import Study
from angioray.training.metrics_log import MetricsLog
from angioray.training.step import World
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY
from tune.objective import Objective
from tune.search.worker import TrialInputs, TrialWorker, end_trial
from tune.space.parameters import Parameter, Range
from tune.space.space import Space, learning_rate
from tune.trials import BY_BASE, Trial

torch.set_num_threads(1)  # as a worker has it
CASES: list[tuple[Task, str]] = [("detector", "RCA"), ("view", "")]
RUNGS = {"detector": (4, 12), "view": (2, 6)}


def inputs_of(
    cohort: Cohort, objective: Objective, folder: Path, rungs: tuple[int, ...]
) -> TrialInputs:
    """Of a sweep that searches nothing."""
    space = Space((), objective.base)
    return TrialInputs(str(folder), str(cohort.folder), cohort.digest, objective, space, rungs)


def patients(cohort: Cohort, sequences: Any) -> set[str]:
    return {cohort.sequences[sequence].patient_id for sequence in sequences}


@pytest.mark.parametrize("unit", ["sequence", "patient"])
@pytest.mark.parametrize(("task", "view"), CASES)
@pytest.mark.parametrize("fold", [0, 1])
def test_the_inner_split_lies_in_the_training_part(
    toy_cohort: Cohort, task: Task, view: str, fold: int, unit: Any
) -> None:
    settings = replace(TOY, view=replace(TOY.view, split_unit=unit))
    objective = Objective.of(toy_cohort, settings, task=task, view=view, fold=fold)
    study = Study.plan(toy_cohort, ".", settings)
    outer = study.splits["view" if task == "view" else "detector/RCA"][fold]
    train, validation = objective.inner.train, objective.inner.validation
    assert sorted([*train, *validation]) == sorted(outer.train)
    assert objective.outer == outer.validation
    assert not patients(toy_cohort, train) & patients(toy_cohort, validation)
    both = patients(toy_cohort, outer.train) & patients(toy_cohort, outer.validation)
    seen = objective.seen(toy_cohort)
    assert seen["outer"]["patients_also_inside"] == len(both)
    assert (both == set()) == (task == "detector" or unit == "patient")
    assert seen["inner_train"]["sequences"] == len(train)


def trained(cohort: Cohort, objective: Objective, folder: Path) -> tuple[Any, Any]:
    """The score and the history of a trial with the base's settings."""
    rungs = RUNGS[objective.run.task]
    inputs = inputs_of(cohort, objective, folder, rungs)
    worker = TrialWorker(inputs, World(torch.device("cpu")))
    trial = Trial(0, {}, BY_BASE)
    for rung in range(len(rungs)):
        trial = worker.advance(trial, rung, lambda *_: None)
    assert trial.reason is None, trial.reason
    lines = [line["loss"] for line in MetricsLog.lines(inputs.folder(0).files)]
    return trial.curve, lines


def changed(cohort: Cohort, folder: Path, sequences: Any) -> Cohort:
    """A copy of the cohort in which some cines are no longer readable."""
    shutil.copytree(cohort.folder, folder)
    for sequence in sequences:
        for file in (folder / "frames.zarr" / sequence).rglob("c/**/*"):
            if file.is_file():
                file.write_bytes(b"nothing that could be read")
    return Cohort.open(folder)


@pytest.mark.parametrize(("task", "view"), CASES)
def test_trials_are_the_same_without_the_outer_fold(
    toy_cohort: Cohort, tmp_path: Path, task: Task, view: str
) -> None:
    objective = Objective.of(toy_cohort, TOY, task=task, view=view)
    expected = trained(toy_cohort, objective, tmp_path / "whole")
    without = changed(toy_cohort, tmp_path / "without", objective.outer)
    with pytest.raises(ValueError):
        without.cine(objective.outer[0])
    assert trained(without, objective, tmp_path / "part") == expected
    # And the test can fail: without a cine that it does see, a trial says so.
    blind = changed(toy_cohort, tmp_path / "blind", objective.inner.validation)
    with pytest.raises(AssertionError, match=objective.inner.validation[0]):
        trained(blind, objective, tmp_path / "blind-trials")


def test_a_worker_knows_no_other_sequence(toy_cohort: Cohort, tmp_path: Path) -> None:
    objective = Objective.of(toy_cohort, TOY, task="detector", view="LCA")
    part = toy_cohort.only(objective.sequences)
    assert set(part.sequences) == set(objective.sequences)
    assert {box.sequence_id for box in part.boxes} <= set(objective.sequences)
    index = CohortIndex.of(part, TOY.view_classes)
    with pytest.raises(KeyError):
        index.view_frame(objective.outer[0])
    sequence = objective.inner.validation[0]
    assert part.image_id(sequence, 4) == toy_cohort.image_id(sequence, 4)


@pytest.mark.parametrize(("task", "view"), CASES)
def test_rungs_are_stops_on_one_road(
    toy_cohort: Cohort, tmp_path: Path, task: Task, view: str
) -> None:
    """A trial judged on the way, by several processes, ends as a run that was never stopped."""
    objective = Objective.of(toy_cohort, TOY, task=task, view=view)
    steps = 12 if task == "detector" else 6

    def weights(name: str, rungs: tuple[int, ...]) -> bytes:
        inputs = inputs_of(toy_cohort, objective, tmp_path / name, rungs)
        trial = Trial(0, {}, BY_BASE)
        for rung in range(len(rungs)):
            worker = TrialWorker(inputs, World(torch.device("cpu")))
            trial = worker.advance(trial, rung, lambda *_: None)
        folder = inputs.folder(0)
        assert folder.finished and trial.reason is None
        assert folder.result()["metrics"][objective.metric] == pytest.approx(trial.score, abs=1e-6)
        (file,) = (name for name in folder.checkpoint.files() if name.startswith("weights-"))
        content = folder.checkpoint.read(file)
        assert content is not None
        return content

    assert weights("straight", (steps,)) == weights("stops", (1, 3, 5, steps))


def test_a_trial_that_diverges_fails_with_its_reason(toy_cohort: Cohort, tmp_path: Path) -> None:
    objective = Objective.of(toy_cohort, TOY, task="detector", view="RCA")
    base = inputs_of(toy_cohort, objective, tmp_path, (4, 12))
    rate = Parameter(name=learning_rate("detector"), domain=Range(low=1e-4, high=1e20))
    inputs = replace(base, space=Space((rate,), objective.base))
    worker = TrialWorker(inputs, World(torch.device("cpu")))
    wild, tame = (Trial(n, {rate.name: value}, "search") for n, value in ((3, 1e20), (4, 1e-3)))
    failed = worker.advance(wild, 0, lambda *_: None)
    assert failed.reason is not None and "not finite" in failed.reason and failed.diverged
    assert json.loads((tmp_path / "003" / "trial.json").read_text())["reason"] == failed.reason
    # The process goes on with the next trial.
    sound = worker.advance(tame, 0, lambda *_: None)
    assert sound.reason is None and sound.steps == 4
    sound.state = "stopped"
    end_trial(inputs, sound)
    assert json.loads((tmp_path / "004" / "trial.json").read_text())["state"] == "stopped"
    assert not (tmp_path / "004" / "checkpoint").exists()


def test_a_trial_that_meets_an_accident_does_not_count_as_diverged(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    objective = Objective.of(toy_cohort, TOY, task="detector", view="RCA")
    inputs = inputs_of(toy_cohort, objective, tmp_path, (4, 12))

    def accident(*_: object) -> None:
        raise RuntimeError("the compiler gave up")

    worker = TrialWorker(inputs, World(torch.device("cpu")))
    failed = worker.advance(Trial(3, {}, BY_BASE), 0, accident)
    assert failed.reason == "RuntimeError: the compiler gave up" and not failed.diverged


def test_the_first_variant_of_the_settings_is_searched(toy_cohort: Cohort) -> None:
    """Also of an architecture that cannot have variant B."""
    gradcam = replace(TOY.detector, architecture="gradcam", variants=("NL", "BGNL"))
    settings = replace(TOY, detector=gradcam)
    objective = Objective.of(toy_cohort, settings, task="detector", view="RCA")
    assert objective.run.variant == "NL" and objective.base.detector.variants == ("NL",)


def test_what_cannot_be_searched_is_a_sentence(toy_cohort: Cohort) -> None:
    with pytest.raises(ValueError, match="detectors of LCA, RCA"):
        Objective.of(toy_cohort, TOY, task="detector")
    with pytest.raises(
        ValueError, match="no detector of view 'RCX': the nearest is RCA; there are LCA, RCA"
    ):
        Objective.of(toy_cohort, TOY, task="detector", view="RCX")
    with pytest.raises(ValueError, match="no fold 2: the study has folds 0 to 1"):
        Objective.of(toy_cohort, TOY, task="view", fold=2)
    many = replace(TOY, folds=12)
    few = (
        r"of fold 0 has 11 patients, too few to be .* 12 parts once more\. Add data, or set `folds`"
    )
    with pytest.raises(ValueError, match=few):
        Objective.of(toy_cohort, many, task="detector", view="RCA")
