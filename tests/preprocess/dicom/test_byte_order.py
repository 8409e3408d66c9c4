"""The order of bytes in pixel data and tables, by transfer syntax and value representation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from preprocess.dicom.reader import read_cine
from tests.preprocess.tiny_archive import SIZE, noise, write_cine

UNCOMPRESSED = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian]


def paired(pixels: bytes) -> bytes:
    """The bytes of 8-bit pixels as big-endian words of two pixels each."""
    return np.frombuffer(pixels, ">u2").astype("<u2").tobytes()


@pytest.mark.parametrize("size", [SIZE, 33])
@pytest.mark.parametrize("vr", ["OB", "OW"])
@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=lambda syntax: uid.UID(syntax).keyword)
def test_pixels_of_8_bits(tmp_path: Path, syntax: str, vr: str, size: int) -> None:
    frames = noise(3, size)
    path = tmp_path / "a.dcm"
    write_cine(path, frames, syntax=syntax)
    dataset = dcmread(path)
    padded = frames.tobytes() + b"\0" * (frames.size % 2)
    swapped = vr == "OW" and syntax == uid.ExplicitVRBigEndian
    dataset.PixelData = paired(padded) if swapped else padded
    dataset["PixelData"].VR = vr
    dataset.save_as(path)
    np.testing.assert_array_equal(read_cine(path, size=size).frames, frames)


def test_an_odd_length_in_big_endian_words_loses_no_pixel(tmp_path: Path) -> None:
    frames = noise(1, 33)
    path = tmp_path / "a.dcm"
    write_cine(path, frames, syntax=uid.ExplicitVRBigEndian)
    dataset = dcmread(path)
    pixels = frames.tobytes()
    dataset.PixelData = paired(pixels[:-1]) + pixels[-1:] + b"\0"
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path)
    content = path.read_bytes()
    size = len(pixels)
    assert content.count((size + 1).to_bytes(4, "big")) == 1
    content = content.replace((size + 1).to_bytes(4, "big"), size.to_bytes(4, "big"))
    path.write_bytes(content[:-1])
    np.testing.assert_array_equal(read_cine(path, size=33).frames, frames)


TABLE = np.array([255 - value for value in range(256)])


def lut(outputs: np.ndarray, *, vr: str, bits: int, big: bool) -> Sequence:
    """An inverting table, as each value representation writes it."""
    item = Dataset()
    item.add_new(0x00283002, "US", [len(outputs), 0, bits])
    data: Any
    if vr == "US":
        data = outputs.tolist()
    elif bits == 8:
        packed = outputs.astype(np.uint8).tobytes()
        data = paired(packed) if big and vr == "OW" else packed
    else:
        data = outputs.astype(">u2" if big else "<u2").tobytes()
    item.add_new(0x00283006, vr, data)
    return Sequence([item])


@pytest.mark.parametrize(("vr", "bits"), [("OW", 16), ("OW", 8), ("US", 16), ("US", 8), ("OB", 8)])
@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=lambda syntax: uid.UID(syntax).keyword)
@pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence"])
def test_tables(tmp_path: Path, keyword: str, syntax: str, vr: str, bits: int) -> None:
    frames = noise(3)
    table = lut(TABLE, vr=vr, bits=bits, big=syntax == uid.ExplicitVRBigEndian)
    window = ("WindowCenter", "WindowWidth") if keyword == "VOILUTSequence" else ()
    write_cine(tmp_path / "a.dcm", frames, syntax=syntax, without=window, **{keyword: table})
    cine = read_cine(tmp_path / "a.dcm", size=SIZE)
    np.testing.assert_array_equal(cine.acquisition.display.apply(cine.frames), 255 - frames)
