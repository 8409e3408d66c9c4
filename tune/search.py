"""A search: trials suggested, halved and remembered, as a function of the scores alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from angioray.study import StudySettings
from tune.halving import Course, Outcome
from tune.parameters import Params
from tune.samplers import Optuna, Sampler
from tune.space import Space, checked, learning_rate, plain, rate_changes, set_at

State = Literal["running", "finished", "stopped", "failed"]

BY_BASE = "paper's settings"
BY_SEARCH = "search"


@dataclass(frozen=True)
class Candidate:
    """Settings that are tried before the sampler is asked, and where they come from."""

    params: Params
    origin: str


@dataclass
class Trial:
    """One trial.

    Attributes:
        number: from 0, in the order of suggestion.
        params: its searched settings.
        origin: who chose them.
        curve: steps and scores at the rungs reached.
        seconds: spent on it so far.
        reason: why it failed.
        state: how it stands.
        rates: of a member of a population: its learning rates, each with the share of the steps
            from which it held; they may have been another member's.
    """

    number: int
    params: Params
    origin: str
    curve: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    reason: str | None = None
    state: State = "running"
    rates: list[tuple[float, float]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Up to the last rung that it reached."""
        return self.curve[-1][0] if self.curve else 0

    @property
    def score(self) -> float | None:
        """At the last rung that it reached."""
        return self.curve[-1][1] if self.curve else None

    def score_at(self, step: int) -> float | None:
        """The score at a rung, or None if it was not judged there."""
        return dict(self.curve).get(step)

    def rates_in_words(self, number: Callable[[float], str]) -> str:
        """Its learning rates, such as ``0.004; 0.005 from 33 %``; ``number`` writes one of them."""
        (_, first), *changes = self.rates
        then = [f"{number(rate)} from {100 * share:.0f} %" for share, rate in changes]
        return "; ".join([number(first), *then])

    def as_json(self) -> dict[str, Any]:
        """As the table of trials has it."""
        return {
            "number": self.number,
            "state": self.state,
            "params": self.params,
            "score": self.score,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "curve": [list(point) for point in self.curve],
            "origin": self.origin,
            "reason": self.reason,
            "rates": [list(change) for change in self.rates],
        }

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Trial:
        """From :meth:`as_json`.

        Raises:
            KeyError, TypeError, ValueError: it is not what that wrote.
        """
        if document["state"] not in get_args(State):
            raise ValueError(f"state {document['state']!r} of trial {document['number']}")
        return cls(
            number=document["number"],
            params=document["params"],
            origin=document["origin"],
            curve=[(int(step), float(score)) for step, score in document["curve"]],
            seconds=document["seconds"],
            reason=document["reason"],
            state=document["state"],
            rates=[(float(share), float(rate)) for share, rate in document["rates"]],
        )

    def take_up(self, recorded: Trial) -> None:
        """Go on from what an earlier attempt at the search has left.

        Raises:
            ValueError: that one has other settings.
        """
        if json.dumps(recorded.params, sort_keys=True) != json.dumps(self.params, sort_keys=True):
            raise ValueError(
                f"Trial {self.number} was begun with {recorded.params}, and this search gives it "
                f"{self.params}: it was begun by another version, or its scores were changed. "
                "Continue with the version that began it, or start in another folder."
            )
        self.curve, self.seconds, self.reason = recorded.curve, recorded.seconds, recorded.reason


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

    def fail(self, number: int, reason: str) -> None:
        """Take in that a trial failed on the way to its next rung."""
        trial = self.trials[number]
        if trial.state == "running" and len(trial.curve) < len(self._rungs):
            trial.reason = reason
            self._course.learn(number, {}, failed_at=len(trial.curve))
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
        )

    def _ended(self, number: int, outcome: Outcome) -> None:
        trial = self.trials[number]
        trial.state = outcome
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
    return checked(document)


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The finished trial of the highest score; of equals the first. None if none is finished."""
    finished = [trial for trial in trials if trial.state == "finished"]
    return max(finished, key=lambda trial: (trial.score or 0.0, -trial.number), default=None)
