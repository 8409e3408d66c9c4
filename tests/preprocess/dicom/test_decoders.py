"""Which decoder is taken, and what happens where the fast ones are not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import uid

from preprocess.dicom import decoders
from preprocess.dicom.acceptance import Rejection
from preprocess.dicom.decoders import COMPRESSED, COPYLEFT_PLUGINS, NATIVE, decoder_name
from preprocess.dicom.reader import read_cine
from tests.preprocess.tiny_archive import SIZE, noise, write_cine

FALLBACK = [uid.RLELossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless]


def test_every_syntax_has_a_decoder() -> None:
    assert {decoder_name(syntax) for syntax in COMPRESSED} == {"imagecodecs"}
    assert {decoder_name(syntax) for syntax in NATIVE} == {"numpy"}
    assert decoder_name("1.2.3") == ""


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("syntax", FALLBACK, ids=lambda syntax: uid.UID(syntax).keyword)
def test_without_the_fast_ones_pydicoms_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str, bits: int
) -> None:
    frames = noise(3, bits=bits)
    write_cine(tmp_path / "a.dcm", frames, syntax=syntax, bits=bits)
    monkeypatch.setattr(decoders, "frame_decoders", dict)
    assert decoder_name(syntax).startswith("pydicom with ")
    np.testing.assert_array_equal(read_cine(tmp_path / "a.dcm", size=SIZE).frames, frames)


def test_a_plugin_on_copyleft_code_is_never_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnlyCopyleft:
        available_plugins = COPYLEFT_PLUGINS

        def as_array(self, *_: object, **__: object) -> None:
            raise AssertionError("it was called")

    write_cine(tmp_path / "a.dcm", noise(1), syntax=uid.JPEGLosslessSV1)
    monkeypatch.setattr(decoders, "frame_decoders", dict)
    monkeypatch.setattr(decoders, "get_decoder", lambda _: OnlyCopyleft())
    assert decoder_name(uid.JPEGLosslessSV1) == ""
    with pytest.raises(Rejection, match=r"no installed decoder .*JPEGLosslessSV1"):
        read_cine(tmp_path / "a.dcm", size=SIZE)
