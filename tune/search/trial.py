"""A trial in its folder, trained from rung to rung by one process."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, replace

from angioray.study.executor import Executor, reason_of, stops_all
from angioray.study.run_folder import RunFolder
from angioray.study.settings import StudySettings
from angioray.training.checkpoint import STATE, read_state
from angioray.training.loop import Progress
from angioray.training.step import Alive, World, nobody_waits
from preprocess.cohort import Cohort
from preprocess.storage import open_storage
from tune.objective import Objective
from tune.search.halving import WORST
from tune.trials import Trial

TRIAL_FILE = "trial.json"


@dataclass(frozen=True)
class Workplace:
    """What every process that trains trials must know.

    Attributes:
        trials: where their folders lie.
        cohort: where the cohort lies.
        digest: the cohort's.
        objective: what trials are measured on.
        rungs: steps at which they are judged.
    """

    trials: str
    cohort: str
    digest: str
    objective: Objective
    rungs: tuple[int, ...]

    def folder(self, number: int) -> RunFolder:
        """The run folder of a trial."""
        return RunFolder(open_storage(self.trials) / f"{number:03d}")

    def recorded(self, samples: int) -> dict[int, Trial]:
        """Those of the first so many trials that have left something, by number."""
        trials = (read_trial(self.folder(number)) for number in range(samples))
        return {trial.number: trial for trial in trials if trial is not None}


def read_trial(folder: RunFolder) -> Trial | None:
    """What a trial has left; None where it has not begun.

    Raises:
        ValueError: its file is damaged.
    """
    try:
        document = folder.files.read_json(TRIAL_FILE)
        return None if document is None else Trial.of_json(document)
    except (ValueError, KeyError, TypeError) as problem:
        raise ValueError(
            f"{folder.files / TRIAL_FILE} is damaged ({problem!r}). Remove the folder "
            f"{folder.files}; with --resume the sweep makes that trial anew."
        ) from problem


def record_failure(place: Workplace, suggested: Trial, reason: str) -> None:
    """Write why a trial failed, for a worker that can no longer do so."""
    folder = place.folder(suggested.number)
    trial = read_trial(folder) or replace(suggested)
    trial.reason, trial.state = reason, "failed"
    _write(folder, trial)


def end_trial(place: Workplace, trial: Trial) -> None:
    """Write how a trial ended; one that was not finished leaves no weights."""
    folder = place.folder(trial.number)
    kept = read_trial(folder)
    if kept is not None and kept.state != trial.state:
        kept.state = trial.state
        _write(folder, kept)
    if trial.state != "finished":
        folder.checkpoint.clear()


def inherit(place: Workplace, heir: Trial, parent: int, rung: int) -> None:
    """Give a trial the weights of another as they are at a rung, and its learning rates.

    It may be asked for twice: where the trial has them, or has gone on with them, nothing is done.
    The parent must not go on before this returns.

    Args:
        place: where both lie.
        heir: the trial as it is to be.
        parent: the other's number.
        rung: at which both are.

    Raises:
        OSError: the weights could not be written; nothing has been taken over.
        ValueError: the parent is no longer, or not yet, at that rung.
    """
    folder, source = place.folder(heir.number), place.folder(parent)
    with folder.locked(), source.locked():
        kept = read_trial(folder)
        assert kept is not None
        if len(kept.curve) > rung + 1 or kept.rates == heir.rates:
            return
        weights, step = source.checkpoint, place.rungs[rung]
        state = read_state(weights)
        if state is None or state["step"] != step:
            raise ValueError(
                f"Trial {heir.number:03d} is to take over from trial {parent:03d} as that was at "
                f"step {step}, but its checkpoint is of step {state['step'] if state else 0}: "
                "folders were removed or changed. A population is a whole, so begin a new one: "
                "give another `--out`."
            )
        # What says which files belong together comes last. Where it does not come to that, the
        # trial's own rates still say that it has not taken over.
        for name in sorted(weights.files(), key=lambda name: name == STATE):
            content = weights.read(name)
            assert content is not None
            folder.checkpoint.write(name, content)
        _write(folder, replace(kept, rates=heir.rates))


class TrialWorker:
    """Trains trials of one sweep, keeping the frames that the next may share."""

    def __init__(self, workplace: Workplace, world: World, alive: Alive = nobody_waits) -> None:
        """Open the cohort, and forget all of it but the sequences that trials may see.

        Args:
            workplace: what it must know.
            world: where this process trains.
            alive: is called again and again while no step is taken.

        Raises:
            ValueError: the cohort is not there, or another.
        """
        cohort = Cohort.open(workplace.cohort)
        if cohort.digest != workplace.digest:
            raise ValueError(f"another cohort lies in {workplace.cohort} here")
        objective = workplace.objective
        self._place, self._objective = workplace, objective
        study = objective.study(objective.base, workplace.trials, workplace.cohort)
        self._alive = alive
        self._executor = Executor(study, cohort.only(objective.sequences), world, alive=alive)

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
            OSError: there is no room for its files, or no way to them; the next trial would fail
                as well.
        """
        folder = self._place.folder(trial.number)
        with folder.locked(self._alive):  # a killed driver's workers live on for some seconds
            kept = read_trial(folder)
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
        _write(folder, trial)
        study = self._objective.study(settings, self._place.trials, self._place.cohort)
        step = self._place.rungs[rung]
        last = rung == len(self._place.rungs) - 1
        started = time.perf_counter()
        try:
            self._executor.turn_to(study)
            (run,) = study.runs
            metrics = self._executor.advance(run, folder, progress, until=None if last else step)
        except Exception as problem:
            if stops_all(problem):
                raise
            trial.reason = reason_of(problem)
            trial.diverged = isinstance(problem, FloatingPointError)
            folder.fail(trial.reason, traceback.format_exc())
            self._executor.release()
        else:
            trial.curve.append((step, round(metrics[self._objective.metric] or WORST, 6)))
        trial.seconds += time.perf_counter() - started
        _write(folder, trial)
        return trial


def _write(folder: RunFolder, trial: Trial) -> None:
    folder.files.write_json(TRIAL_FILE, trial.as_json())
