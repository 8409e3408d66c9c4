"""The board of a sweep: an actor on which its processes say how far they are."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from preprocess.console.progress import duration

WAIT_FOR_SLOTS_S = 180.0
"""For all processes to be set up, after the first; a node may have died meanwhile."""


@dataclass
class Progress:
    """How far a trial that trains has come.

    Attributes:
        done: steps.
        values: of the last line logged.
        alive: when its process last gave a sign of life (``time.time()``).
    """

    done: int = 0
    values: dict[str, float] = field(default_factory=dict)
    alive: float = field(default_factory=lambda: time.time())


class Board:
    """What the processes of one sweep tell each other and the command; new for each start.

    It is also the gate of a sweep. Where a trial ends, Ray Tune gives its process to the oldest
    trial that waits, and ends the process that was being started for that one. Short trials can
    so keep slow starts from ever ending. No process begins before all are set up; and no
    more train at once than there are slots, though Ray may have started more.
    """

    def __init__(self, slots: int, stuck_after_s: float) -> None:
        """``slots`` processes train at once; one is stuck when silent for ``stuck_after_s``."""
        self._slots, self._stuck_after_s = slots, stuck_after_s
        self._joined, self._first = 0, 0.0
        self._running: dict[int, Progress] = {}
        self._workers: dict[int, Any] = {}
        self._attempts: Counter[int] = Counter()
        self._done: dict[int, int] = {}
        self._furthest: dict[int, int] = {}
        self._halted = ""

    def join(self) -> None:
        """A process is set up."""
        self._joined += 1
        self._first = self._first or time.monotonic()

    def gate_is_open(self) -> bool:
        """Whether the processes may begin."""
        return self._joined >= self._slots or time.monotonic() - self._first > WAIT_FOR_SLOTS_S

    def begin(self, number: int, worker: Any) -> int:
        """A trial sets out for its next rung in a process, if there is a slot.

        Returns:
            How many processes have set out without getting further, this one included; 0 where all
            slots are taken.
        """
        if number not in self._running and len(self._running) >= self._slots > 0:
            return 0
        if self._done.get(number, 0) > self._furthest.get(number, 0):
            self._furthest[number], self._attempts[number] = self._done[number], 0
        self._attempts[number] += 1
        self._running[number], self._workers[number] = Progress(), worker
        return self._attempts[number]

    def alive(self, number: int) -> None:
        """A trial is at work, though it takes no step."""
        if number in self._running:
            self._running[number].alive = time.time()

    def progress(self, number: int, done: int, values: dict[str, float]) -> None:
        """A trial has come so far."""
        if number in self._running:
            self._running[number], self._done[number] = Progress(done, values), done

    def reach(self, number: int) -> None:
        """A trial was judged at its rung, or has failed."""
        self._attempts[number] = 0
        self.leave(number)

    def leave(self, number: int) -> None:
        """A trial no longer trains, wherever it is."""
        self._running.pop(number, None)

    def halt(self, reason: str) -> None:
        """No trial can go on."""
        self._halted = reason

    def look(self) -> tuple[dict[int, Progress], list[str], str]:
        """The trials that train, what was stuck since the last look, and why it was halted."""
        stuck = self._end_stuck()
        return dict(self._running), stuck, self._halted

    def _end_stuck(self) -> list[str]:
        """End the processes that give no sign of life, which Ray Tune starts anew; in words."""
        import ray

        news = []
        for number, progress in list(self._running.items()):
            silent_s = time.time() - progress.alive
            if silent_s >= self._stuck_after_s:
                news.append(
                    f"trial {number:03d} was stuck, without progress for {duration(silent_s)}"
                )
                del self._running[number]
                ray.kill(self._workers[number])
        return news
