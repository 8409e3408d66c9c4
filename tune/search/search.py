"""A search: it suggests trials, stops some, and remembers all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from angioray.study.settings import StudySettings, settings_from_dict
from tune.search.halving import Course, Outcome
from tune.search.samplers import Optuna, Sampler
from tune.space.parameters import Params
from tune.space.space import Space, learning_rate, plain, rate_changes, set_at
from tune.trials import BY_SEARCH, Trial


@dataclass(frozen=True)
class Candidate:
    """Settings that are tried before the sampler is asked, and where they come from."""

    params: Params
    origin: str


class SearchRun:
    """A search under way.

    Attributes:
        trials: those that have started, by number.
    """

    def __init__(
        self,
        space: Space,
        sampler: Sampler,
        candidates: Sequence[Candidate],
        *,
        rungs: tuple[int, ...],
        reduction: float,
        lanes: int,
        samples: int,
        step_time: Callable[[Params], float],
        recorded: Mapping[int, Trial],
    ) -> None:
        """Start, and go on as far as recorded trials reach.

        Args:
            space: what is searched.
            sampler: of what comes after the candidates.
            candidates: the first trials; the base's settings are the very first.
            rungs: steps at which trials are judged.
            reduction: of each rung.
            lanes: trials at once.
            samples: trials at most.
            step_time: what a step with some settings takes, in virtual time.
            recorded: what an earlier attempt at this search has left.

        Raises:
            ValueError: a recorded trial has other settings than this search gives it.
        """
        self.trials: dict[int, Trial] = {}
        self._space, self._sampler, self._candidates = space, sampler, candidates
        self._rungs, self._samples = rungs, samples
        self._step_time, self._recorded = step_time, recorded
        self._course = Course(rungs, reduction, lanes, begin=self._begin, end=self._ended)
        self._course.settle()

    def wanted(self) -> list[tuple[int, int]]:
        """Trials and rungs that are to be reached next, the most urgent first."""
        return self._course.wanted()

    @property
    def over(self) -> bool:
        """Whether every trial has ended."""
        return self._course.over

    def report(self, number: int, curve: Sequence[tuple[int, float]], seconds: float) -> None:
        """Take in a trial's scores so far; telling it twice changes nothing."""
        trial = self.trials[number]
        if len(curve) > len(trial.curve):
            trial.curve, trial.seconds = list(curve), seconds
        self._course.learn(number, {rung: score for rung, (_, score) in enumerate(trial.curve)})
        self._course.settle()

    def fail(self, number: int, reason: str, *, diverged: bool = False) -> None:
        """Take in that a trial failed on the way to its next rung."""
        trial = self.trials[number]
        if trial.state == "running" and len(trial.curve) < len(self._rungs):
            trial.reason, trial.diverged = reason, diverged
            self._course.learn(number, {}, failed_at=len(trial.curve), diverged=diverged)
            self._course.settle()

    def settings(self, number: int) -> StudySettings:
        """The settings of a trial."""
        return settings_of(self.trials[number], self._space)

    def _begin(self, number: int) -> float | None:
        if number >= self._samples:
            return None
        if number < len(self._candidates):
            chosen = self._candidates[number]
            params, origin = chosen.params, chosen.origin
            if isinstance(self._sampler, Optuna) and self._space.holds(params):
                self._sampler.give(number, params)
        else:
            suggested = self._sampler.suggest(number)
            if suggested is None:
                return None
            params, origin = suggested, BY_SEARCH
        self.trials[number] = trial = Trial(number, params, origin)
        if number in self._recorded:
            self._take_up(trial, self._recorded[number])
        return self._step_time(params)

    def _take_up(self, trial: Trial, recorded: Trial) -> None:
        trial.take_up(recorded)
        self._course.learn(
            trial.number,
            {rung: score for rung, (_, score) in enumerate(trial.curve)},
            failed_at=None if trial.reason is None else len(trial.curve),
            diverged=trial.diverged,
        )

    def _ended(self, number: int, outcome: Outcome) -> None:
        trial = self.trials[number]
        trial.state = "failed" if outcome == "diverged" else outcome
        if outcome == "stopped":  # it may have gone further in a sweep of fewer samples
            trial.curve = trial.curve[: self._course.passed.get(number, 0) + 1]
        self._sampler.tell(number, outcome, trial.curve)


def settings_of(trial: Trial, space: Space) -> StudySettings:
    """A trial's settings in full: the base's, those that were searched, its learning rates."""
    settings = space.settings(trial.params)
    if not trial.rates:
        return settings
    (task,), document = settings.tasks, plain(settings)
    (_, first), *changes = trial.rates
    set_at(document, learning_rate(task), first)
    set_at(document, rate_changes(task), changes)
    return settings_from_dict(document)
