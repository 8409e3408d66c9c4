"""Text in the pixels is suspected where it stands, and not where arteries, wires or noise are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from preprocess.cohort.display import Display
from preprocess.dicom.burned_in_text import holds_text
from preprocess.dicom.reader import read_cine

REAL = Path(os.environ.get("ANGIORAY_REAL_DATA", Path(__file__).parents[4] / "shared" / "data"))
SIZE = 256
AS_IT_IS = Display(lower=0, upper=255)


def cine(length: int = 8) -> np.ndarray:
    """A bright field with a beating artery, a still wire, a shutter's edge, and noise."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    frames = []
    for t in range(length):
        frame = 150 + 40 * np.sin(3 * x) * np.cos(2 * y)
        artery = np.abs(y - 0.5 - 0.2 * np.sin(6 * x + 0.3 * t)) < 0.015
        wire = np.abs(x - 0.7 - 0.03 * np.sin(40 * y)) < 0.006
        frame = np.where(artery, 70, np.where(wire, 40, frame))
        frame = cv2.GaussianBlur(frame, (0, 0), 1.2)
        frame[:, :12] = 0
        frames.append(np.clip(frame + generator.normal(0, 8, frame.shape), 0, 255))
    return np.stack(frames).astype(np.uint8)


def written(
    frames: np.ndarray, height_px: int, at: tuple[int, int], grey: int, text: str = "DOE^JANE 1950"
) -> np.ndarray:
    """The frames with a line of text of that height at (x, y), its lower left corner."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    scale = cv2.getFontScaleFromHeight(font, height_px, 1)
    marked = frames.copy()
    for frame in marked:
        cv2.putText(frame, text, at, font, scale, grey, 1, cv2.LINE_AA)
    return marked


def test_a_cine_without_text_gives_no_doubt() -> None:
    assert not holds_text(cine(), AS_IT_IS)
    assert not holds_text(cine(1), AS_IT_IS)


@pytest.mark.parametrize("length", [1, 8, 20])
@pytest.mark.parametrize("grey", [255, 0])
@pytest.mark.parametrize("height_px", [10, 14, 20])
@pytest.mark.parametrize("at", [(20, 30), (60, 245), (30, 120)], ids=["top", "bottom", "middle"])
def test_text_is_suspected(length: int, grey: int, height_px: int, at: tuple[int, int]) -> None:
    assert holds_text(written(cine(length), height_px, at, grey), AS_IT_IS)


@pytest.mark.parametrize("inverted", [False, True])
def test_it_is_looked_for_in_the_pictures_not_in_stored_values(inverted: bool) -> None:
    stored = written(cine(), 14, (20, 30), 255).astype(np.uint16) * 16
    display = Display(lower=0, upper=4080, inverted=inverted)
    assert holds_text(stored, display)
    assert not holds_text(cine().astype(np.uint16) * 16, display)


@pytest.mark.parametrize("length", [1, 8])
def test_noise_is_no_text(length: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (length, SIZE, SIZE)).astype(np.uint8)
    assert not holds_text(frames, AS_IT_IS)


def test_frames_of_any_size_are_looked_at() -> None:
    for shape in ((1, 1, 1), (3, 5, 2), (2, 9, 700)):
        assert not holds_text(np.zeros(shape, np.uint8), AS_IT_IS)


@pytest.mark.skipif(
    not (REAL / "xa_dicom").is_dir(),
    reason="the real data are not on this machine (set ANGIORAY_REAL_DATA to their folder)",
)
@pytest.mark.parametrize(
    "name", ["philips_lca_75f_jpegbaseline.dcm", "rubo_0002_rca_96f_jpegbaseline.dcm"]
)
def test_real_cines_give_no_doubt_until_something_is_written_on_them(name: str) -> None:
    real: Any = read_cine(REAL / "xa_dicom" / name)
    assert not real.acquisition.may_hold_text
    pictures = real.acquisition.display.apply(real.frames)
    assert holds_text(written(pictures, 12, (20, 30), 255), AS_IT_IS)
