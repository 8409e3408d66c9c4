"""The progress of the demo in one line: its stage, how far it is, and the time left."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from preprocess.console.progress import LINE_EVERY_S, duration

FINISHED_BEFORE = 0.1
"""A command that takes less than this share of its expected time found its work done."""
TELLING_S = 20.0
"""A command that is expected to take less says more of Python's start than of the machine."""

_COUNTED = re.compile(r"[A-Za-z][\w ]* \d+/\d+")
_RUNS = re.compile(r"(\d+) done, (\d+) running, (\d+) waiting, (\d+) failed")
_LEFT = re.compile(r", (?:about )?(?:(\d+) h )?(?:(\d+) min )?(?:(\d+) s )?left$")


@dataclass(frozen=True)
class Command:
    """One command of the demo."""

    seconds: float
    """About how long it takes on two cores that do nothing else: its share of the time left."""
    words: tuple[str, ...]
    """What follows ``python``."""


@dataclass(frozen=True)
class Stage:
    """A part of the demo, as the line of progress names it."""

    name: str
    commands: tuple[Command, ...]


class DemoLine:
    """Which stage runs, how far it is, and how long all that is left takes."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = stages
        self._to_come = [command for stage in stages for command in stage.commands]
        self._took = self._expected = 0.0
        self._live = sys.stderr.isatty()
        self._number, self._shown = -1, -LINE_EVERY_S

    def __enter__(self) -> DemoLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def begin(self, number: int, command: Command) -> None:
        """The next command begins, of the stage of that number."""
        self._command, self._start = command, time.monotonic()
        self._to_come.remove(command)
        self._said, self._said_at = "", self._start
        if number != self._number:
            self._number, self._shown = number, -LINE_EVERY_S

    def end(self) -> None:
        """The command has ended; how long it took says how fast this machine is."""
        took, expected = time.monotonic() - self._start, self._command.seconds
        if expected >= TELLING_S and took >= FINISHED_BEFORE * expected:
            self._took += took
            self._expected += expected

    def show(self, output: list[str]) -> None:
        """Bring the line up to date with the last lines that the command has written."""
        now = time.monotonic()
        told = next((text for text in reversed(output) if _progress(text)), self._said)
        if told != self._said:
            self._said, self._said_at = told, now
        if now - self._shown < (0 if self._live else LINE_EVERY_S):
            return
        self._shown = now
        stage = self._stages[self._number]
        progress = f": {_progress(self._said)}" if self._said else ""
        text = f"demo {self._number + 1}/{len(self._stages)} {stage.name}{progress}"
        text += f", about {_rounded(self._seconds_left(now))} left"
        if self._live:
            text = f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}"
        print(text, end="" if self._live else "\n", file=sys.stderr, flush=True)

    def _seconds_left(self, now: float) -> float:
        """What the command says of itself, or else what it should take; and all that follow."""
        pace = self._took / self._expected if self._expected else 1.0
        if (left := _seconds_said(self._said)) is not None:
            current = left - (now - self._said_at)
        else:
            current = pace * self._command.seconds - (now - self._start)
        return max(current, 0) + pace * sum(command.seconds for command in self._to_come)


def _progress(text: str) -> str:
    """How far a command says that it is: ``files 12/140``, ``runs 3/15``; empty if it does not."""
    if runs := _RUNS.match(text):
        counts = [int(count) for count in runs.groups()]
        return f"runs {counts[0]}/{sum(counts)}"
    counted = _COUNTED.match(text)
    return counted[0] if counted else ""


def _seconds_said(text: str) -> float | None:
    """The time left that a line of progress ends with, as :func:`duration` writes it."""
    found = _LEFT.search(text)
    if found is None:
        return None
    hours, minutes, seconds = (int(number or 0) for number in found.groups())
    return 3600.0 * hours + 60 * minutes + seconds


def _rounded(seconds: float) -> str:
    """No more digits than an estimate deserves."""
    if seconds < 55:
        return f"{10 * max(1, round(seconds / 10))} s"
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    return duration(60 * round(seconds / 60))
