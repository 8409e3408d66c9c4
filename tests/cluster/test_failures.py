"""What may happen on one machine: a full disk, a run that stands still."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster_study import RUNS, ToyStudy, fill, training_workers
from tests.end_to_end.command_processes import Watch
from tests.end_to_end.run_folders import half_done, predictions, results

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, large enough for the study."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400m", "none", str(disk)]
    try:
        said = subprocess.run(mount, capture_output=True, text=True)
    except OSError as problem:
        pytest.skip(f"there is no mount command here: {problem}")
    if said.returncode:
        pytest.skip(f"this machine lets nobody mount a disk here: {said.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_stops_the_study_and_costs_nothing(
    toy_study: ToyStudy, watch: Watch, small_disk: Path, tmp_path: Path
) -> None:
    runs = small_disk / "runs"
    study = toy_study.command(runs, "--lanes.lanes", 1)
    with watch.running(tmp_path, *study) as command:
        command.wait_until(lambda: bool(half_done(runs, least_steps=10)))
        filler = fill(small_disk)
        ended = command.finish()
    assert ended.code == 2
    assert "the disk is full" in ended.err and "Still to do: " in ended.err
    assert "Traceback" not in ended.err

    filler.unlink()
    with watch.running(tmp_path, *study) as command:
        ended = command.finish()
    assert ended.code == 0, ended.err
    assert predictions(runs, RUNS) == toy_study.predictions
    assert not list(runs.rglob("*.partial"))


def test_a_run_that_stands_still_is_named_and_tried_again(
    toy_study: ToyStudy, watch: Watch, runs: Path, tmp_path: Path
) -> None:
    study = toy_study.command(runs, "--lanes.lanes", 1, "--lanes.stuck_after_s", 20)
    with watch.running(tmp_path, *study) as command:
        command.wait_until(lambda: bool(half_done(runs, least_steps=10)))
        (worker,) = training_workers(command)
        worker.suspend()
        ended = command.finish()
    assert ended.code == 0, ended.err
    assert "was stuck at step" in ended.err and "without progress for" in ended.err
    assert sorted(results(runs)) == sorted(RUNS)
    assert predictions(runs, RUNS) == toy_study.predictions
