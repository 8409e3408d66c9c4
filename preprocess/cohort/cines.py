"""``frames.zarr``: every cine as one array, with what is known of it as its attributes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from preprocess.cohort.frames import (
    SHARD,
    Frames,
    frame_checksum,
    open_frames,
    read_frames,
    write_frames,
)
from preprocess.cohort.records import Sequence
from preprocess.storage.atomic import PARTIAL, sync_below, sync_folder, write_json
from preprocess.storage.names import check_name

STORE = "frames.zarr"


def store_path(folder: Path) -> Path:
    """Where a cohort keeps its arrays."""
    return folder / STORE


def cine_path(folder: Path, sequence_id: str) -> Path:
    """Where a cohort keeps the array of a cine.

    Raises:
        ValueError: that is no name of a sequence, and could lead out of the cohort.
    """
    return store_path(folder) / check_name(sequence_id, "a sequence")


def cine_is_stored(folder: Path, sequence_id: str) -> bool:
    """Whether a whole cine lies in the cohort (a half-written one never has this name)."""
    return (cine_path(folder, sequence_id) / "zarr.json").is_file()


def store_cine(folder: Path, sequence: Sequence, frames: Frames) -> None:
    """Write one cine (uint8 or uint16 [T, H, W]): it appears whole or not at all.

    It is on the disk when this returns, so that a journal may say so, and a power cut does not
    leave the journal's line without the frames.
    Many processes may do it at once, each with another cine.
    """
    assert frames.shape == _shape(sequence)
    store = store_path(folder)
    store.mkdir(parents=True, exist_ok=True)
    if not (store / "zarr.json").exists():
        group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
        write_json(store / "zarr.json", group)
    final = cine_path(folder, sequence.sequence_id)
    partial = store / f".{sequence.sequence_id}.{os.getpid()}{PARTIAL}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        write_frames(partial, frames, asdict(sequence))
        sync_below(partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        sync_folder(store)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def update_attributes(folder: Path, sequence: Sequence) -> None:
    """Give a stored cine other attributes (a corrected label), atomically; its frames stay."""
    path = cine_path(folder, sequence.sequence_id) / "zarr.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**document, "attributes": asdict(sequence)})


def stored_sequence(folder: Path, sequence_id: str) -> Sequence:
    """The attributes of one stored cine.

    Raises:
        ValueError: they are damaged, or another cine's.
    """
    # Where Zarr v3 keeps them; opening the array for them costs a millisecond per sequence.
    path = cine_path(folder, sequence_id) / "zarr.json"
    try:
        sequence = Sequence.from_attributes(json.loads(path.read_bytes())["attributes"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise _damaged_cine(path, f"its attributes are not what was written: {problem}") from None
    if sequence.sequence_id != sequence_id:
        raise _damaged_cine(path, f"it is of the sequence {sequence.sequence_id!r}")
    return sequence


def bytes_per_pixel(folder: Path, sequence_id: str) -> int:
    """Of a stored cine's frames, without reading them: 1 or 2."""
    document = json.loads((cine_path(folder, sequence_id) / "zarr.json").read_bytes())
    return 1 if document["data_type"] == "uint8" else 2


def read_cine_frames(folder: Path, sequence: Sequence) -> Frames:
    """All frames of a stored cine as acquired (uint8 or uint16 [T, H, W]), in one read.

    Raises:
        ValueError: its frames are damaged, gone, or another cine's.
    """
    path = cine_path(folder, sequence.sequence_id)
    with _damage_named(path):
        # The digest is of pixels in order: the same ones in other rows and columns have it as well.
        return read_frames(path, _shape(sequence), sequence.frames_digest)


class CineReader:
    """A stored cine of which frames are read one at a time.

    At first all are read, to compare their digest; later each with the checksum that it had then.
    """

    def __init__(self, folder: Path, sequence: Sequence) -> None:
        """Read the cine once.

        Raises:
            ValueError: its frames are damaged, gone, or another cine's.
        """
        frames = read_cine_frames(folder, sequence)
        self._checksums = [frame_checksum(frame) for frame in frames]
        self._path = cine_path(folder, sequence.sequence_id)
        self._array = open_frames(self._path, _shape(sequence))

    def read(self, index: int) -> Frames:
        """One frame as acquired (uint8 or uint16 [H, W]).

        Raises:
            ValueError: it is damaged, gone, or another one than it was.
        """
        with _damage_named(self._path):
            frame: Frames = np.asarray(self._array[index])
            if frame_checksum(frame) != self._checksums[index]:
                raise ValueError("a frame is another one than it was")
        return frame


def _shape(sequence: Sequence) -> tuple[int, int, int]:
    return sequence.length, sequence.height, sequence.width


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as problem:
        raise _damaged_cine(path, f"{SHARD} is not there") from problem
    except (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError) as problem:
        raise _damaged_cine(path, str(problem)) from problem


def _damaged_cine(path: Path, problem: str) -> ValueError:
    return ValueError(
        f"The frames in {path} are damaged ({problem}). Copy that folder again from a sound copy "
        "of the cohort, or remove it and ingest the archive again into the same cohort."
    )
