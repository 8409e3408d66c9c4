"""Frames: as the cohort holds them, wherever they are kept, and normalised by definition."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from angioray.models.backbone import GREY_MEAN, GREY_STD
from angioray.training.augmentation import Tone
from angioray.training.frame_placement import (
    GIB,
    Residence,
    Room,
    Share,
    allocate,
    decide,
)
from angioray.training.frames import load_frames, normalise
from preprocess.cohort import Cohort
from tests.angioray.frame_stores import CPU, store_of
from tests.toy_cohort import write_toy_cohort

FRAMES = (20_000, 1, 512, 512)  # 4.88 GiB


def room(device: float | None, host: float, disk: float) -> Room:
    """Free space in GiB."""
    return Room(None if device is None else int(device * GIB), int(host * GIB), int(disk * GIB))


@pytest.mark.parametrize(
    ("free", "place"),
    [
        (room(80, 100, 100), "device"),
        (room(9.7, 100, 100), "host"),  # half of it is less than the frames take
        (room(9.8, 100, 100), "device"),
        (room(None, 100, 100), "host"),
        (room(1, 1, 100), "disk"),
        (room(None, 1, 6.2), "disk"),
    ],
)
def test_frames_are_kept_in_the_fastest_place_with_room(free: Room, place: str) -> None:
    chosen = decide(FRAMES, free, Share())
    assert chosen.place == place
    assert "20000 frames of 512 x 512 take 4.88 GiB: kept" in chosen.reason


def test_processes_that_share_a_machine_share_its_memory() -> None:
    free = room(80, 100, 1000)
    assert decide(FRAMES, free, Share(device=0.13)).place == "device"
    assert decide(FRAMES, free, Share(device=0.12)).place == "host"
    chosen = decide(FRAMES, free, Share(device=0.12, host=0.09))
    assert chosen.place == "disk"
    assert "the GPU has 4.8 GiB for them; host memory has 4.5 GiB for them" in chosen.reason


def test_a_copy_for_several_processes_is_counted_once() -> None:
    free = room(None, 20, 1000)
    assert decide(FRAMES, free, Share(host=1 / 8)).place == "disk"
    assert decide(FRAMES, free, Share(host=1 / 8, frames=1 / 2)).place == "host"
    assert decide(FRAMES, free, Share(host=1 / 8, frames=1 / 3)).place == "disk"
    alone = decide(FRAMES, room(None, 8, 6), Share(host=1 / 8, frames=1))
    assert alone.place == "cohort" and alone.cache == GIB / 2, "what it reads is its own"


def test_frames_that_fit_nowhere_stay_in_the_cohort_with_numbers() -> None:
    chosen = decide(FRAMES, room(8, 8, 6), Share(host=0.5))
    assert chosen.place == "cohort" and chosen.cache == 2 * GIB
    assert "take 4.88 GiB, and there is no place for all of them: the GPU has 4.0" in chosen.reason
    assert "2.0 GiB of them kept at a time" in chosen.reason and "set TMPDIR" in chosen.reason
    with pytest.raises(ValueError, match="no place for all of them"):
        allocate(FRAMES, CPU, chosen)


def test_frames_on_disk_are_the_same_frames_and_leave_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pixels = torch.randint(0, 256, (6, 1, 16, 16), dtype=torch.uint8)
    kept = allocate((6, 1, 16, 16), CPU, Residence("disk", ""))
    assert not list(tmp_path.iterdir())
    kept[:] = pixels
    rows = np.array([4, 0, 4])
    assert torch.equal(store_of(kept, "disk").images(rows), store_of(pixels).images(rows))


def test_loaded_frames_are_those_of_the_cohort(toy_cohort: Cohort) -> None:
    sequences = sorted(toy_cohort.sequences)[:3]
    keys = [(sequence_id, t) for t in (2, 0) for sequence_id in sequences]
    store = load_frames(toy_cohort, [*keys, keys[0]], size=64, device=CPU)
    assert len(store.pixels) == 6
    images = store.images(store.rows_of(keys))
    for (sequence_id, t), image in zip(keys, images, strict=True):
        frame = torch.from_numpy(toy_cohort.cine_8bit(sequence_id)[t])[None, None]
        row = store.rows[sequence_id, t]
        assert frame.shape[-1] == 64 and torch.equal(store.pixels[row], frame[0])
        assert store.means[row] == pytest.approx(frame.double().mean().item())
        expected = (frame.double() / 255 - GREY_MEAN) / GREY_STD
        torch.testing.assert_close(image[None].double(), expected, rtol=0, atol=1e-5)


def test_a_tone_by_hand() -> None:
    pixels = torch.tensor([[0, 100], [100, 200]], dtype=torch.uint8)[None, None]
    tone = Tone(torch.tensor([1.5]), torch.tensor([0.25]))
    found = store_of(pixels).images(np.array([0]), tone)
    # Around the mean of 100: 100 +- 150, then a shift in normalised levels.
    grey = torch.tensor([[[[-50.0, 100], [100, 250]]]])
    torch.testing.assert_close(found, (grey / 255 - GREY_MEAN) / GREY_STD + 0.25)


def test_half_precision_is_float32_rounded_once() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(9, 1, 1, 1)
    rounded = normalise(pixels, torch.bfloat16)
    assert torch.equal(rounded, normalise(pixels).to(torch.bfloat16))
    assert rounded.is_contiguous(memory_format=torch.channels_last)


def test_a_device_named_without_its_number_is_the_same_device() -> None:
    """PyTorch keeps tensors on ``cuda:0`` where a run was sent to ``cuda``."""
    pixels = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8)
    store = replace(store_of(pixels), device=torch.device("cpu", 0))
    assert torch.equal(store.images(np.array([2, 0])), normalise(pixels[[2, 0]]))


HOLDER = """
import sys
import torch
from angioray.training.frame_placement import Share
from angioray.training.frames import load_frames
from preprocess.cohort import Cohort

cohort = Cohort.open(sys.argv[1])
keys = [(sequence_id, t) for sequence_id in cohort.sequences for t in (1, 3)]
store = load_frames(cohort, keys, size=48, device=torch.device("cpu"), share=Share())
print("loaded", flush=True)
sys.stdin.read()
"""


def test_processes_of_a_machine_have_one_copy_of_the_frames(tmp_path: Path) -> None:
    cohort = write_toy_cohort(tmp_path, patients=2, seed=os.getpid())
    keys = [(sequence_id, t) for sequence_id in cohort.sequences for t in (1, 3)]
    alone = load_frames(cohort, keys, size=48, device=CPU)
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"loaded\n"
        for shard in (tmp_path / "frames.zarr").glob("*/c/0/0/0"):
            shard.unlink()  # from now on only the other process has them
        shared = load_frames(cohort, keys, size=48, device=CPU, share=Share())
        crowded = load_frames(cohort, keys, size=48, device=CPU, share=Share(host=1e-9))
        holder.kill()
    for store in (shared, crowded):
        assert torch.equal(store.pixels, alone.pixels) and torch.equal(store.means, alone.means)
        assert store.rows == alone.rows and store.scales == alone.scales
    assert crowded.residence.place == "host", "a copy that is there takes no more room"
    for other in ({"keys": keys[1:], "size": 48}, {"keys": keys, "size": 64}):
        with pytest.raises(ValueError, match="is not there"):
            load_frames(cohort, **other, device=CPU, share=Share())  # type: ignore[arg-type]
    again = load_frames(Cohort.open(tmp_path), keys, size=48, device=CPU, share=Share())
    assert torch.equal(again.pixels, alone.pixels), "killed, it has left them to this process"
