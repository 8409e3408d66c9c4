"""Bits beyond Bits Stored, where old software kept overlays: they never become pixel values."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.encaps import encapsulate

from preprocess.dicom import decoders
from preprocess.dicom.acceptance import Rejection
from preprocess.dicom.decoders import NATIVE
from preprocess.dicom.reader import read_cine
from tests.preprocess.tiny_archive import CODECS, SIZE, noise, write_cine

PYDICOMS = [uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.RLELossless]
SYNTAXES = [*NATIVE, *PYDICOMS, uid.HTJ2KLossless]


def with_plane(frames: np.ndarray, bit: int) -> tuple[np.ndarray, int]:
    """The frames with an overlay plane of 5 x 11 pixels in a bit, and its pixels in all frames."""
    plane = np.zeros(frames.shape[1:], frames.dtype)
    plane[4:9, 8:30:2] = 1
    return frames | plane << bit, int(plane.sum()) * len(frames)


@pytest.mark.parametrize(
    ("syntax", "bits", "bit"),
    [
        (syntax, bits, bit)
        for syntax in SYNTAXES
        for bits, bit in ((10, 15), (12, 12), (8, 9))
        if (syntax, bits) != (uid.RLELossless, 8)  # pydicom writes those with 8 bits allocated
    ],
    ids=lambda value: uid.UID(value).keyword if isinstance(value, str) else value,
)
def test_an_overlay_plane_is_cleared_and_counted(
    tmp_path: Path, syntax: str, bits: int, bit: int
) -> None:
    frames = noise(3, bits=bits).astype(np.uint16)
    stored, count = with_plane(frames, bit)
    write_cine(tmp_path / "a.dcm", stored, syntax=syntax, bits=bits)
    cine = read_cine(tmp_path / "a.dcm", size=SIZE)
    np.testing.assert_array_equal(cine.frames, frames)
    assert cine.acquisition.cleared_values == count


@pytest.mark.parametrize("syntax", PYDICOMS, ids=lambda syntax: uid.UID(syntax).keyword)
def test_it_is_cleared_after_pydicoms_decoders_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str
) -> None:
    frames = noise(3, bits=12)
    stored, count = with_plane(frames, 15)
    write_cine(tmp_path / "a.dcm", stored, syntax=syntax, bits=12)
    monkeypatch.setattr(decoders, "frame_decoders", dict)
    cine = read_cine(tmp_path / "a.dcm", size=SIZE)
    np.testing.assert_array_equal(cine.frames, frames)
    assert cine.acquisition.cleared_values == count


@pytest.mark.parametrize(
    ("beyond", "expected"), [(1030, 1023), (1024 + 500, 500), (2**15 + 7, 7)], ids=str
)
def test_a_lossy_codecs_overshoot_is_white_and_other_high_bits_are_cleared(
    tmp_path: Path, beyond: int, expected: int
) -> None:
    frames = noise(2, bits=10)
    frames[:, 2:9, 3:10] = 1000
    frames[:, 5, 6] = beyond
    encode = CODECS[uid.JPEG2000Lossless]  # reversible, so that the values are known
    path = tmp_path / "a.dcm"
    write_lossy(path, frames, uid.JPEG2000, [encode(frame) for frame in frames])
    cine = read_cine(path, size=SIZE)
    frames[:, 5, 6] = expected
    np.testing.assert_array_equal(cine.frames, frames)
    assert cine.acquisition.cleared_values == (0 if expected == 1023 else 2)


LOSSY = {
    "reversible": (uid.JPEG2000, lambda frame: imagecodecs.jpeg2k_encode(frame, reversible=True)),
    "JPEG 2000": (uid.JPEG2000, lambda frame: imagecodecs.jpeg2k_encode(frame, level=90)),
    "JPEG-LS": (uid.JPEGLSNearLossless, lambda frame: imagecodecs.jpegls_encode(frame, level=2)),
    "JPEG": (
        uid.JPEGExtended12Bit,
        lambda frame: imagecodecs.jpeg8_encode(frame, level=100, bitspersample=12),
    ),
}


@pytest.mark.parametrize("bit", [10, 11])
@pytest.mark.parametrize("codec", LOSSY)
def test_an_overlay_over_a_black_border_is_no_overshoot(
    tmp_path: Path, codec: str, bit: int
) -> None:
    frames = np.full((2, SIZE, SIZE), 25, np.uint16)
    frames[:, 16:] = 500
    stored, count = with_plane(frames, bit)
    syntax, encode = LOSSY[codec]
    write_lossy(tmp_path / "a.dcm", stored, syntax, [encode(frame) for frame in stored])
    cine = read_cine(tmp_path / "a.dcm", size=SIZE)
    assert np.abs(cine.frames.astype(int) - frames).max() <= 12
    assert cine.acquisition.cleared_values == count


@pytest.mark.parametrize("bit", [10, 11])
def test_an_overlay_that_is_left_in_the_pixels_in_part_is_refused(tmp_path: Path, bit: int) -> None:
    frames = np.full((2, SIZE, SIZE), 25, np.uint16)
    stored, _ = with_plane(frames, bit)
    encoded = [imagecodecs.jpeg2k_encode(frame, level=60) for frame in stored]
    write_lossy(tmp_path / "a.dcm", stored, uid.JPEG2000, encoded)
    with pytest.raises(Rejection, match="mixed its pixels with bits beyond the 10 stored"):
        read_cine(tmp_path / "a.dcm", size=SIZE)


def write_lossy(path: Path, frames: np.ndarray, syntax: str, encoded: list[bytes]) -> None:
    """A cine of 10 bits in codestreams that another encoder made."""
    pixels = encapsulate(encoded)
    write_cine(path, frames, syntax=uid.JPEG2000Lossless, bits=10, PixelData=pixels)
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)


@pytest.mark.parametrize(("psnr", "is_read"), [(0, True), (50, False)])
def test_an_overlay_that_a_lossy_codec_mixed_with_the_pixels_is_refused(
    tmp_path: Path, psnr: int, is_read: bool
) -> None:
    frames = noise(2, bits=10) // 2 + 256
    stored, count = with_plane(frames, 15)
    encoded = [
        imagecodecs.jpeg2k_encode(frame, level=psnr, codecformat="j2k", reversible=False)
        for frame in stored
    ]
    path = tmp_path / "a.dcm"
    write_lossy(path, frames, uid.JPEG2000, encoded)
    if is_read:
        cine = read_cine(path, size=SIZE)
        assert cine.acquisition.cleared_values == count
        assert np.abs(cine.frames.astype(int) - frames).max() <= 3
    else:
        with pytest.raises(Rejection, match="mixed its pixels with bits beyond the 10 stored"):
            read_cine(path, size=SIZE)


def test_a_near_lossless_codestream_keeps_its_whites(tmp_path: Path) -> None:
    frames = np.full((2, SIZE, SIZE), 1023, np.uint16)
    frames[:, ::2] = 1018
    path = tmp_path / "a.dcm"
    encoded = [imagecodecs.jpegls_encode(frame, level=3) for frame in frames]
    write_lossy(path, frames, uid.JPEGLSNearLossless, encoded)
    decoded = read_cine(path, size=SIZE).frames.astype(int)
    assert np.abs(decoded - frames).max() <= 3


def test_overlay_groups_are_not_read(tmp_path: Path) -> None:
    frames = noise(2)
    path = tmp_path / "a.dcm"
    write_cine(path, frames)
    dataset = dcmread(path)
    dataset.add_new(0x60000010, "US", SIZE)
    dataset.add_new(0x60000011, "US", SIZE)
    dataset.add_new(0x60000040, "CS", "G")
    dataset.add_new(0x60000050, "SS", [1, 1])
    dataset.add_new(0x60000100, "US", 1)
    dataset.add_new(0x60000102, "US", 0)
    dataset.add_new(0x60003000, "OW", b"\xff" * (SIZE * SIZE // 8))
    dataset.save_as(path)
    cine = read_cine(path, size=SIZE)
    np.testing.assert_array_equal(cine.frames, frames)
    assert cine.acquisition.cleared_values == 0


def test_shifted_values_are_refused_with_both_numbers(tmp_path: Path) -> None:
    write_cine(tmp_path / "a.dcm", noise(2, bits=12) << 4, bits=12, HighBit=15)
    with pytest.raises(Rejection, match=r"shifted \(High Bit is 15; with 12 bits stored, 11 is"):
        read_cine(tmp_path / "a.dcm", size=SIZE)
