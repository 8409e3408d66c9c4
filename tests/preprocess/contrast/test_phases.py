"""Phase bounds from curves whose answer is known, and from drawn passages."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from preprocess.contrast.filling import Filling, measure_filling
from preprocess.contrast.phases import CONTRAST, ONE_LINE, fit_rise, phase_bounds, quiet_frame
from tests.preprocess.drawn_passage import passage


def filling(share: np.ndarray, clarity: np.ndarray | None = None) -> Filling:
    """A filling whose clarity tells contrast wherever its share does."""
    clarity = np.where(share > 0.1, 4.0, 1.5) if clarity is None else clarity
    return Filling(share, clarity, share, line=0.3)


def trapezoid(length: int, start: int, full: int, falls: int, gone: int) -> np.ndarray:
    """0 before ``start``, 1 from ``full`` on, less than 1 from ``falls`` and 0 from ``gone`` on."""
    t = np.arange(length)
    rise = np.clip((t - start + 1) / (full - start + 1), 0, 1)
    fall = np.clip((gone - t) / (gone - falls + 1), 0, 1)
    return rise * fall


def test_the_bends_are_found_and_doubtful_frames_are_left_out() -> None:
    # A rise of 8 frames, 6 to 13: a quarter of it is left out of the optimal interval, and one
    # frame before it is not called bare. Of the fall, 40 to 47, a quarter would leave out 38 and
    # 39; but a filling of 0.85 is not plainly less: over five frames it is in 40 still
    # (1 + 1 + 8/9 + 7/9 + 6/9) / 5 = 0.87, and in 41 (1 + 8/9 + 7/9 + 6/9 + 5/9) / 5 = 0.78.
    assert phase_bounds(filling(trapezoid(60, 6, 13, 40, 47))) == (5, 15, 41)


def test_contrast_from_the_first_frame_that_never_vanishes() -> None:
    share = 0.8 + 0.1 * np.sin(np.arange(50))
    assert phase_bounds(filling(share)) == (0, 0, 50)


def test_contrast_that_never_vanishes() -> None:
    assert phase_bounds(filling(trapezoid(60, 6, 13, 90, 99))) == (5, 15, 60)


def test_a_beginning_that_is_not_bare_gives_no_negatives() -> None:
    share = 0.6 + 0.4 * trapezoid(60, 6, 13, 90, 99)
    assert phase_bounds(filling(share, np.where(share > 0.7, 4.0, 1.5))) == (0, 15, 60)
    share = trapezoid(60, 6, 13, 90, 99)
    assert phase_bounds(filling(share, np.full(60, 4.0))) == (0, 15, 60)
    assert phase_bounds(filling(trapezoid(60, 3, 10, 90, 99))) == (0, 12, 60)


@pytest.mark.parametrize("length", [8, 20])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_catheter_that_the_heart_moves_is_no_filled_artery(length: int, seed: int) -> None:
    frames = passage(length, comes=90, full=99, seed=seed)
    along = np.linspace(0, 1, 40)
    for t, frame in enumerate(frames):
        beat = 13 * np.sin(2 * np.pi * t / 9)
        x = 128 + 30 * np.sin(3 * along) + beat * along
        points = np.rint(8 * np.stack([x, 150 * along + beat * along], axis=1)).astype(np.int32)
        cv2.polylines(frame, [points], False, 60, 3, cv2.LINE_AA, 3)
    found = measure_filling(frames)
    assert np.quantile(found.clarity, 0.9) > CONTRAST
    assert found.line > ONE_LINE
    assert phase_bounds(found) is None
    assert phase_bounds(found, reference_frame=3) is not None  # a reader saw contrast there


def test_no_contrast_no_bounds() -> None:
    share = trapezoid(60, 6, 13, 40, 47)
    assert phase_bounds(filling(share, np.full(60, 1.8))) is None


@pytest.mark.parametrize("length", [1, 2, 3])
def test_too_few_frames(length: int) -> None:
    assert phase_bounds(filling(np.ones(length))) is None


@pytest.mark.parametrize("reference", [0, 8, 14, 20, 39, 45, 59])
def test_the_optimal_interval_holds_a_given_reference_frame(reference: int) -> None:
    bounds = phase_bounds(filling(trapezoid(60, 6, 13, 40, 47)), reference)
    assert bounds is not None
    assert bounds[0] <= bounds[1] <= reference < bounds[2] <= 60


def test_any_curve_gives_bounds_that_a_cohort_accepts() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        length = int(rng.integers(4, 40))
        share = rng.random(length) ** rng.integers(1, 5)
        found = phase_bounds(filling(share, np.full(length, 3.0)))
        assert found is not None
        introducing, optimal, vanishing = found
        assert 0 <= introducing <= optimal < vanishing <= length
        assert optimal <= quiet_frame(filling(share), range(optimal, vanishing)) < vanishing


def test_the_fitted_rise_is_the_best_of_all() -> None:
    rng = np.random.default_rng(1)
    for length in (2, 3, 9, 17):
        curve = rng.random(length) + np.linspace(0, rng.random(), length)
        frame = np.arange(length)
        errors = {(-1, -1): float(((curve - curve.mean()) ** 2).sum())}
        levels = {}
        for start in range(length):
            for full in range(start, length):
                ramp = np.clip((frame - start + 1) / (full - start + 1), 0, 1)
                design = np.stack([np.ones(length), ramp], axis=1)
                (low, slope), *_ = np.linalg.lstsq(design, curve, rcond=None)
                if slope > 0 and np.ptp(ramp) > 0:
                    errors[start, full] = float(((curve - design @ (low, slope)) ** 2).sum())
                    levels[start, full] = low + slope * ramp[0], low + slope
        best = min(errors, key=lambda bends: errors[bends])
        rise = fit_rise(curve)
        assert (rise.start, rise.full) == best
        assert (rise.first, rise.high) == pytest.approx(levels[best])


def test_a_falling_or_level_curve_has_no_rise() -> None:
    for curve in (np.linspace(1, 0, 9), np.full(5, 0.3), np.array([0.7])):
        rise = fit_rise(curve)
        assert rise.first == pytest.approx(rise.high) == pytest.approx(curve.mean())


def test_the_quiet_frame_lies_amid_the_interval_where_nothing_moves() -> None:
    motion = np.full(40, 0.3)
    motion[[3, 12, 19, 29]] = 0.1
    still = Filling(np.ones(40), np.ones(40), motion, line=0.3)
    assert quiet_frame(still, range(10, 31)) == 19
    assert quiet_frame(still, range(10, 14)) == 12
    assert quiet_frame(still, range(5, 6)) == 5


@pytest.mark.parametrize("pan_px", [0, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_drawn_passage(pan_px: float, seed: int) -> None:
    bounds = phase_bounds(measure_filling(passage(pan_px=pan_px, seed=seed)))
    assert bounds is not None
    introducing, optimal, vanishing = bounds
    assert 6 <= introducing <= 10
    assert 15 <= optimal <= 20
    assert 26 <= vanishing <= 33


def test_drawn_passages_that_are_cut_off() -> None:
    late = phase_bounds(measure_filling(passage(comes=-20, full=-10)))
    assert late is not None
    assert late[:2] == (0, 0)
    assert 26 <= late[2] <= 33
    early = phase_bounds(measure_filling(passage(goes=90, gone=99)))
    assert early is not None
    assert early[2] == 40
    assert phase_bounds(measure_filling(passage(comes=90, full=99))) is None
