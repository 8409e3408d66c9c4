"""A trial in its folder, trained from rung to rung by one process."""

from __future__ import annotations

import errno
import json
import shutil
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

from angioray.execution import Executor, reason_of
from angioray.run_folder import RunFolder
from angioray.step import World
from angioray.study import StudySettings
from angioray.training import Progress
from preprocess.atomic import write_json
from preprocess.cohort import Cohort
from tune.halving import WORST
from tune.objective import Objective
from tune.search import Trial

TRIAL_FILE = "trial.json"


@dataclass(frozen=True)
class Workplace:
    """What every process that trains trials must know.

    Attributes:
        trials: where their folders lie.
        cohort: the cohort's folder.
        digest: the cohort's.
        objective: what trials are measured on.
        rungs: steps at which they are judged.
    """

    trials: Path
    cohort: Path
    digest: str
    objective: Objective
    rungs: tuple[int, ...]

    def folder(self, number: int) -> RunFolder:
        """The run folder of a trial."""
        return RunFolder(self.trials / f"{number:03d}")

    def recorded(self) -> dict[int, Trial]:
        """The trials that have left something, by number."""
        trials = (read_trial(path.parent) for path in self.trials.glob(f"*/{TRIAL_FILE}"))
        return {trial.number: trial for trial in trials if trial is not None}


def read_trial(folder: Path) -> Trial | None:
    """What a trial has left; None where it has not begun.

    Raises:
        ValueError: its file is damaged.
    """
    path = folder / TRIAL_FILE
    if not path.is_file():
        return None
    try:
        return Trial.of_json(json.loads(path.read_text("utf-8")))
    except (ValueError, KeyError, TypeError) as problem:
        raise ValueError(
            f"{path} is damaged ({problem!r}). Remove the folder {folder}; with --resume the "
            "sweep makes that trial anew."
        ) from problem


def record_failure(place: Workplace, suggested: Trial, reason: str) -> None:
    """Write why a trial failed, for a worker that can no longer do so."""
    folder = place.folder(suggested.number).path
    folder.mkdir(parents=True, exist_ok=True)
    trial = read_trial(folder) or replace(suggested)
    trial.reason, trial.state = reason, "failed"
    write_json(folder / TRIAL_FILE, trial.as_json())


def end_trial(place: Workplace, trial: Trial) -> None:
    """Write how a trial ended; one that was not finished leaves no weights."""
    folder = place.folder(trial.number)
    kept = read_trial(folder.path)
    if kept is not None and kept.state != trial.state:
        kept.state = trial.state
        write_json(folder.path / TRIAL_FILE, kept.as_json())
    if trial.state != "finished":
        shutil.rmtree(folder.checkpoint, ignore_errors=True)


class TrialWorker:
    """Trains trials of one sweep, keeping the frames that the next may share."""

    def __init__(self, workplace: Workplace, world: World) -> None:
        """Open the cohort, and forget all of it but the sequences that trials may see.

        Raises:
            ValueError: the cohort is not there, or another.
        """
        cohort = Cohort.open(workplace.cohort)
        if cohort.digest != workplace.digest:
            raise ValueError(f"another cohort lies in {workplace.cohort} here")
        objective = workplace.objective
        self._place, self._objective = workplace, objective
        study = objective.study(objective.base, workplace.trials, workplace.cohort)
        self._executor = Executor(study, cohort.only(objective.sequences), world)

    def advance(
        self, trial: Trial, settings: StudySettings, rung: int, progress: Progress
    ) -> Trial:
        """Train a trial up to a rung, unless it has been there, and judge it.

        Args:
            trial: as it was suggested.
            settings: its own, resolved.
            rung: which.
            progress: is told now and then.

        Returns:
            The trial with its score at the rung, or with the reason why it failed.

        Raises:
            OSError: the disk is full; the next trial would fail as well.
        """
        folder = self._place.folder(trial.number)
        with folder.locked():  # a killed driver's workers live on for some seconds
            kept = read_trial(folder.path)
            if kept is not None and (len(kept.curve) > rung or kept.reason is not None):
                return kept
            return self._train(kept or trial, settings, rung, folder, progress)

    def _train(
        self,
        trial: Trial,
        settings: StudySettings,
        rung: int,
        folder: RunFolder,
        progress: Progress,
    ) -> Trial:
        write_json(folder.path / TRIAL_FILE, trial.as_json())
        study = self._objective.study(settings, self._place.trials, self._place.cohort)
        step = self._place.rungs[rung]
        last = rung == len(self._place.rungs) - 1
        started = time.perf_counter()
        try:
            self._executor.turn_to(study)
            (run,) = study.runs
            metrics = self._executor.advance(run, folder, progress, until=None if last else step)
        except Exception as problem:
            if isinstance(problem, OSError) and problem.errno == errno.ENOSPC:
                raise
            trial.reason = reason_of(problem)
            folder.fail(trial.reason, traceback.format_exc())
            self._executor.release()
        else:
            trial.curve.append((step, round(metrics[self._objective.metric] or WORST, 6)))
        trial.seconds += time.perf_counter() - started
        write_json(folder.path / TRIAL_FILE, trial.as_json())
        return trial
