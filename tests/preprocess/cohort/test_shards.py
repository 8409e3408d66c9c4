"""A cine on disk is plain Zarr, whoever reads or wrote it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from preprocess.cohort.shards import SHARD, ArrayWriter, frames_digest, read_array
from tests.preprocess.tiny_archive import noise


def write(folder: Path, frames: np.ndarray) -> str:
    writer = ArrayWriter(folder, frames.shape[1:], frames.dtype)
    for frame in frames:
        writer.append(frame)
    writer.finish({"view": "RCA"})
    return writer.digest


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_zarr_reads_what_we_write(tmp_path: Path, bits: int) -> None:
    frames = noise(5, 24, bits=bits)
    write(tmp_path / "S1", frames)
    array = zarr.open_array(tmp_path / "S1", mode="r")
    np.testing.assert_array_equal(array[:], frames)
    np.testing.assert_array_equal(array[3], frames[3])
    assert (array.chunks, array.shards, array.dtype) == ((1, 24, 24), frames.shape, frames.dtype)
    assert dict(array.attrs) == {"view": "RCA"}
    found = read_array(tmp_path / "S1")
    assert found is not None
    np.testing.assert_array_equal(found, frames)


def test_zarr_writes_the_same_bytes(tmp_path: Path) -> None:
    for bits, packed in ((8, []), (12, [BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")])):
        frames = noise(3, 24, bits=bits)
        ours, theirs = tmp_path / f"ours{bits}", tmp_path / f"theirs{bits}"
        write(ours, frames)
        array = zarr.create_array(
            theirs,
            shape=frames.shape,
            dtype=frames.dtype,
            chunks=(1, 24, 24),
            shards=frames.shape,
            compressors=[*packed, Crc32cCodec()],
        )
        array[:] = frames
        assert (ours / SHARD).read_bytes() == (theirs / SHARD).read_bytes()


def test_an_array_of_other_codecs_is_left_to_zarr(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "S1", shape=(3, 8, 8), dtype="u1", shards=(3, 8, 8))
    array[:] = noise(3, 8)
    assert read_array(tmp_path / "S1") is None


@pytest.mark.parametrize("bits", [8, 12])
def test_every_changed_byte_is_noticed(tmp_path: Path, bits: int) -> None:
    write(tmp_path / "S1", noise(2, 8, bits=bits))
    path = tmp_path / "S1" / SHARD
    sound = path.read_bytes()
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with pytest.raises(ValueError, match="checksum"):
            read_array(tmp_path / "S1")
    for length in (0, 10, len(sound) - 1):
        path.write_bytes(sound[:length])
        with pytest.raises(ValueError):
            read_array(tmp_path / "S1")


def test_the_digest_is_of_the_frames_checksums_whatever_the_byte_order(tmp_path: Path) -> None:
    frames = noise(3, 8, bits=12)
    expected = hashlib.sha256(
        b"".join(
            int(google_crc32c.value(frame.astype("<u2").tobytes())).to_bytes(4, "little")
            for frame in frames
        )
    ).hexdigest()
    assert frames_digest(frames) == frames_digest(frames.astype(">u2")) == expected
    assert write(tmp_path / "S1", frames) == expected
    assert frames_digest(frames[::-1]) != expected
