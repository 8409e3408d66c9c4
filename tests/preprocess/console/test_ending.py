"""How a command ends whose reader has gone, as behind ``| head``."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
