"""The referee of a sweep: one small actor that hears every score and gives every verdict."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tune.search import SearchRun, Trial

PARKED_AFTER_S = 2.0
"""A trial gives up its place if the one it waits for has had none for so long."""
LOST_AFTER_S = 20.0
"""The same where a place seems to be free: a process may be on its way to it."""

Answer = Literal["go on", "end", "wait", "park"]


@dataclass
class Current:
    """How far a trial that trains has come.

    Attributes:
        done: steps.
        values: of the last line logged.
    """

    done: int = 0
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    """A sweep at one moment.

    Attributes:
        trials: all that have started, in their order.
        running: those at work, by number.
        halted: why no further step is taken; empty as long as they are.
    """

    trials: tuple[Trial, ...]
    running: dict[int, Current]
    halted: str = ""


class Referee:
    """Holds the search while Ray Tune's actors train its trials."""

    def __init__(self, search: SearchRun) -> None:
        self._search = search
        self._given: set[int] = set()
        self._running: dict[int, Current] = {}
        self._placed: Collection[int] = ()
        self._places = 0
        self._placed_at = time.monotonic()
        self._halted = ""

    def take(self) -> int | None:
        """The next trial that needs work; None if there is none yet, or never again."""
        waiting = [n for n in self._search.todo() if n not in self._given]
        if not waiting:
            return None
        self._given.add(waiting[0])
        return waiting[0]

    def over(self) -> bool:
        """Whether every trial has ended."""
        return self._search.over

    def task(self, number: int) -> tuple[Trial, Any]:
        """A trial and its settings."""
        return self._search.trials[number], self._search.settings(number)

    def progress(self, number: int, done: int, values: dict[str, float]) -> None:
        """A trial has come so far."""
        self._running[number] = Current(done, values)

    def report(self, number: int, curve: Sequence[tuple[int, float]], seconds: float) -> None:
        """A trial has been judged at a rung."""
        self._search.report(number, curve, seconds)

    def fail(self, number: int, reason: str) -> None:
        """A trial failed."""
        self._search.fail(number, reason)

    def halt(self, reason: str) -> None:
        """No trial can go on."""
        self._halted = reason

    def verdict(self, number: int, rung: int) -> Answer:
        """What a trial that has reported at a rung is to do."""
        verdict = self._search.verdict(number, rung)
        if verdict != "not known yet":
            return verdict
        patience_s = PARKED_AFTER_S if len(self._placed) >= self._places else LOST_AFTER_S
        if time.monotonic() - self._placed_at <= patience_s:
            return "wait"
        self._places = len(self._placed)  # what was free is gone
        return "park"

    def standing(self, placed: Collection[int]) -> Standing:
        """How it stands; told which trials have a place in the cluster."""
        self._placed = placed
        self._places = max(self._places, len(placed))
        if self._search.waits_for in placed or self._search.over:
            self._placed_at = time.monotonic()
        trials = tuple(self._search.trials.values())
        running = {n: self._running.get(n, Current()) for n in placed if n in self._search.todo()}
        return Standing(trials, running, self._halted)
