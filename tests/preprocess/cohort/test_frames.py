"""A cine on disk is plain Zarr, whoever reads or wrote it."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from preprocess.cohort import Cohort
from preprocess.cohort.frames import SHARD, frames_digest, read_frames, write_frames
from tests.preprocess.tiny_archive import noise


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_any_zarr_library_reads_it(tmp_path: Path, bits: int) -> None:
    frames = noise(5, 24, bits=bits)
    write_frames(tmp_path / "S1", frames, {"view": "RCA"})
    array = zarr.open_array(tmp_path / "S1", mode="r")  # by zarr-python's own codecs
    np.testing.assert_array_equal(array[:], frames)
    np.testing.assert_array_equal(array[3], frames[3])
    assert (array.chunks, array.shards, array.dtype) == ((1, 24, 24), frames.shape, frames.dtype)
    assert array.metadata.dimension_names == ("frame", "row", "column")
    assert dict(array.attrs) == {"view": "RCA"}
    np.testing.assert_array_equal(
        read_frames(tmp_path / "S1", frames.shape, frames_digest(frames)), frames
    )


@pytest.mark.parametrize("bits", [8, 12])
def test_it_works_without_zarrs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    frames = noise(5, 24, bits=bits)
    digest = frames_digest(frames)
    write_frames(tmp_path / "fast", frames, {})
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda _: None)
        write_frames(tmp_path / "plain", frames, {})
        np.testing.assert_array_equal(read_frames(tmp_path / "fast", frames.shape, digest), frames)
    np.testing.assert_array_equal(read_frames(tmp_path / "plain", frames.shape, digest), frames)


def test_zarrs_own_settings_are_left_alone_by_many_threads(tmp_path: Path) -> None:
    before = zarr.config.get("codec_pipeline.path"), zarr.config.get("threading.max_workers")
    frames = noise(5, 24)

    def written_and_read(number: int) -> bool:
        path = tmp_path / str(number)
        write_frames(path, frames, {})
        return np.array_equal(read_frames(path, frames.shape, frames_digest(frames)), frames)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(written_and_read, range(40)))
    assert before == (
        zarr.config.get("codec_pipeline.path"),
        zarr.config.get("threading.max_workers"),
    )


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    frames = noise(30, 64)
    for name in ("first", "second"):
        write_frames(tmp_path / name, frames, {"view": "RCA"})
    files = [path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*")]
    assert {str(path) for path in files} == {"zarr.json"}
    for name in ("zarr.json", SHARD):
        first, second = (tmp_path / folder / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("compressors", [[], [BloscCodec(cname="lz4"), Crc32cCodec()]])
def test_cohorts_written_with_other_codecs_are_read(tmp_path: Path, compressors: list[Any]) -> None:
    frames = noise(3, 8, bits=12)
    array = zarr.create_array(
        tmp_path / "S1",
        shape=frames.shape,
        dtype=frames.dtype,
        chunks=(1, 8, 8),
        shards=frames.shape,
        compressors=compressors,
    )
    array[:] = frames
    np.testing.assert_array_equal(
        read_frames(tmp_path / "S1", frames.shape, frames_digest(frames)), frames
    )


@pytest.mark.parametrize("bits", [8, 12])
def test_every_changed_byte_is_noticed(tmp_path: Path, bits: int) -> None:
    frames = noise(2, 8, bits=bits)
    digest = frames_digest(frames)
    write_frames(tmp_path / "S1", frames, {})
    path = tmp_path / "S1" / SHARD
    sound = path.read_bytes()
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with pytest.raises((ValueError, RuntimeError)):
            read_frames(tmp_path / "S1", frames.shape, digest)
    for length in (0, 10, len(sound) - 1):
        path.write_bytes(sound[:length])
        with pytest.raises((ValueError, RuntimeError)):
            read_frames(tmp_path / "S1", frames.shape, digest)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_frames(tmp_path / "S1", frames.shape, digest)


def _of_other_sides(array: dict[str, Any]) -> None:
    array["shape"] = array["chunk_grid"]["configuration"]["chunk_shape"] = [2, 10**6, 10**6]


def _of_huge_chunks(array: dict[str, Any]) -> None:
    array["chunk_grid"]["configuration"]["chunk_shape"][0] = 10**18


def _of_no_chunks(array: dict[str, Any]) -> None:
    array["codecs"][0]["configuration"]["chunk_shape"][1] = 0


def _of_signed_numbers(array: dict[str, Any]) -> None:
    array["data_type"] = "int8"


def _of_another_format(array: dict[str, Any]) -> None:
    """Version 2, whose filters know pickle, behind one that makes objects of bytes."""
    filters = [{"id": "vlen-bytes"}, {"id": "pickle"}]
    array.update(zarr_format=2, dtype="|O", fill_value="", filters=filters, compressor=None)
    array.update(chunks=array["shape"], order="C")


@pytest.mark.parametrize(
    "change",
    [_of_other_sides, _of_huge_chunks, _of_no_chunks, _of_signed_numbers, _of_another_format],
)
def test_an_array_of_something_else_is_not_read(
    tmp_path: Path, toy_cohort: Cohort, change: Any
) -> None:
    shutil.copytree(toy_cohort.folder, tmp_path / "cohort")
    path = tmp_path / "cohort" / "frames.zarr" / "S00RCA" / "zarr.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"S00RCA are damaged \((its array|integer)"):
        Cohort.open(tmp_path / "cohort").cine("S00RCA")


def test_the_digest_is_of_the_frames_checksums_whatever_the_byte_order() -> None:
    frames = noise(3, 8, bits=12)
    expected = hashlib.sha256(
        b"".join(
            int(google_crc32c.value(frame.astype("<u2").tobytes())).to_bytes(4, "little")
            for frame in frames
        )
    ).hexdigest()
    assert frames_digest(frames) == frames_digest(frames.astype(">u2")) == expected
    assert frames_digest(frames[::-1]) != expected
