"""``python -m angioray.demo``: from nothing to a report, under one line of progress."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from preprocess.command_line import run
from preprocess.progress import LINE_EVERY_S, duration

PHANTOM, STUDY = "configs/demo-phantom.yaml", "configs/demo.yaml"
LOOK_EVERY_S = 0.5
LEAVING_S = 120.0
"""A cluster needs some seconds to go; what ignores Ctrl-C is not waited for longer."""
TAIL_BYTES = 8192
LAST_LINES = 12
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


def stages(out: Path) -> tuple[Stage, ...]:
    """The demo: the public commands in the order in which a user would give them."""
    archive, cohort, runs = (str(out / name) for name in ("archive", "cohort", "runs"))
    labels = ("--labels", f"{archive}/labels/sequences.csv", "--rois", f"{archive}/labels/rois")
    key = ("--key", f"{archive}/phantom.key")
    study = ("--config", STUDY, "--runs", runs)
    return (
        Stage("archive", (_module(75, "preprocess", "phantom", archive, "--config", PHANTOM),)),
        Stage(
            "cohort",
            (
                _module(
                    *(5, "preprocess", "ingest", f"{archive}/dicom"),
                    *(*labels, *key, "--out", cohort),
                ),
                _module(30, "preprocess", "propagate", cohort),
                _module(5, "preprocess", "summary", cohort),
            ),
        ),
        # Pretraining comes here: Stage("pretraining", (_module(..., "angioray.pretrain", ...),)),
        Stage("training", (_module(1200, "angioray.cv", cohort, "--all-folds", *study),)),
        Stage("report", (_module(60, "angioray.report", runs),)),
    )


def demo(out: Path = Path("demo")) -> None:
    """Make a phantom archive, preprocess it, train all folds on it and report what came out.

    The same command again continues: what is finished is kept. The log in the folder shows every
    command, to be repeated by hand, and its output.

    Args:
        out: the folder to write: archive, cohort, runs, and demo.log.

    Examples:
      python -m angioray.demo
      python -m angioray.demo --out demo
    """
    if missing := [name for name in (PHANTOM, STUDY) if not Path(name).is_file()]:
        raise ValueError(
            f"{missing[0]} is not here. Give the command in the folder that holds angioray's "
            "Makefile and configs."
        )
    # `kill` or a closed window must not leave the running command behind. nohup ignores the window.
    for stop in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(stop) is not signal.SIG_IGN:
            signal.signal(stop, signal.default_int_handler)
    out.mkdir(parents=True, exist_ok=True)
    carry_out(stages(out), out / "demo.log")
    report = out / "runs" / "report"
    print(*outcome(json.loads((report / "report.json").read_text("utf-8"))), sep="\n")
    print(f"Open {report / 'report.html'}.")


def carry_out(stages: Sequence[Stage], log: Path) -> None:
    """Run every command, one after the other, with its output added to ``log``.

    Raises:
        ValueError: a command failed; its last lines are told.
        KeyboardInterrupt: by Ctrl-C, once the command under way has ended.
    """
    with log.open("ab") as written, _Line(stages) as line:
        for number, stage in enumerate(stages):
            for command in stage.commands:
                line.begin(number, command)
                _run(command, written, line)
                line.end()


def outcome(report: dict[str, Any]) -> list[str]:
    """Three sentences on what ``report.json`` holds."""
    from angioray.report.results import ALL_BOXES, BASELINE

    shares = {(m["task"], m["view"], m["metric"]): m["mean"] for m in report["metrics"]}
    views = list(dict.fromkeys(m["view"] for m in report["metrics"] if m["task"] == "detector"))

    def found(view: str, metric: str) -> str:
        return _percent(shares.get(("detector", view, metric)))

    accuracy = _percent(shares.get(("view", "", "accuracy")))
    five = [
        f"{found(view, ALL_BOXES)} of the {view}'s (five fixed boxes: {found(view, BASELINE)})"
        for view in views
    ]
    at_half = [f"{found(view, 'recall@IoU0.20/score0.50/max5')} of the {view}'s" for view in views]
    return [
        f"The view classifier names {accuracy} of the phantom's cines right.",
        f"Of the lesions the detectors find, with five boxes a frame, {' and '.join(five)}.",
        f"With scores above 0.5, the paper's threshold, they find {' and '.join(at_half)}.",
    ]


class _Line:
    """Which stage runs, how far it is, and how long all that is left takes."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = stages
        self._to_come = [command for stage in stages for command in stage.commands]
        self._took = self._expected = 0.0
        self._live = sys.stderr.isatty()
        self._number, self._shown = -1, -LINE_EVERY_S

    def __enter__(self) -> _Line:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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


def _module(seconds: float, *words: str) -> Command:
    return Command(seconds, ("-m", *words))


def _run(command: Command, log: BinaryIO, line: _Line) -> None:
    shown = f"python {shlex.join(command.words)}"
    log.write(f"\n$ {shown}\n".encode())
    log.flush()
    begin = log.tell()
    child = subprocess.Popen(
        [sys.executable, *command.words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},  # its two streams in the order of time
        start_new_session=True,  # Ctrl-C reaches it once, from here
    )
    try:
        while child.poll() is None:
            line.show(_last_lines(Path(log.name), begin))
            try:
                child.wait(LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
    finally:
        if child.poll() is None:
            _interrupt(child)
    if child.returncode:
        last = "\n".join(f"  {text}" for text in _last_lines(Path(log.name), begin)[-LAST_LINES:])
        raise ValueError(
            f"`{shown}` failed with exit code {child.returncode}. Its last lines:\n{last}\n"
            f"All of its output is in {log.name}. The same command continues where it stopped."
        )


def _interrupt(child: subprocess.Popen[bytes]) -> None:
    """End a command as Ctrl-C on its own terminal would; by force if it or the user cannot wait."""
    try:
        os.killpg(child.pid, signal.SIGINT)
        child.wait(LEAVING_S)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _last_lines(log: Path, begin: int) -> list[str]:
    """The end of what a command has written; the last line may still be being written."""
    with log.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(begin, size - TAIL_BYTES))
        return stream.read().decode(errors="replace").splitlines()


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


def _percent(share: float | None) -> str:
    return "an unknown share" if share is None else f"{100 * share:.0f} %"


if __name__ == "__main__":
    run(demo, prog="python -m angioray.demo")
