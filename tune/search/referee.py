"""The referee of a sweep: an actor that receives every score and gives out every rung."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from angioray.study.executor import reason_of
from angioray.study.settings import StudySettings
from preprocess.console.progress import duration
from tune.search.trial import Workplace, record_failure
from tune.trials import Trial

LOST_ATTEMPTS = 3
"""A rung on which so many processes have died is given up, and its trial has failed."""


@dataclass(frozen=True)
class Errand:
    """What a lane is to do next.

    Attributes:
        trial: which, as it was suggested.
        settings: its own, resolved.
        rung: up to which it is to be trained and judged.
    """

    trial: Trial
    settings: StudySettings
    rung: int


@dataclass
class Current:
    """How far a trial that trains has come.

    Attributes:
        done: steps.
        values: of the last line logged.
        alive: when its lane last gave a sign of life (``time.time()``).
    """

    done: int = 0
    values: dict[str, float] = field(default_factory=dict)
    alive: float = field(default_factory=lambda: time.time())


@dataclass(frozen=True)
class Standing:
    """A sweep at one moment.

    Attributes:
        trials: all that have started, in their order.
        running: those that train, by number.
        over: whether every trial has ended.
        losses: what became of processes on the way, in the order it happened.
        halted: why no further rung is begun; empty as long as they are.
    """

    trials: tuple[Trial, ...]
    running: dict[int, Current]
    over: bool
    losses: tuple[str, ...] = ()
    halted: str = ""


class Contest(Protocol):
    """What a referee holds: a search with halving, or a population."""

    trials: dict[int, Trial]

    def wanted(self) -> list[tuple[int, int]]:
        """Trials and rungs that are to be reached next, the most urgent first."""
        ...

    @property
    def over(self) -> bool:
        """Whether every trial has ended."""
        ...

    def report(self, number: int, curve: Sequence[tuple[int, float]], seconds: float) -> None:
        """Take in a trial's scores so far; telling it twice changes nothing."""
        ...

    def fail(self, number: int, reason: str, *, diverged: bool = False) -> None:
        """Take in that a trial failed on the way to its next rung.

        Only one that diverged says something of its settings.
        """
        ...

    def settings(self, number: int) -> StudySettings:
        """The settings of a trial."""
        ...


class Referee:
    """Holds the search while lanes train its trials, one rung at a time.

    A trial belongs to no lane: whichever is free goes on with it from its checkpoint. So nothing
    waits for a lane that is lost, and fewer lanes than the search reckons with only take longer.
    """

    def __init__(self, search: Contest, place: Workplace, stuck_after_s: float) -> None:
        self._search, self._place, self._stuck_after_s = search, place, stuck_after_s
        self._workers: dict[int, Any] = {}
        self._held: dict[int, tuple[int, int]] = {}
        self._current: dict[int, Current] = {}
        self._attempts: Counter[tuple[int, int]] = Counter()
        self._losses: list[str] = []
        self._halted = ""

    def take(self, lane: int) -> Errand | None:
        """The lane's next errand; None while there is none, or when it is over.

        A lane that asks while it has one has died with it and come back.
        """
        self._lose(lane)
        held = set(self._held.values())
        wanted = [each for each in self._search.wanted() if each not in held]
        if not wanted or self._halted:
            return None
        number, rung = wanted[0]
        trial = self._search.trials[number]
        try:
            settings = self._search.settings(number)
        except ValueError as refused:  # between the ends of a range that were checked
            self._give_up(number, str(refused))
            return self.take(lane)
        self._held[lane] = wanted[0]
        self._current[number] = Current(trial.steps)
        return Errand(replace(trial, curve=list(trial.curve)), settings, rung)

    def join(self, lane: int, worker: Any) -> None:
        """A lane's process is there; it is kept, so that it can be ended."""
        self._workers[lane] = worker

    def alive(self, lane: int) -> None:
        """A lane is at work on its trial, though it takes no step."""
        if lane in self._held:
            self._current[self._held[lane][0]].alive = time.time()

    def over(self) -> bool:
        """Whether nothing more will be handed out."""
        return self._search.over or bool(self._halted)

    def progress(self, lane: int, done: int, values: dict[str, float]) -> None:
        """A lane's trial has come so far."""
        if lane in self._held:
            self._current[self._held[lane][0]] = Current(done, values)

    def report(
        self,
        lane: int,
        number: int,
        curve: Sequence[tuple[int, float]],
        seconds: float,
        reason: str | None,
        diverged: bool = False,
    ) -> None:
        """A lane has taken a trial to a rung, or it failed on the way; it may be said twice."""
        self._held.pop(lane, None)
        with self._halting():
            self._search.report(number, curve, seconds)
            if reason is not None:
                self._search.fail(number, reason, diverged=diverged)

    def halt(self, reason: str) -> None:
        """No trial can go on."""
        self._halted = reason

    def standing(self, lanes: Collection[int] | None = None) -> Standing:
        """How it stands; told which lanes have a process, if anyone knows."""
        for lane in list(self._held):
            if lanes is not None and lane not in lanes:
                self._lose(lane)
        self._end_stuck()
        return Standing(
            tuple(self._search.trials.values()),
            {number: self._current[number] for number, _ in self._held.values()},
            self._search.over,
            tuple(self._losses),
            self._halted,
        )

    def _end_stuck(self) -> None:
        """End the processes that give no sign of life; Ray Tune starts them anew."""
        for lane, (number, _) in list(self._held.items()):
            silent_s = time.time() - self._current[number].alive
            if silent_s >= self._stuck_after_s:
                self._lose(lane, f"was stuck, without progress for {duration(silent_s)}")
                if (worker := self._workers.pop(lane, None)) is not None:
                    import ray

                    ray.kill(worker)

    def _lose(self, lane: int, how: str = "lost its process") -> None:
        if (errand := self._held.pop(lane, None)) is None:
            return
        number, _ = errand
        self._attempts[errand] += 1
        self._losses.append(f"trial {number:03d} {how}, and goes on in another process")
        if self._attempts[errand] >= LOST_ATTEMPTS:
            why = f"given up: {LOST_ATTEMPTS} processes died on it (out of memory?); see Ray's logs"
            self._give_up(number, why)

    def _give_up(self, number: int, why: str) -> None:
        with self._halting():
            record_failure(self._place, self._search.trials[number], why)
            self._search.fail(number, why)

    @contextmanager
    def _halting(self) -> Iterator[None]:
        """Members of a population take over weights as scores come in, and disks may be full."""
        try:
            yield
        except Exception as problem:  # noqa: BLE001 - whoever asks would wait for ever
            self.halt(reason_of(problem))
