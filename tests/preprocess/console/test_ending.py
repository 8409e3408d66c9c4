"""How a command ends that cannot go on: stopped, refused by the system, or read by nobody."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from angioray.__main__ import COMMANDS
from preprocess.console.command_line import run, run_one_of, usage
from preprocess.exporters.command import export

LISTING = "from angioray.__main__ import main; main()"
"""A list of commands: short, so that it is sent when the command ends."""
PRINTING = """
from preprocess.console.command_line import run
def talk() -> None:
    for number in range(100_000):
        print(number)
run(talk, prog="talk")
"""
OTHER_PIPE = """
import os
from preprocess.console.command_line import run
def write() -> None:
    read, write = os.pipe()
    os.close(read)
    os.write(write, b"x")
run(write, prog="talk")
"""


@pytest.mark.parametrize("code", [LISTING, PRINTING])
def test_a_command_that_nobody_reads_ends_quietly(code: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    said = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (said.returncode, said.stderr) == (141, b"")


def test_another_pipe_that_breaks_is_told() -> None:
    said = subprocess.run([sys.executable, "-c", OTHER_PIPE], capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (2, "talk: Broken pipe\n")


def test_ctrl_c_before_the_work_begins_ends_in_a_word(tmp_path: Path) -> None:
    (tmp_path / "slow_to_import.py").write_text("raise KeyboardInterrupt")
    code = (
        "from preprocess.console.command_line import run_one_of\n"
        "run_one_of({'go': 'slow_to_import:go'}, prog='it', argv=['go'])"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (said.returncode, said.stderr) == (130, "stopped by you.\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("phantom file/x", "file/x/dicom cannot be there: a part of this path is a file"),
        ("demo --out file", "file is a file; expected a folder, or nothing there. Name another"),
        ("demo --out /proc/x", "No such file or directory: /proc/x"),
    ],
)
def test_places_that_cannot_be_written_to(
    words: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    with pytest.raises(SystemExit, match="2"):
        run_one_of(COMMANDS, prog="angioray", argv=words.split())
    assert capsys.readouterr().err.startswith(f"angioray {words.split()[0]}: {expected}")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EACCES, "cohort may not be read or written by you. Name another place"),
        (errno.EROFS, "cohort is on a disk that cannot be written to. Name another place."),
        (errno.EISDIR, "cohort is a folder, expected a file."),
        (errno.ENOSPC, "the disk is full (cohort). Make room"),
    ],
)
def test_what_the_system_refuses_is_a_sentence(
    number: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> None:
        raise OSError(number, os.strerror(number), "cohort")

    with pytest.raises(SystemExit, match="2"):
        run(refused, prog="it", argv=[])
    assert capsys.readouterr().err.startswith(f"it: {expected}")


@pytest.mark.parametrize(
    ("stopped", "expected"),
    [
        (KeyboardInterrupt(), "it: stopped by you. The same command"),
        (OSError(errno.ENOSPC, "", "x"), "it: the disk is full (x). Make room and give the same"),
    ],
)
def test_what_the_same_command_does_once_more_is_said(
    stopped: BaseException, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def go_on() -> None:
        raise stopped

    @usage(again="starts anew")
    def begin() -> None:
        raise stopped

    for command, how in ((go_on, "continues where it stopped."), (begin, "starts anew.")):
        with pytest.raises(SystemExit):
            run(command, prog="it", argv=[])
        said = capsys.readouterr().err
        assert said.startswith(expected) and said.endswith(f" {how}\n")
    assert export.usage.again == "starts anew"


def test_a_sentence_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise ValueError("no run of the name a\x1b[2Jb\x9b2J.")

    with pytest.raises(SystemExit):
        run(refuse, prog="it", argv=[])
    mark = "\N{REPLACEMENT CHARACTER}"
    assert capsys.readouterr().err == f"it: no run of the name a{mark}[2Jb{mark}2J.\n"
