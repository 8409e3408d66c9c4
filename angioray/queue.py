"""Which lane does which run: the one queue that every lane of a study takes from."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

LOST_ATTEMPTS = 3
"""A run whose lane has died under it this often is given up."""


@dataclass
class Current:
    """What a lane is doing."""

    run: str
    since: float
    done: int = 0
    steps: int = 0
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """The study at one moment."""

    waiting: tuple[str, ...]
    running: dict[int, Current]
    finished: dict[str, dict[str, float | None]]
    failed: dict[str, str]


class RunQueue:
    """Hands out runs, longest first, and remembers what each lane is doing.

    A lane that died and came back gets its run again. Among waiting runs a lane prefers those
    whose frames it already holds, and otherwise those whose frames no other lane works on.
    """

    def __init__(self, runs: list[tuple[str, Any]]) -> None:
        """``runs`` are names with the key of their frames, in the order they should start."""
        self._waiting = [name for name, _ in runs]
        self._frames = dict(runs)
        self._running: dict[int, Current] = {}
        self._held: dict[int, Any] = {}
        self._attempts: dict[str, int] = {}
        self._finished: dict[str, dict[str, float | None]] = {}
        self._failed: dict[str, str] = {}

    def take(self, lane: int) -> str | None:
        """The lane's next run, or None when there is nothing left to do."""
        if lane in self._running:
            self.lose(lane)
            self._held.pop(lane, None)  # its frames died with it
        if not self._waiting:
            return None
        name = self._choose(lane)
        self._waiting.remove(name)
        self._attempts[name] = self._attempts.get(name, 0) + 1
        self._running[lane] = Current(name, time.time())
        self._held[lane] = self._frames[name]
        return name

    def lose(self, lane: int) -> None:
        """A lane died: its run goes to the front again, or is given up after too many deaths."""
        current = self._running.pop(lane, None)
        if current is None:
            return
        if self._attempts[current.run] >= LOST_ATTEMPTS:
            self._failed[current.run] = (
                f"its worker died {LOST_ATTEMPTS} times (out of memory?); see Ray's logs"
            )
        else:
            self._waiting.insert(0, current.run)

    def progress(self, lane: int, done: int, steps: int, values: dict[str, float]) -> None:
        """A lane's run has come so far."""
        if lane in self._running:
            current = self._running[lane]
            current.done, current.steps, current.values = done, steps, values

    def finish(self, lane: int, run: str, metrics: dict[str, float | None]) -> None:
        """A lane completed a run."""
        self._finished[run] = metrics
        self._leave(lane, run)

    def fail(self, lane: int, run: str, reason: str) -> None:
        """A lane's run raised; the lane itself goes on."""
        self._failed[run] = reason
        self._leave(lane, run)

    def snapshot(self) -> Snapshot:
        """Where everything stands."""
        return Snapshot(
            tuple(self._waiting), dict(self._running), dict(self._finished), dict(self._failed)
        )

    def _leave(self, lane: int, run: str) -> None:
        """The lane is free, unless this came late from a worker that it has replaced."""
        if lane in self._running and self._running[lane].run == run:
            del self._running[lane]

    def _choose(self, lane: int) -> str:
        held = self._held.get(lane)
        for name in self._waiting:
            if self._frames[name] == held:
                return name
        others = [self._frames[current.run] for current in self._running.values()]
        for name in self._waiting:
            if self._frames[name] not in others:
                return name
        return self._waiting[0]
