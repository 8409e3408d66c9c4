"""The frames of a cine as a Zarr array: one frame a chunk, the cine a shard, a CRC-32C on each.

zarr-python writes and reads it, through the codecs of zarrs where that is installed: these are
more than twice as fast, and the arrays are the same.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs.checksum32 import CRC32C
from numpy.typing import NDArray

Frames = NDArray[np.unsignedinteger[Any]]

SHARD = "c/0/0/0"
"""The one file of a cine's frames, within its array."""

_OPENING = threading.Lock()


def write_frames(path: Path, frames: Frames, attributes: Mapping[str, Any]) -> None:
    """Write a new array.

    Args:
        path: its folder, which is made here.
        frames: uint8 or uint16 [T, H, W].
        attributes: of the array.
    """
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec

    # Chosen by benchmarks/frames_codec.py: real cines take 0.55 of their size. A frame is one block
    # of Blosc; smaller blocks take longer and compress less.
    block = frames[0].nbytes
    codec = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", blocksize=block)
    # Several threads would write the chunks of a shard in another order each time.
    with _fast_codecs({"threading.max_workers": 1}):
        array = zarr.create_array(
            path,
            shape=frames.shape,
            dtype=frames.dtype,
            chunks=(1, *frames.shape[1:]),
            shards=frames.shape,
            compressors=[codec, Crc32cCodec()],
            dimension_names=("frame", "row", "column"),
            attributes=dict(attributes),
        )
    array[:] = frames


def read_frames(path: Path, shape: tuple[int, int, int], digest: str) -> Frames:
    """All frames of an array, whatever codecs of Zarr it was written with.

    Args:
        path: its folder.
        shape: that they must have: [T, H, W].
        digest: the :func:`frames_digest` that they must have. A shard's own checksums only say
            that it is whole; it may be another cine's. To compare takes a twentieth of the time
            that reading takes.

    Raises:
        ValueError, RuntimeError: a checksum is wrong, the shard is cut short, the frames are
            others, or so large that there is no memory for them.
        FileNotFoundError: there is no shard.
    """
    try:
        frames = np.asarray(open_frames(path, shape)[:])
    except MemoryError as problem:
        raise ValueError(f"there is no memory for frames of {shape}") from problem
    if frames_digest(frames) != digest:
        # Zarr takes an absent shard for one that is all 0, and so it may be.
        if not (path / SHARD).is_file():
            raise FileNotFoundError(path / SHARD)
        raise ValueError("they are the frames of another cine")
    return frames


def open_frames(path: Path, shape: tuple[int, int, int]) -> Any:
    """The array of a cine for reading, without its frames.

    Raises:
        ValueError: it is not of ``shape``.
        FileNotFoundError: there is none.
    """
    import zarr

    with _fast_codecs():
        array = zarr.open_array(path, mode="r")
    _check_layout(array, shape)
    return array


def frames_digest(frames: Frames) -> str:
    """SHA-256 over the CRC-32C of every frame, both of little-endian pixels in C order."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(frame_checksum(frame))
    return digest.hexdigest()


def frame_checksum(frame: Frames) -> bytes:
    """CRC-32C of a frame's little-endian pixels in C order."""
    pixels = np.ascontiguousarray(frame, frame.dtype.newbyteorder("<"))
    checksum: int = CRC32C.checksum(pixels.reshape(-1).view(np.uint8))
    return checksum.to_bytes(4, "little")


def _check_layout(array: Any, shape: tuple[int, int, int]) -> None:
    """Refuse an array of anything but such frames, before memory is reserved for what it claims.

    Codecs in Rust end the process where they get none.
    """
    if array.metadata.zarr_format != 3:  # numcodecs, which version 2 has, knows pickle
        raise ValueError("its array is of another version of Zarr")
    if array.shape != shape or array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"its array is of {array.shape} {array.dtype}")
    outer = array.shards or array.chunks  # Zarr checks that those within fit it
    if any(side > whole for side, whole in zip(outer, shape, strict=True)):
        raise ValueError(f"its array of {shape} has shards of {outer}")


@contextmanager
def _fast_codecs(settings: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Arrays that are opened meanwhile go through zarrs; afterwards Zarr's settings are as before.

    Zarr's settings are the process's, so one thread at a time changes them.
    """
    import zarr

    has_zarrs = importlib.util.find_spec("zarrs") is not None
    pipeline = {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"} if has_zarrs else {}
    with _OPENING, zarr.config.set({**pipeline, **(settings or {})}):
        yield
