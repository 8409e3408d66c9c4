"""Likeness, against its definition."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from preprocess.tracking.template import CHANGE_COST, REACH, Template

BOX = (20.0, 24.0, 30.0, 32.0)
WINDOW = 0.5


def picture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (64, 72))
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.float32)


def weighted_correlation(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> float:
    a, b = a - (weights * a).sum(), b - (weights * b).sum()
    return float(
        (weights * a * b).sum() / np.sqrt((weights * a * a).sum() * (weights * b * b).sum())
    )


def test_likeness_is_the_weighted_correlation_at_every_place() -> None:
    seen, other = picture(), picture(1)
    template = Template(seen, BOX, window=WINDOW, angles_deg=())
    found = template.likeness(other)
    columns, rows = template.reach
    assert (columns, rows) == (np.ceil(REACH * 5.0), np.ceil(REACH * 4.0))
    x, y = np.arange(-columns, columns + 1), np.arange(-rows, rows + 1)
    weights = np.exp(-0.5 * (y[:, None] / 4.0) ** 2 - 0.5 * (x[None, :] / 5.0) ** 2)
    weights /= weights.sum()

    def around(image: np.ndarray, row: int, column: int) -> np.ndarray:
        return image[row - rows : row + rows + 1, column - columns : column + columns + 1]

    drawn = around(seen, 28, 25)
    for row, column in ((20, 20), (28, 25), (40, 50), (11, 58)):
        expected = weighted_correlation(drawn, around(other, row, column), weights)
        assert found[row, column] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("width", "height"), [(72, 64), (71, 61), (33, 40)])
def test_likeness_is_that_within_a_padded_picture_bit_for_bit(width: int, height: int) -> None:
    template = Template(picture(), BOX, window=0.9)
    columns, rows = template.reach
    seen = picture(1)[:height, :width]
    padded = cv2.copyMakeBorder(seen, rows, rows, columns, columns, cv2.BORDER_REPLICATE)
    within = template.likeness_within(np.asarray(padded, np.float32))
    assert np.array_equal(template.likeness(seen), within)


def test_brightness_and_contrast_do_not_matter() -> None:
    seen = picture()
    template = Template(seen, BOX, window=WINDOW)
    assert template.likeness(30 * seen + 120)[28, 25] == pytest.approx(1, abs=1e-3)


def test_a_turned_picture_is_recognised() -> None:
    seen = picture()
    template = Template(seen, BOX, window=WINDOW)
    turned = cv2.warpAffine(seen, cv2.getRotationMatrix2D((25, 28), 15, 1), (72, 64))
    likeness = template.likeness(np.asarray(turned, np.float32))
    assert np.unravel_index(likeness.argmax(), likeness.shape) == (28, 25)
    assert likeness[28, 25] == pytest.approx(1 - CHANGE_COST, abs=0.03)


def test_a_small_box_is_seen_with_what_is_around_it() -> None:
    assert Template(picture(), BOX, window=WINDOW, least=4.5).reach == (13, 12)


def test_a_flat_picture_resembles_nothing() -> None:
    template = Template(picture(), BOX, window=WINDOW)
    assert np.abs(template.likeness(np.full((64, 72), 90, np.float32))).max() < 1e-2
