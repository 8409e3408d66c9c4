"""Bytes held once on a machine: others find them whole or not at all; the last takes them along."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import numpy as np
import pytest
from numpy.typing import NDArray

from angioray.training import shared_memory
from angioray.training.shared_memory import NoRoomError, find, make, turn

LENGTH = 5000
HOLDER = """
import sys
from angioray.training.shared_memory import make, turn

def fill(content):
    content[:2500] = 7
    if sys.argv[2] == "half":
        print("half", flush=True)
        sys.stdin.read()
    content[2500:] = 7

with turn(sys.argv[1], lambda: None):
    held = make(sys.argv[1], 5000, fill, on_disk=sys.argv[2] == "disk")
print("whole", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@contextmanager
def another_process(name: str, how: str) -> Iterator[subprocess.Popen[str]]:
    """Makes 5000 bytes of 7 and holds them; or holds half of them; until it is killed."""
    command = [sys.executable, "-c", HOLDER, name, how]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == ("half" if how == "half" else "whole")
        try:
            yield process
        finally:
            process.kill()


def descriptors_of(name: str) -> list[os.stat_result]:
    """What this process has open of that name."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [link.stat() for link in links if name in str(link.readlink())]


@pytest.mark.parametrize("how", ["memory", "disk"])
def test_processes_share_what_one_has_made_until_the_last_ends(how: str, tmp_path: Path) -> None:
    name = token_hex(16)
    assert find(name, LENGTH) is None
    with another_process(name, how) as holder:
        here = find(name, LENGTH)
        assert here is not None and (here == 7).all() and len(here) == LENGTH
        assert find(name, LENGTH + 1) is None, "others of another length"
        with pytest.raises(ValueError, match="read-only"):
            here[0] = 1  # nobody can spoil it for others
        opened = descriptors_of(name)
        assert opened and all(s.st_mode & 0o777 == 0o600 and s.st_nlink == 0 for s in opened)
        assert [path.name for path in tmp_path.iterdir()] == [f"angioray-{os.geteuid()}.lock"]
        holder.kill()
        holder.wait()
    assert here[0] == 7 and find(name, LENGTH) is not None, "this process holds it still"
    del here
    assert find(name, LENGTH) is None


def test_half_of_it_is_never_found_and_a_killed_maker_leaves_its_turn() -> None:
    name = token_hex(16)
    waited = threading.Event()
    made: list[NDArray[np.uint8]] = []

    def make_again() -> None:
        with turn(name, waited.set):
            assert find(name, LENGTH) is None
            made.append(make(name, LENGTH, lambda content: content.fill(9)))

    with another_process(name, "half") as maker:
        assert find(name, LENGTH) is None
        second = threading.Thread(target=make_again)
        second.start()
        assert waited.wait(10) and not made
        with turn(token_hex(16), pytest.fail):
            pass  # another name waits for nobody
        maker.kill()
        second.join(10)
    assert (made[0] == 9).all()
    found = find(name, LENGTH)
    assert found is not None and (found == 9).all()


def test_something_else_in_place_of_the_lock_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / f"angioray-{os.geteuid()}.lock").symlink_to(tmp_path / "elsewhere")
    began = time.monotonic()
    with turn(token_hex(16), pytest.fail):
        assert time.monotonic() - began < 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_view_costs_no_memory_of_its_own(tmp_path: Path) -> None:
    length = 1 << 42  # far more than this machine has; nothing of it is written
    with (tmp_path / "sparse").open("w+b") as file:
        file.truncate(length)
        assert shared_memory._view(file, length)[length - 1] == 0


def test_where_nothing_can_be_shared_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(NoRoomError, match="gone"):
        make(token_hex(16), LENGTH, lambda empty: None, on_disk=True)


def test_a_lock_file_of_somebody_else_keeps_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    name = token_hex(16)
    with turn(name, lambda: None):  # as if this one were another user's, who never lets go
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        (tmp_path / "angioray-12345.lock").hardlink_to(next(tmp_path.iterdir()))
        asked = []
        with turn(name, lambda: asked.append(1)):
            assert not asked
