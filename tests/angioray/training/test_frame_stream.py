"""Frames read while a run trains: the right ones, each kept one once, and never many at a time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from angioray.study.executor import Executor
from angioray.study.study import Study
from angioray.training import shared_memory
from angioray.training.frame_placement import Share
from angioray.training.frame_stream import FrameStream, Rows
from angioray.training.frames import StreamedFrames, load_frames
from angioray.training.sampler import batch_positions
from angioray.training.step import World
from preprocess.cohort import Cohort
from tests.angioray.frame_stores import CPU
from tests.angioray.settings import TOY
from tests.angioray.training.test_resume import EndedError, ending_at, outcome
from tests.angioray.training.toy_runs import RUNS

FRAMES, BATCH = 200, 8
NO_ROOM = Share(host=1e-8)


class Reader:
    """Frames that show their row, and how often each was read."""

    def __init__(self) -> None:
        self.read: Counter[int] = Counter()
        self._lock = threading.Lock()

    def __call__(self, row: int) -> torch.Tensor:
        with self._lock:
            self.read[row] += 1
        return torch.full((1, 2, 2), row, dtype=torch.uint8)


def held(stream: FrameStream) -> int:
    """Frames in memory or on their way, now."""
    coming = {row for rows, _ in stream._coming for row in rows.tolist()}
    return len(stream._kept.keys() | coming)


def rows_of(step: int, seed: int = 0) -> Rows:
    return batch_positions(population=FRAMES, batch_size=BATCH, seed=seed, step=step)


def shown(frames: torch.Tensor) -> list[int]:
    assert frames.shape[1:] == (1, 2, 2)
    return frames[:, 0, 1, 1].tolist()


@pytest.mark.parametrize("room", [0, 1, 20, 100, FRAMES])
def test_steps_get_their_frames_and_the_cache_stays_within_its_room(room: int) -> None:
    stream = FrameStream(Reader(), room=room, threads=2)
    for step in range(3, 80):
        stream.read_ahead(step, rows_of)
        assert shown(stream.take(rows_of(step))) == rows_of(step).tolist()
        assert held(stream) <= max(room, 2 * BATCH)


@pytest.mark.parametrize("room", [50, 100, 150, FRAMES + 2 * BATCH])
def test_an_epoch_reads_only_what_there_is_no_room_for(room: int) -> None:
    reader = Reader()
    stream = FrameStream(reader, room=room, threads=2)
    epoch, epochs = FRAMES // BATCH, 4
    for step in range(epochs * epoch):
        stream.read_ahead(step, rows_of)
        stream.take(rows_of(step))
    ahead = room // 2
    kept = min(FRAMES, room - ahead)
    # At the end the frames of the coming steps are being read as well.
    assert sum(reader.read.values()) <= kept + (FRAMES - kept) * epochs + ahead
    assert sum(count == 1 for count in reader.read.values()) >= kept


def test_frames_that_nobody_expected_disturb_no_plan() -> None:
    reader = Reader()
    stream = FrameStream(reader, room=60, threads=2)
    stream.read_ahead(0, rows_of)
    judged = np.arange(190, 120, -1)
    assert shown(stream.take(judged)) == judged.tolist()
    for step in range(30):
        stream.read_ahead(step, rows_of)
        assert shown(stream.take(rows_of(step))) == rows_of(step).tolist()
    for step in range(7, 20):  # another run, in another order
        stream.read_ahead(step, lambda later: rows_of(later, seed=1))
        assert shown(stream.take(rows_of(step, seed=1))) == rows_of(step, seed=1).tolist()
        assert held(stream) <= 60


def test_a_frame_that_cannot_be_read_stops_the_step_that_needs_it() -> None:
    def read(row: int) -> torch.Tensor:
        if row == rows_of(5)[0]:
            raise ValueError("damaged")
        return torch.zeros((1, 2, 2), dtype=torch.uint8)

    stream = FrameStream(read, room=100, threads=2)
    for step in range(5):
        stream.read_ahead(step, rows_of)
        stream.take(rows_of(step))
    stream.read_ahead(5, rows_of)
    with pytest.raises(ValueError, match="damaged"):
        stream.take(rows_of(5))


@pytest.mark.parametrize("size", [64, 48])
def test_streamed_frames_are_the_resident_ones(toy_cohort: Cohort, size: int) -> None:
    keys = [(sequence_id, t) for sequence_id in sorted(toy_cohort.sequences) for t in (5, 0, 2)]
    resident = load_frames(toy_cohort, keys, size=size, device=CPU)
    streamed = load_frames(toy_cohort, keys, size=size, device=CPU, share=NO_ROOM)
    assert isinstance(streamed, StreamedFrames) and len(streamed.pixels) == 0
    assert "read from the cohort while training" in streamed.residence.reason
    assert streamed.size == size and streamed.scales == resident.scales
    rows = resident.rows_of(keys[::-1])
    assert torch.equal(streamed.images(rows), resident.images(rows))
    assert torch.equal(streamed.means, resident.means)


def execute(cohort: Cohort, folder: Path, name: str, share: Share) -> Path:
    torch.set_num_threads(1)
    study = Study.plan(cohort, folder, TOY)
    study.freeze(cohort)
    world = World(torch.device("cpu"), share=share)
    Executor(study, cohort, world).execute(study.run(name), lambda *_: None)
    return folder / name


@pytest.mark.parametrize("name", RUNS)
def test_a_run_without_room_for_its_frames_ends_with_the_same_bits(
    toy_cohort: Cohort, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = execute(toy_cohort, tmp_path / "resident", name, Share())
    weights, predictions = outcome(resident)
    # Tests beside this one may hold the frames of the same cohort in memory.
    monkeypatch.setattr(shared_memory, "find", lambda *_: None)
    with monkeypatch.context() as ended:
        ending_at(ended, 6)
        with pytest.raises(EndedError):
            execute(toy_cohort, tmp_path / "streamed", name, NO_ROOM)
    run = execute(toy_cohort, tmp_path / "streamed", name, NO_ROOM)
    assert "read from the cohort while training" in (run / "environment.json").read_text()
    found, found_predictions = outcome(run)
    assert found_predictions == predictions
    assert all(torch.equal(weights[key], found[key]) for key in weights)
    results = [json.loads((each / "result.json").read_text()) for each in (resident, run)]
    known, known_too = (result["acquisitions"] for result in results)
    assert known == known_too and known["sides"] == [[64, 64]]


def digest_of(cohort: Cohort, size: int, share: Share | None) -> str:
    """SHA-256 of all frames of the toy cohort as batches of two."""
    keys = [(sequence_id, t) for sequence_id in cohort.sequences for t in range(8)]
    store = load_frames(cohort, keys, size=size, device=CPU, share=share)
    digest = hashlib.sha256()
    for step in range(len(keys) // 2):
        store.read_ahead(step, lambda step: np.arange(2 * step, 2 * step + 2) % len(keys))
        digest.update(store.images(np.arange(2 * step, 2 * step + 2)).numpy().reshape(-1))
    return digest.hexdigest()


LIMITED = """
import resource, sys
import torch
from preprocess.cohort import Cohort
from tests.angioray.training.test_frame_stream import NO_ROOM, digest_of

torch.set_num_threads(1)
cohort = Cohort.open(sys.argv[1])
digest_of(cohort, 64, NO_ROOM)  # all is imported, every thread runs
used = next(line for line in open("/proc/self/status") if line.startswith("VmData"))
limit = int(used.split()[1]) * 1024 + (128 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
print(digest_of(cohort, 1024, NO_ROOM))
try:
    digest_of(cohort, 1024, None)
except RuntimeError:
    print("no memory")
"""


def test_frames_are_read_within_a_limit_that_they_all_exceed(toy_cohort: Cohort) -> None:
    """192 frames of 1024 x 1024 are 192 MiB; 128 MiB are allowed."""
    command = [sys.executable, "-c", LIMITED, str(toy_cohort.folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split("\n")[:2] == [digest_of(toy_cohort, 1024, None), "no memory"]
