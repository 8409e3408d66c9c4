"""``python -m angioray.demo``: from nothing to a report, under one line of progress."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from angioray.demo.progress import Command, DemoLine, Stage
from preprocess.console.command_line import run

LOOK_EVERY_S = 0.5
LEAVING_S = 120.0
"""A cluster needs some seconds to go; what ignores Ctrl-C is not waited for longer."""
TAIL_BYTES = 8192
LAST_LINES = 12


def stages(out: Path) -> tuple[Stage, ...]:
    """The demo: the public commands in the order in which a user would give them."""
    archive, cohort, runs = (str(out / name) for name in ("archive", "cohort", "runs"))
    labels = ("--labels", f"{archive}/labels/sequences.csv", "--rois", f"{archive}/labels/rois")
    key = ("--key", f"{archive}/phantom.key")
    study = ("--config", "demo", "--runs", runs)
    return (
        Stage("archive", (_module(45, "preprocess", "phantom", archive, "--config", "demo"),)),
        Stage(
            "cohort",
            (
                _module(
                    *(6, "preprocess", "ingest", f"{archive}/dicom"),
                    *(*labels, *key, "--out", cohort),
                ),
                _module(15, "preprocess", "propagate", cohort),
                _module(6, "preprocess", "summary", cohort),
            ),
        ),
        Stage("training", (_module(75, "angioray.cv", cohort, "--all-folds", *study),)),
        Stage("report", (_module(40, "angioray.report", runs),)),
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
    with log.open("ab") as written, DemoLine(stages) as line:
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


def _module(seconds: float, *words: str) -> Command:
    return Command(seconds, ("-m", *words))


def _run(command: Command, log: BinaryIO, line: DemoLine) -> None:
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


def _percent(share: float | None) -> str:
    return "an unknown share" if share is None else f"{100 * share:.0f} %"


if __name__ == "__main__":
    run(demo, prog="python -m angioray.demo")
