"""Progress with an ETA: a live bar on a terminal, a line now and then in a file or a pipe."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")

LINE_EVERY_S = 10.0
MARKED = 1.1
"""How many times as much is done from one mark of a pace to the next."""


@dataclass
class Pace:
    """How fast counted work goes, by the later half of what was done since its first sign.

    What came before the first sign was a start: processes, networks, frames. The first things are
    slow as well, while libraries prepare themselves. Both come once, and a pace that counted them
    in would promise many times too long for the rest.

    Attributes:
        first: how much was done at the first sign; work that is resumed may begin with any amount.
        marks: how much was done since then, and when: from before the later half on, and not all.
    """

    first: float = 0.0
    marks: deque[tuple[float, float]] = field(default_factory=deque)

    def seconds_left(self, done: float, total: float, now: float | None = None) -> float | None:
        """How long the rest takes; None until more is done than at the first sign.

        Args:
            done: how much of it is done, told each time that it has changed; less than before
                where work was lost.
            total: of it.
            now: by the caller's clock; ``time.monotonic()`` if None.
        """
        now = time.monotonic() if now is None else now
        while self.marks and self.marks[-1][0] > done - self.first:
            self.marks.pop()  # what was done since is lost with a process, and is done again
        if not self.marks:
            if done:
                self.first = done
                self.marks.append((0.0, now))
            return None
        since = done - self.first
        while len(self.marks) > 1 and self.marks[1][0] <= since / 2:
            self.marks.popleft()
        before, when = self.marks[0]
        if since <= before:
            return None
        if since >= MARKED * self.marks[-1][0]:
            self.marks.append((since, now))
        return (now - when) / (since - before) * (total - done)


def track(
    items: Iterable[Item], *, total: int | Callable[[], int | None], label: str
) -> Iterator[Item]:
    """Yield ``items``, showing on standard error how many are done and how long the rest takes.

    ``total`` may be a function where the number is found out on the way: None until it is known.
    """
    count = total if callable(total) else lambda: total
    if sys.stderr.isatty():
        yield from _bar(items, count, label)
    else:
        yield from _lines(items, count, label)


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``42 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _bar(items: Iterable[Item], total: Callable[[], int | None], label: str) -> Iterator[Item]:
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total())
        for item in items:
            yield item
            progress.update(task, advance=1, total=total())


def _lines(items: Iterable[Item], total: Callable[[], int | None], label: str) -> Iterator[Item]:
    start = last = time.monotonic()
    pace = Pace()
    for done, item in enumerate(items, start=1):
        yield item
        now, whole = time.monotonic(), total()
        left = pace.seconds_left(done, done if whole is None else whole, now)
        if done == whole or now - last >= LINE_EVERY_S:
            standing = _standing(done, whole, now - start, left)
            print(f"{label} {standing}", file=sys.stderr, flush=True)
            last = now


def _standing(done: int, total: int | None, passed_s: float, left_s: float | None) -> str:
    if total is None:
        return f"{done}, of how many is not known yet"
    if done == total:
        return f"{done}/{total}, in {duration(passed_s)}"
    return f"{done}/{total}" + ("" if left_s is None else f", {duration(left_s)} left")


class ProgressLine:
    """One line for work that tells its own progress; as often as a terminal or a file bears it."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._live = sys.stderr.isatty()
        self._pace = Pace()
        self._last = 0.0

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            print(file=sys.stderr)

    def show(self, done: int, total: int, words: str) -> None:
        """Tell that ``done`` of ``total`` is done; a resumed job may begin with any number."""
        now = time.monotonic()
        left = self._pace.seconds_left(done, total, now)
        if done < total and now - self._last < (0.2 if self._live else LINE_EVERY_S):
            return
        self._last = now
        ending = f", {duration(left)} left" if left else ""
        text = f"{self._label} {done}/{total}, {words}{ending}"
        print(
            f"\r\x1b[K{text}" if self._live else text,
            end="" if self._live else "\n",
            file=sys.stderr,
            flush=True,
        )
