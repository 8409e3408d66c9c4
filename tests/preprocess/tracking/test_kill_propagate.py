"""``kill -9`` while boxes are tracked, then the same command: as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from preprocess.cohort import BoxSource, Cohort
from preprocess.ingest.command import IngestSettings, ingest
from tests.preprocess.tiny_archive import Archive, noise

SIZE, LENGTH, CINES = 128, 30, 3


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
def test_killed_while_tracking_the_same_command_gives_the_same_bytes(archive: Archive) -> None:
    for number in range(CINES):
        row = f"RCA,15,0,0,{LENGTH},0.8,,"
        boxes = {15: [(40.0, 40.0, 80.0, 80.0)]}
        frames = noise(LENGTH, SIZE, seed=number)
        archive.add(f"{number}.dcm", row, boxes=boxes, frames=frames)
    out, undisturbed = archive.folder / "cohort", archive.folder / "undisturbed"
    settings = IngestSettings(size=SIZE, processes=1)
    ingest(archive.src, labels=archive.labels, rois=archive.rois, out=out, settings=settings)
    shutil.copytree(out, undisturbed)
    before = (out / "annotations.json").read_bytes()
    command = [sys.executable, "-m", "preprocess", "propagate", "--processes", "2"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([*command, str(out)], stdout=quiet, stderr=quiet)
    deadline = time.monotonic() + 60
    while not (workers := children(process.pid)):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    time.sleep(0.5)
    assert process.poll() is None, "ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (out / "annotations.json").read_bytes() == before
    while any(Path(f"/proc/{worker}").is_dir() for worker in workers):
        assert time.monotonic() < deadline, "its workers stay"
        time.sleep(0.05)
    for folder in (out, undisturbed):
        subprocess.run([*command, str(folder)], check=True, capture_output=True)
    tracked = [box for box in Cohort.open(out).boxes if box.source is BoxSource.TRACKED]
    assert len(tracked) == CINES * (LENGTH - 1)
    for path in undisturbed.rglob("*"):
        if path.is_file():
            assert (out / path.relative_to(undisturbed)).read_bytes() == path.read_bytes(), path
    assert not list(out.rglob("*.partial"))
