"""A command that is killed in the middle of its work, as by a loss of power."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence

PATIENCE_S = 60.0


def kill_when(command: Sequence[str], reached: Callable[[], bool]) -> None:
    """Start a command, and kill its process as soon as it has got that far."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not reached():
            assert time.monotonic() < deadline, "it did not get so far"
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
