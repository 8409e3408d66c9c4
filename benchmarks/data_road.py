"""From the cohort to normalised batches, after loading: ours beside a DataLoader with two workers.

Ours is what a training step takes, brightness and contrast included. The peer reads single frames
of the same cines with the Zarr library (from a plain memory-mapped file where it is not installed,
which is faster) and normalises them in its workers. They fetch ahead: each turn begins once they
rest, so that ours has the cores to itself, and theirs some batches in hand.

    python benchmarks/data_road.py --out benchmarks/results/data_road.json
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import tempfile
from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from measuring import best_device, side_by_side, write
from measuring.jobs import store_of
from numpy.typing import NDArray
from torch import Tensor

from angioray.models.backbone import GREY_MEAN, GREY_STD
from angioray.training.batches import Batches
from angioray.training.precision import dtype_here
from angioray.training.settings import AugmentationSettings

CINES, LENGTH, SIZE, BATCH = 10, 40, 512, 32
WORKERS = 2


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--turns", type=int, default=8, help="timed turns of each")
    options = parser.parse_args()
    device = best_device()
    dtype = dtype_here("auto", device)
    noise = np.random.default_rng(0)
    frames = noise.integers(0, 256, (CINES, LENGTH, SIZE, SIZE), dtype=np.uint8)
    batches = of_frames(torch.from_numpy(frames).view(-1, 1, SIZE, SIZE), device)
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        theirs = loader_batches(stored(frames, Path(folder)), device)
        row = side_by_side(
            f"normalised batches of {BATCH} frames of {SIZE} x {SIZE}",
            lambda: batches.take(next(numbers), rank=0, ranks=1, dtype=dtype),
            lambda: next(theirs),
            items=BATCH,
            unit="frames/s",
            device=device,
            turns=options.turns,
            steps=40,
            rest_s=1.0,
        )
        theirs.close()  # ends its workers before their files go
    write(options.out, [row], device)


def of_frames(pixels: Tensor, device: torch.device) -> Batches:
    """Batches as the paper's detector takes them."""
    store = store_of(pixels, device)
    keys = list(store.rows)
    return Batches(store, keys, store.rows_of(keys), BATCH, AugmentationSettings(), seed=0)


def stored(frames: NDArray[np.uint8], folder: Path) -> torch.utils.data.Dataset[Tensor]:
    """The cines on disk: as a cohort holds them, or as one plain file."""
    if importlib.util.find_spec("zarr") is None:
        path = folder / "frames.npy"
        np.save(path, frames.reshape(-1, SIZE, SIZE))
        return Plain(path)
    import zarr

    root = zarr.open_group(folder / "frames.zarr", mode="w")
    for number, cine in enumerate(frames):
        # A cohort's layout: a chunk per frame, a shard per cine.
        array = root.create_array(
            str(number),
            shape=cine.shape,
            dtype=cine.dtype,
            chunks=(1, SIZE, SIZE),
            shards=cine.shape,
            compressors=zarr.codecs.BloscCodec(cname="lz4", shuffle="bitshuffle"),
        )
        array[:] = cine
    return Zarr(folder / "frames.zarr")


class Zarr(torch.utils.data.Dataset[Tensor]):
    """Single frames through the Zarr library, the store opened in the worker."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrays: list[object] = []

    def __len__(self) -> int:
        return CINES * LENGTH

    def __getitem__(self, index: int) -> Tensor:
        import zarr

        if not self._arrays:
            group = zarr.open_group(self._path, mode="r")
            self._arrays = [group[str(number)] for number in range(CINES)]
        return normalised(self._arrays[index // LENGTH][index % LENGTH])  # type: ignore[index]


class Plain(torch.utils.data.Dataset[Tensor]):
    """Single frames of one memory-mapped file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __len__(self) -> int:
        return CINES * LENGTH

    def __getitem__(self, index: int) -> Tensor:
        return normalised(np.load(self._path, mmap_mode="r")[index])


def normalised(frame: NDArray[np.uint8]) -> Tensor:
    """A frame as the network takes it (float32[1, S, S])."""
    return (torch.from_numpy(np.array(frame)).float()[None] / 255 - GREY_MEAN) / GREY_STD


def loader_batches(
    dataset: torch.utils.data.Dataset[Tensor], device: torch.device
) -> Generator[Tensor, None, None]:
    """Shuffled batches, epoch after epoch, by two workers that stay."""
    loader = torch.utils.data.DataLoader(
        dataset,
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=WORKERS,
        persistent_workers=True,
        pin_memory=device.type == "cuda",
        multiprocessing_context="forkserver",
    )
    while True:
        for batch in loader:
            yield batch.to(device, non_blocking=True)


if __name__ == "__main__":
    main()
