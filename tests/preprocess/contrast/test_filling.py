"""The filling of a drawn tree, and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest

from preprocess.contrast.filling import _line, measure_filling
from tests.preprocess.drawn_passage import passage


def bare_and_filled(share: np.ndarray) -> tuple[float, float]:
    """Means before contrast and in the plateau of an ordinary passage."""
    return float(share[:9].mean()), float(share[18:29].mean())


@pytest.mark.parametrize("pan_px", [0, 40])
def test_a_tree_fills_whether_or_not_the_table_moves(pan_px: float) -> None:
    filling = measure_filling(passage(pan_px=pan_px))
    bare, filled = bare_and_filled(filling.share)
    assert bare < 0.2 * filled
    assert filling.clarity[18:29].min() > 2
    half_way = filling.share[12:14].mean()
    assert 0.2 * filled < half_way < 0.8 * filled


def test_a_wire_and_bones_alone_fill_nothing() -> None:
    filling = measure_filling(passage(comes=90, full=99))
    assert np.quantile(filling.clarity, 0.9) < 2


def test_a_tree_is_not_one_line() -> None:
    assert measure_filling(passage(comes=-20, full=-10, goes=90, gone=99)).line < 0.4
    # A bent line of 60 places with a branch of 10, and a line of 30: the longest path is 60 of 100.
    clear = np.zeros((64, 96), dtype=bool)
    clear[40, 10:50] = clear[20:40, 49] = clear[41:51, 30] = clear[8, 10:40] = True
    assert _line(clear) == pytest.approx(0.6, abs=0.03)
    assert _line(np.zeros((64, 96), dtype=bool)) == 0


def test_exposure_and_noise_hardly_matter() -> None:
    frames = passage()
    expected = measure_filling(frames).share
    ramp = np.linspace(0.7, 1.0, len(frames))[:, None, None]
    dimmed = measure_filling((frames * ramp).astype(np.uint8)).share
    assert np.abs(dimmed - expected).max() < 0.15 * expected.max()


def test_the_size_of_the_picture_hardly_matters() -> None:
    large, small = (measure_filling(passage(size=size)).share for size in (512, 256))
    assert np.corrcoef(large, small)[0, 1] > 0.98


def test_a_collimated_rim_is_no_tree() -> None:
    frames = passage()
    expected = measure_filling(frames)
    frames[:, :30], frames[:, -25:] = 0, 0
    found = measure_filling(frames)
    assert np.corrcoef(expected.share, found.share)[0, 1] > 0.95
    assert found.clarity[:9].max() < 2


def test_motion_is_told() -> None:
    frames = passage(comes=-20, full=-10, goes=90, gone=99)
    frames[20:30] = frames[20]
    motion = measure_filling(frames).motion
    assert motion[21:29].max() < 0.01 < motion[5:15].min()


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_empty_pictures_have_no_filling(level: int, length: int) -> None:
    filling = measure_filling(np.full((length, 64, 96), level, np.uint8))
    for curve in (filling.share, filling.clarity, filling.motion):
        np.testing.assert_array_equal(curve, np.zeros(length))


@pytest.mark.parametrize("shape", [(4, 2, 2), (5, 1, 300), (9, 700, 3), (1, 40, 40), (6, 33, 57)])
def test_odd_shapes_give_finite_curves(shape: tuple[int, int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    filling = measure_filling(frames)
    for curve in (filling.share, filling.clarity, filling.motion):
        assert curve.shape == (len(frames),)
        assert np.isfinite(curve).all()
    assert filling.share.max() <= 1
