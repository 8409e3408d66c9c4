"""The queue of a study's runs, from which every lane takes its next one."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from preprocess.console.progress import Pace

LOST_ATTEMPTS = 3
"""A run whose lane has died under it this often, without getting further, is given up."""
PROGRESS_EVERY_S = 0.5
"""Between two reports of a lane on its run."""
MUCH_SHORTER = 0.9
"""A run of less than this share of the longest waiting one must wait: longest first."""


@dataclass(frozen=True)
class QueuedRun:
    """A run as the queue sees it.

    Attributes:
        name: of the run.
        frames: runs that share this share their frames.
        seconds: expected.
        wide: whether lanes of several ranks do it.
    """

    name: str
    frames: Hashable
    seconds: float
    wide: bool = False


@dataclass
class Current:
    """What a lane is doing.

    Attributes:
        run: its name.
        node: where the leading rank is.
        done: steps so far; a resumed run does not begin at 0.
        steps: of the whole run; 0 until the first is told of.
        values: of the last line told.
        heard: when it last got further (``time.time()``).
        alive: when it last gave a sign of life, such as while it reads frames or judges.
        pace: of its steps.
        seconds_left: of its training at the pace so far; None until there is a pace.
    """

    run: str
    node: str
    heard: float
    alive: float
    done: int = 0
    steps: int = 0
    values: dict[str, float] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    seconds_left: float | None = None

    def got(self, done: int, steps: int, values: dict[str, float]) -> None:
        """Take in how far it has come."""
        if (done, steps) != (self.done, self.steps):
            self.heard = self.alive = time.time()
        self.done, self.steps, self.values = done, steps, values
        self.seconds_left = self.pace.seconds_left(done, steps, self.heard)


@dataclass(frozen=True)
class Snapshot:
    """The study at one moment."""

    waiting: tuple[str, ...]
    running: dict[int, Current]
    finished: dict[str, dict[str, float | None]]
    failed: dict[str, str]
    unfit: dict[int, str] = field(default_factory=dict)
    """Lanes that cannot work where they are, and why."""
    losses: tuple[str, ...] = ()
    """What became of lanes on the way, in the order it happened."""
    halted: str = ""
    """Why no further run is begun; empty as long as they are."""

    @property
    def over(self) -> bool:
        """Whether nothing runs, and nothing more will be begun."""
        return not self.running and (not self.waiting or bool(self.halted))


class RunQueue:
    """Hands out runs, longest first, and remembers what each lane is doing.

    A lane that died and came back gets its run again, unless another took it meanwhile. Among
    waiting runs of about the same length a lane prefers those whose frames it already holds, and
    otherwise those whose frames no other lane works on.
    """

    def __init__(self, entries: Iterable[QueuedRun]) -> None:
        """``entries`` in the order they should start."""
        self._entries = {entry.name: entry for entry in entries}
        self._waiting = list(self._entries)
        self._running: dict[int, Current] = {}
        self._held: dict[int, Hashable] = {}
        self._workers: dict[int, list[Any]] = {}
        self._attempts: dict[str, int] = {}
        self._furthest: dict[str, int] = {}
        self._finished: dict[str, dict[str, float | None]] = {}
        self._failed: dict[str, str] = {}
        self._unfit: dict[int, str] = {}
        self._losses: list[str] = []
        self._halted = ""

    def join(self, lane: int, worker: Any) -> None:
        """A rank of a lane is there; its ``worker`` is kept, so that it can be ended."""
        self._workers.setdefault(lane, []).append(worker)

    def workers(self, lane: int) -> list[Any]:
        """The ranks of a lane that have joined since it last died."""
        return self._workers.get(lane, [])

    def take(self, lane: int, *, wide: bool = False, node: str = "") -> str | None:
        """The lane's next run, or None when there is nothing left for it to do."""
        if lane in self._running:
            self.lose(lane)
        name = None if self._halted else self._choose(lane, wide)
        if name is None:
            return None
        self._waiting.remove(name)
        self._running[lane] = Current(name, node, time.time(), time.time())
        self._held[lane] = self._entries[name].frames
        return name

    def lose(
        self, lane: int, why: str = "its worker died (out of memory?)", *, blamed: bool = True
    ) -> None:
        """A lane died: its run goes to the front again, or is given up if it gets no further.

        Args:
            lane: which.
            why: in words.
            blamed: whether the run may be the cause; it is not where a node is taken back.
        """
        self._workers.pop(lane, None)
        self._held.pop(lane, None)  # its frames died with it
        current = self._running.pop(lane, None)
        if current is None:
            return
        name = current.run
        self._losses.append(f"{name} lost its lane: {why}")
        if current.done > self._furthest.get(name, 0):
            self._furthest[name], self._attempts[name] = current.done, 0
        self._attempts[name] = self._attempts.get(name, 0) + blamed
        if self._attempts[name] >= LOST_ATTEMPTS:
            self._failed[name] = f"given up after {LOST_ATTEMPTS} attempts: {why}; see Ray's logs"
        else:
            self._waiting.insert(0, name)

    def progress(
        self, lane: int, run: str, done: int, steps: int, values: dict[str, float]
    ) -> None:
        """A lane's run has come so far."""
        if lane in self._running and self._running[lane].run == run:
            self._running[lane].got(done, steps, values)

    def alive(self, lane: int, run: str) -> None:
        """A lane is at work on its run, though it takes no step."""
        if lane in self._running and self._running[lane].run == run:
            self._running[lane].alive = time.time()

    def finish(self, lane: int, run: str, metrics: dict[str, float | None]) -> None:
        """A lane completed a run."""
        self._finished[run] = metrics
        self._failed.pop(run, None)
        if run in self._waiting:  # its lane was taken for dead, and was not
            self._waiting.remove(run)
        self._leave(lane, run)

    def fail(self, lane: int, run: str, reason: str) -> None:
        """A lane's run raised; the lane itself goes on."""
        if run not in self._finished:
            self._failed[run] = reason
        self._leave(lane, run)

    def reject(self, lane: int, reason: str) -> None:
        """A lane cannot work where it is."""
        self._unfit[lane] = reason

    def halt(self, reason: str) -> None:
        """Begin no further run: each would fail for the same reason."""
        self._halted = reason

    def snapshot(self) -> Snapshot:
        """Where everything stands."""
        return Snapshot(
            tuple(self._waiting),
            dict(self._running),
            dict(self._finished),
            dict(self._failed),
            dict(self._unfit),
            tuple(self._losses),
            self._halted,
        )

    def _leave(self, lane: int, run: str) -> None:
        """The lane is free, unless this came late from a worker that it has replaced."""
        if lane in self._running and self._running[lane].run == run:
            del self._running[lane]

    def _choose(self, lane: int, wide: bool) -> str | None:
        able = [e for name in self._waiting if (e := self._entries[name]).wide == wide]
        if not able:
            return None
        if self._attempts.get(able[0].name):
            return able[0].name  # half done, and somebody's lane died with it
        longest = max(entry.seconds for entry in able)
        next_ones = [entry for entry in able if entry.seconds >= MUCH_SHORTER * longest]
        held = self._held.get(lane)
        others = {self._entries[current.run].frames for current in self._running.values()}
        for wanted in (lambda e: e.frames == held, lambda e: e.frames not in others):
            if found := next(filter(wanted, next_ones), None):
                return found.name
        return next_ones[0].name
