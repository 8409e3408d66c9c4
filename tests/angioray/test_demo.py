"""The demo's stages: its line of progress, its ends, and what it says came out."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from angioray.demo import __main__ as demo
from angioray.demo import progress as demo_progress
from angioray.demo.__main__ import carry_out, outcome
from angioray.demo.progress import Command, Stage
from angioray.report.writing import write_report
from tests.angioray.synthetic_study import write_cohort, write_study

PATIENCE_S = 120.0
SCRIPT = """\
import sys
from pathlib import Path
from angioray.demo.__main__ import carry_out
from angioray.demo.progress import Command, Stage
from preprocess.console.command_line import run

def stages() -> None:
    child = Command(5, ("-c", sys.argv[1]))
    carry_out([Stage("first", (child,)), Stage("second", (child,))], Path("demo.log"))

run(stages, prog="python -m angioray.demo", argv=[])
"""
SLEEPER = """\
import os, time
print("pid", os.getpid())
print("files 3/4, 20 s left")
try:
    time.sleep(600)
except KeyboardInterrupt:
    print("ended cleanly")
"""


def printing(*lines: str, seconds: float = 10, code: int = 0) -> Command:
    """A command that says something, waits a moment and ends."""
    script = f"import sys, time; print({chr(10).join(lines)!r}); time.sleep(0.3); sys.exit({code})"
    return Command(seconds, ("-c", script))


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for every look, without a terminal."""
    monkeypatch.setattr(demo_progress, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr(demo, "LOOK_EVERY_S", 0.05)


def test_one_line_tells_stage_progress_and_time_left(
    tmp_path: Path, eager: None, capsys: pytest.CaptureFixture[str]
) -> None:
    study = printing("2 done, 2 running, 11 waiting, 0 failed, about 3 min 05 s left", "  run 7/9")
    stages = [
        Stage("archive", (printing("phantom sequences 12/140, 30 s left", seconds=1000),)),
        Stage("training", (study,)),
    ]
    carry_out(stages, tmp_path / "demo.log")
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("demo 1/2 archive, about 17 min left")
    # The archive's own 30 s, and what the training should take.
    assert "demo 1/2 archive: phantom sequences 12/140, about 40 s left" in said
    assert "demo 2/2 training: runs 2/15, about 3 min left" in said
    log = (tmp_path / "demo.log").read_text()
    assert log.count("$ python -c ") == 2 and "phantom sequences 12/140" in log


def test_a_slow_machine_is_told_more_time(
    tmp_path: Path,
    eager: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo_progress, "TELLING_S", 0.01)
    too_short = printing(seconds=0.001)
    first = printing(seconds=0.01)  # it takes at least thirty times as long as expected
    done_before = printing(seconds=10_000)  # and this says nothing of the machine
    last = printing(seconds=10)
    carry_out(
        [Stage("a", (too_short, first, done_before)), Stage("b", (last,))], tmp_path / "demo.log"
    )
    said = [line for line in capsys.readouterr().err.splitlines() if "demo 2/2 b" in line]
    minutes = int(said[0].partition("about ")[2].split()[0])
    assert said[0].endswith("min left") and minutes >= 5


def test_a_failure_names_the_command_its_last_words_and_the_log(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    bad = printing("first", "the disk is gone", code=3)
    with pytest.raises(ValueError, match="failed with exit code 3") as failure:
        carry_out([Stage("a", (printing("well"), bad)), Stage("b", (printing("never"),))], log)
    said = str(failure.value)
    assert said.startswith("`python -c ") and "\n  the disk is gone\n" in said
    assert "well" not in said and "never" not in log.read_text()
    assert f"All of its output is in {log}. The same command continues" in said


@pytest.fixture
def on_a_terminal(tmp_path: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Stages that would take ten minutes each, whose standard error is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, SLEEPER],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(demo.__file__).parents[2])},
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    return process, ours


def test_ctrl_c_ends_the_command_under_way(
    tmp_path: Path, on_a_terminal: tuple[subprocess.Popen[bytes], int]
) -> None:
    process, terminal = on_a_terminal
    said = ""
    deadline = time.monotonic() + PATIENCE_S
    while "files 3/4" not in said:
        said += os.read(terminal, 4096).decode()
        assert time.monotonic() < deadline
    # One line, written anew each time.
    assert "\r\x1b[Kdemo 1/2 first: files 3/4, about " in said and "\n" not in said
    log = (tmp_path / "demo.log").read_text()
    child = int(log.partition("\npid ")[2].split()[0])
    os.kill(child, 0)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130
    said = os.read(terminal, 4096).decode()
    os.close(terminal)
    assert "stopped by you. The same command continues where it stopped." in said
    assert (tmp_path / "demo.log").read_text().endswith("ended cleanly\n")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_what_came_out_is_said_in_three_sentences(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", patients=6, phantoms=12)
    runs = write_study(tmp_path / "runs", cohort, variants=("B",), sizes=(64,))
    shutil.rmtree(cohort.folder)  # without it there is less to draw
    write_report(runs)
    report = json.loads((runs / "report" / "report.json").read_text())
    half, five = "recall@IoU0.20/score0.50/max5", "recall@IoU0.20/score0.00/max5"
    means = {
        ("", "accuracy"): 0.966,
        **{("LCA", five): 0.62, ("LCA", f"baseline/{five}"): 0.35, ("LCA", half): 0.4},
        **{("RCA", five): 0.83, ("RCA", f"baseline/{five}"): 0.5, ("RCA", half): 0.56},
    }
    for metric in report["metrics"]:
        metric["mean"] = means.pop((metric["view"], metric["metric"]), 0.01)
    assert not means, "the report has all of them"
    assert outcome(report) == [
        "The view classifier names 97 % of the phantom's cines right.",
        "Of the lesions the detectors find, with five boxes a frame, 62 % of the LCA's (five fixed "
        "boxes: 35 %) and 83 % of the RCA's (five fixed boxes: 50 %).",
        "With scores above 0.5, the paper's threshold, they find 40 % of the LCA's and 56 % of the "
        "RCA's.",
    ]
    for metric in report["metrics"]:
        metric["mean"] = None
    assert "an unknown share" in outcome(report)[0]
