"""Trials in their folders, trained from rung to rung by one process."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, replace

from angioray.study.executor import Executor, reason_of, stops_all
from angioray.study.run_folder import RunFolder
from angioray.training.checkpoint import STATE, read_state
from angioray.training.loop import Progress
from angioray.training.step import Alive, World, nobody_waits
from preprocess.cohort import Cohort
from preprocess.storage import Storage, open_storage
from tune.objective import Objective
from tune.space.space import Space
from tune.trials import BASE, WORST, Trial

TRIAL_FILE = "trial.json"
LOST_ATTEMPTS = 3
"""Where so many processes have died on their way to a rung, the trial is given up."""
SNAPSHOTS_KEPT = 2
"""Of a member's weights at its last rungs. No member goes on from a rung before all have reached
it, so the last but one is the oldest that somebody may still take over."""


@dataclass(frozen=True)
class TrialInputs:
    """What every process that trains trials must know.

    Attributes:
        trials: where their folders are.
        cohort: where the cohort is.
        digest: the cohort's.
        objective: what trials are measured on.
        space: what is searched.
        rungs: steps at which trials are judged.
        population: whether they are members of a population.
    """

    trials: str
    cohort: str
    digest: str
    objective: Objective
    space: Space
    rungs: tuple[int, ...]
    population: bool = False

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


def end_trial(inputs: TrialInputs, trial: Trial) -> None:
    """Write how a trial ended; one that was not finished leaves no weights."""
    folder = inputs.folder(trial.number)
    kept = read_trial(folder)
    if kept is not None and kept.state != trial.state:
        _write(folder, replace(kept, state=trial.state, reason=trial.reason))
    if trial.state != "finished":
        folder.checkpoint.clear()


def clear_snapshots(inputs: TrialInputs, number: int) -> None:
    """Remove what a member has kept for others, once the whole population has ended."""
    for rung in range(len(inputs.rungs)):
        _snapshot(inputs.folder(number), rung).clear()


class TrialWorker:
    """Trains trials of one sweep, keeping the frames that the next may share."""

    def __init__(self, inputs: TrialInputs, world: World, alive: Alive = nobody_waits) -> None:
        """Open the cohort, and forget all of it but the sequences that trials may see.

        Args:
            inputs: what it must know.
            world: where this process trains.
            alive: is called again and again while no step is taken.

        Raises:
            ValueError: the cohort is not there, or another.
        """
        cohort = Cohort.open(inputs.cohort)
        if cohort.digest != inputs.digest:
            raise ValueError(f"another cohort is in {inputs.cohort} here")
        objective = inputs.objective
        self._inputs, self._objective, self._alive = inputs, objective, alive
        study = objective.study(objective.base, inputs.trials, inputs.cohort)
        self._executor = Executor(study, cohort.only(objective.sequences), world, alive=alive)

    def advance(self, trial: Trial, rung: int, progress: Progress, *, attempt: int = 1) -> Trial:
        """Train a trial up to a rung, unless it has been there, and judge it.

        Args:
            trial: as it was suggested.
            rung: which.
            progress: is told now and then.
            attempt: how many processes have begun these steps, this one included.

        Returns:
            The trial with its score at the rung, or with the reason why it failed.

        Raises:
            OSError: there is no room for its files, or no way to them; the next trial would fail
                as well.
            ValueError: the folder is another trial's.
        """
        folder = self._inputs.folder(trial.number)
        with folder.locked(self._alive):  # a killed driver's workers live on for some seconds
            kept = read_trial(folder)
            if kept is not None and not self._inputs.population:
                kept.refuse_other_settings(trial)
            trial = kept or trial
            if trial.reason is None and trial.score_at(self._inputs.rungs[rung]) is None:
                if attempt > LOST_ATTEMPTS:
                    trial.reason = (
                        f"given up: {LOST_ATTEMPTS} processes died on it (out of memory?); see "
                        "Ray's logs"
                    )
                    _write(folder, trial)
                else:
                    self._train(trial, rung, folder, progress)
            return trial

    def keep_for_others(self, number: int, rung: int) -> Takeover:
        """Keep a member's weights as they are at a rung, which it has just reached.

        A member that has been further before keeps what it has: whoever needed it, has it.
        """
        folder = self._inputs.folder(number)
        kept = read_trial(folder)
        assert kept is not None, "it has been judged"
        state = read_state(folder.checkpoint)
        if state is not None and state["step"] == self._inputs.rungs[rung]:
            _copy_checkpoint(folder.checkpoint, _snapshot(folder, rung))
            for older in range(rung + 1 - SNAPSHOTS_KEPT):
                _snapshot(folder, older).clear()
        share = self._share(rung)
        return Takeover(number, rung, [change for change in kept.rates if change[0] < share])

    def take_over(self, number: int, parent: Takeover, rate: float) -> None:
        """Give a member the weights of another as they were at a rung, and a learning rate.

        It may be asked for twice: where the member has them, or has gone on with them, nothing is
        done. Trial 0 stays as it is, for the best is compared with it; and nobody takes over from
        a member that has failed.

        Args:
            number: of the member.
            parent: whose weights, at which rung.
            rate: the learning rate from then on.

        Raises:
            OSError: the weights could not be written; nothing has been taken over.
            ValueError: the weights are gone.
        """
        if number == BASE:
            return
        folder, rung = self._inputs.folder(number), parent.rung
        rates = [*parent.rates, (self._share(rung), rate)]
        with folder.locked(self._alive):
            kept = read_trial(folder)
            assert kept is not None, "it has been judged"
            # A member takes over before it goes on, so a later score, or a later change, says that
            # it has done so; its rates may be those of yet another since.
            has_gone_on = any(at > self._inputs.rungs[rung] for at, _ in kept.curve)
            if has_gone_on or kept.rates[-1][0] >= self._share(rung):
                return
            source = self._inputs.folder(parent.number)
            weights, step = _snapshot(source, rung), self._inputs.rungs[rung]
            state = read_state(weights)
            if state is None or state["step"] != step:
                origin = read_trial(source)
                if origin is not None and origin.reason is not None:
                    return
                raise ValueError(
                    f"Trial {number:03d} is to take over from trial {parent.number:03d} as that "
                    f"was at step {step}, but its weights of that step are gone: folders were "
                    "removed or changed. A population is a whole, so begin a new one: give "
                    "another `--out`."
                )
            _copy_checkpoint(weights, folder.checkpoint)
            for missed in self._inputs.rungs[: rung + 1]:
                if kept.score_at(missed) is None:  # it failed on the way
                    kept.curve.append((missed, WORST))
            _write(folder, replace(kept, rates=rates, reason=None, diverged=False))

    def _share(self, rung: int) -> float:
        return self._inputs.rungs[rung] / self._inputs.rungs[-1]

    def _train(self, trial: Trial, rung: int, folder: RunFolder, progress: Progress) -> None:
        _write(folder, trial)
        step, is_last = self._inputs.rungs[rung], rung == len(self._inputs.rungs) - 1
        started = time.perf_counter()
        try:
            settings = trial.settings(self._inputs.space)
            study = self._objective.study(settings, self._inputs.trials, self._inputs.cohort)
            self._executor.turn_to(study)
            (run,) = study.runs
            metrics = self._executor.advance(run, folder, progress, until=None if is_last else step)
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


@dataclass(frozen=True)
class Takeover:
    """What a member of a population may take over: weights, and how they came about.

    Attributes:
        number: whose they are.
        rung: at which.
        rates: the learning rates that they have seen, as in a trial.
    """

    number: int
    rung: int
    rates: list[tuple[float, float]]


def _copy_checkpoint(source: Storage, target: Storage) -> None:
    """What says which files belong together comes last."""
    for name in sorted(source.files(), key=lambda name: name == STATE):
        content = source.read(name)
        assert content is not None, "it was listed"
        target.write(name, content)


def _snapshot(folder: RunFolder, rung: int) -> Storage:
    return folder.files / f"rung-{rung}"


def _write(folder: RunFolder, trial: Trial) -> None:
    folder.files.write_json(TRIAL_FILE, trial.as_json())
