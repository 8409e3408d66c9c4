"""One cine as one Zarr v3 shard, written and read in one go.

What lies on disk is plain Zarr (sharding_indexed, one frame a chunk, each with its CRC-32C), and
any Zarr library reads it. Going through one costs more than half of what decoding a JPEG costs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.unsignedinteger[Any]]

SHARD = "c/0/0/0"
"""The one file of a cine's frames, within its array."""
INDEX_CODECS = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "crc32c"},
]
BLOSC = {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "blocksize": 0}
"""For frames of more than 8 bits, of which some are never used. Noise fills the 8 bits of others:
packing those would take an eighth of a decoder's time, and save a fifth of the room."""


def write_array(folder: Path, frames: Frames, attributes: Mapping[str, Any]) -> None:
    """Write ``frames`` (uint8 or uint16 [T, H, W]) as a Zarr array into a new folder."""
    document = {
        "shape": frames.shape,
        "data_type": frames.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": frames.shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": _codecs(frames.shape, frames.dtype),
        "attributes": attributes,
        "dimension_names": ["frame", "row", "column"],
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    shard = folder / SHARD
    shard.parent.mkdir(parents=True)
    (folder / "zarr.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    little = frames.astype(frames.dtype.newbyteorder("<"), copy=False)
    index = np.empty((len(frames), 2), "<u8")
    with shard.open("wb") as file:
        for frame, entry in zip(little, index, strict=True):
            chunk = _packed(np.ascontiguousarray(frame))
            entry[:] = file.tell(), len(chunk) + 4
            file.write(chunk.data)
            file.write(_checksum(chunk))
        file.write(index.data)
        file.write(_checksum(_bytes_of(index)))


def read_array(folder: Path) -> Frames | None:
    """All frames of an array as :func:`write_array` writes them; None where it is another's.

    Raises:
        ValueError: a checksum is wrong, or the shard is cut short.
        FileNotFoundError: there is no shard.
    """
    document = json.loads((folder / "zarr.json").read_bytes())
    shape, dtype = tuple(document["shape"]), np.dtype(document["data_type"])
    if document["codecs"] != _codecs(shape, dtype):
        return None
    content = np.fromfile(folder / SHARD, np.uint8)
    begin = len(content) - 16 * shape[0] - 4
    if begin < 0:
        raise ValueError("the shard is cut short")
    index = _verified(content[begin:]).view("<u8").reshape(-1, 2)
    frames = np.empty(shape, dtype)
    for frame, (offset, size) in zip(frames, index.tolist(), strict=True):
        chunk = _unpacked(_verified(content[offset : offset + size]), dtype)
        frame[:] = np.frombuffer(chunk, dtype.newbyteorder("<")).reshape(frame.shape)
    return frames


def frames_digest(frames: Frames) -> str:
    """SHA-256 over the CRC-32C of every frame, both of little-endian pixels in C order."""
    little = frames.astype(frames.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256()
    for frame in little:
        digest.update(_checksum(_bytes_of(np.ascontiguousarray(frame))))
    return digest.hexdigest()


def _codecs(shape: tuple[int, ...], dtype: np.dtype[Any]) -> list[dict[str, Any]]:
    inner: list[dict[str, Any]] = [{"name": "bytes"}, {"name": "crc32c"}]
    if dtype.itemsize > 1:
        inner[0]["configuration"] = {"endian": "little"}
        inner.insert(1, {"name": "blosc", "configuration": {"typesize": dtype.itemsize, **BLOSC}})
    configuration = {
        "chunk_shape": [1, *shape[1:]],
        "codecs": inner,
        "index_codecs": INDEX_CODECS,
        "index_location": "end",
    }
    return [{"name": "sharding_indexed", "configuration": configuration}]


@cache
def _blosc() -> Any:
    from numcodecs import Blosc

    return Blosc(cname=BLOSC["cname"], clevel=BLOSC["clevel"], shuffle=Blosc.BITSHUFFLE)


def _packed(frame: Frames) -> NDArray[np.uint8]:
    if frame.dtype.itemsize == 1:
        return _bytes_of(frame)
    return np.frombuffer(_blosc().encode(frame), np.uint8)


def _unpacked(chunk: NDArray[np.uint8], dtype: np.dtype[Any]) -> Any:
    return chunk if dtype.itemsize == 1 else _blosc().decode(chunk)


def _bytes_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)


def _checksum(chunk: NDArray[np.uint8]) -> bytes:
    return int(google_crc32c.value(chunk)).to_bytes(4, "little")


def _verified(chunk: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes before a trailing CRC-32C, which must be theirs."""
    content = chunk[:-4]
    if _checksum(content) != chunk[-4:].tobytes():
        raise ValueError("a checksum does not match its frame")
    return content
