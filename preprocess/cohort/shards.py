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


class ArrayWriter:
    """A Zarr array that grows frame by frame, and is one once it is finished."""

    def __init__(self, folder: Path, frame_shape: tuple[int, int], dtype: np.dtype[Any]):
        """Begin an array in a new folder.

        Args:
            folder: made here.
            frame_shape: rows and columns.
            dtype: uint8 or uint16.
        """
        (folder / SHARD).parent.mkdir(parents=True)
        self._folder = folder
        self._frame_shape = frame_shape
        self._dtype = dtype
        self._file = (folder / SHARD).open("wb")
        self._index: list[tuple[int, int]] = []
        self._digest = hashlib.sha256()

    def append(self, frame: Frames) -> None:
        """Add a frame."""
        assert frame.shape == self._frame_shape and frame.dtype == self._dtype
        plain = _bytes_of(_little(frame))
        checksum = _checksum(plain)
        self._digest.update(checksum)
        chunk = plain
        if self._dtype.itemsize > 1:
            chunk = np.frombuffer(_blosc().encode(_little(frame)), np.uint8)
            checksum = _checksum(chunk)
        self._index.append((self._file.tell(), len(chunk) + len(checksum)))
        self._file.write(chunk.data)
        self._file.write(checksum)

    @property
    def digest(self) -> str:
        """The :func:`frames_digest` of what was appended."""
        return self._digest.hexdigest()

    def finish(self, attributes: Mapping[str, Any]) -> None:
        """Write the index and the metadata."""
        index = np.array(self._index, "<u8")
        self._file.write(index.data)
        self._file.write(_checksum(_bytes_of(index)))
        self._file.close()
        shape = (len(index), *self._frame_shape)
        document = {
            "shape": shape,
            "data_type": self._dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0,
            "codecs": _codecs(shape, self._dtype),
            "attributes": attributes,
            "dimension_names": ["frame", "row", "column"],
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        (self._folder / "zarr.json").write_text(text)

    def close(self) -> None:
        """Give it up."""
        self._file.close()


def read_array(folder: Path) -> Frames | None:
    """All frames of an array as :class:`ArrayWriter` writes them; None where it is another's.

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
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(_checksum(_bytes_of(_little(frame))))
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


def _little(frame: Frames) -> Frames:
    return np.ascontiguousarray(frame, frame.dtype.newbyteorder("<"))


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
