"""``frames.zarr``: every cine as one array, with what is known of it as its attributes."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.cohort.records import Sequence
from preprocess.cohort.shards import SHARD, ArrayWriter, frames_digest, read_array
from preprocess.storage.atomic import PARTIAL, write_json

STORE = "frames.zarr"


def store_path(folder: Path) -> Path:
    """Where a cohort keeps its arrays."""
    return folder / STORE


def cine_is_stored(folder: Path, sequence_id: str) -> bool:
    """Whether a whole cine lies in the cohort (a half-written one never has this name)."""
    return (store_path(folder) / sequence_id / "zarr.json").is_file()


class CineWriter:
    """One cine on its way into a cohort: it appears whole or not at all. Safe from many processes.

    Leaving the ``with`` block without :meth:`finish` leaves nothing behind.
    """

    def __init__(self, folder: Path, sequence_id: str, frame_shape: tuple[int, int], dtype: Any):
        """Begin a cine of uint8 or uint16 frames [H, W]."""
        store = store_path(folder)
        store.mkdir(parents=True, exist_ok=True)
        if not (store / "zarr.json").exists():
            group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
            write_json(store / "zarr.json", group)
        self._final = store / sequence_id
        self._partial = store / f".{sequence_id}.{os.getpid()}{PARTIAL}"
        shutil.rmtree(self._partial, ignore_errors=True)
        self._array = ArrayWriter(self._partial, frame_shape, np.dtype(dtype))

    def __enter__(self) -> CineWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._array.close()
        shutil.rmtree(self._partial, ignore_errors=True)

    def append(self, frame: NDArray[np.unsignedinteger[Any]]) -> None:
        """Add the next frame."""
        self._array.append(frame)

    @property
    def digest(self) -> str:
        """The :func:`frames_digest` of the frames so far."""
        return self._array.digest

    def finish(self, sequence: Sequence) -> None:
        """Put it into place with its attributes."""
        self._array.finish(asdict(sequence))
        shutil.rmtree(self._final, ignore_errors=True)
        self._partial.rename(self._final)


def store_cine(folder: Path, sequence: Sequence, frames: NDArray[np.unsignedinteger[Any]]) -> None:
    """Write one cine at once (uint8 or uint16 [T, H, W]), as :class:`CineWriter` does."""
    assert frames.shape == (sequence.length, sequence.height, sequence.width)
    shape = (sequence.height, sequence.width)
    with CineWriter(folder, sequence.sequence_id, shape, frames.dtype) as cine:
        for frame in frames:
            cine.append(frame)
        cine.finish(sequence)


def update_attributes(folder: Path, sequence: Sequence) -> None:
    """Give a stored cine other attributes (a corrected label), atomically; its frames stay."""
    path = store_path(folder) / sequence.sequence_id / "zarr.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**document, "attributes": asdict(sequence)})


def stored_sequence(folder: Path, sequence_id: str) -> Sequence:
    """The attributes of one stored cine."""
    # Where Zarr v3 keeps them; opening the array for them costs a millisecond per sequence.
    document = json.loads((store_path(folder) / sequence_id / "zarr.json").read_bytes())
    return Sequence.from_attributes(document["attributes"])


def read_cine_frames(folder: Path, sequence: Sequence) -> NDArray[np.unsignedinteger[Any]]:
    """All frames of a stored cine as acquired (uint8 or uint16 [T, H, W]), in one read.

    Raises:
        ValueError: its frames are damaged or gone.
    """
    path = store_path(folder) / sequence.sequence_id
    try:
        return _read_frames(path, sequence.frames_digest)
    except FileNotFoundError as problem:
        raise _damaged_cine(path, f"{SHARD} is not there") from problem
    except (ValueError, RuntimeError) as problem:
        raise _damaged_cine(path, str(problem)) from problem


def _read_frames(path: Path, digest: str) -> NDArray[np.unsignedinteger[Any]]:
    """The frames of an array, whatever Zarr codecs it was written with."""
    if (frames := read_array(path)) is not None:
        return frames
    import zarr

    frames = np.asarray(zarr.open_array(path, mode="r")[:])
    # Zarr takes an absent shard for one that is all 0, and so it may be.
    if not (path / SHARD).is_file() and frames_digest(frames) != digest:
        raise FileNotFoundError(path / SHARD)
    return frames


def _damaged_cine(path: Path, problem: str) -> ValueError:
    return ValueError(
        f"The frames in {path} are damaged ({problem}). Copy that folder again from a sound copy "
        "of the cohort, or remove it and ingest the archive again into the same cohort."
    )
