"""The likeness of each place of a frame to the picture that a reader boxed.

Likeness is the correlation of two pictures under a Gaussian window that reaches beyond the box,
each freed of its mean and contrast there (normalised cross-correlation; Lewis 1995), because
the vessel around a stenosis is more distinctive than the stenosis. The boxed picture may also be
turned a little, as the beating heart does to the artery; the highest likeness is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.tracking.boxes import BoxXyxy, centre
from preprocess.tracking.pictures import Picture

REACH = 2.5
"""Half the window's side, in standard deviations."""
ANGLES_DEG = (-15, 15)
CHANGE_COST = 0.02
"""Likeness that a turned form loses against the form as it was drawn."""
MIN_SIGMA = 1.5
"""Pixels: the least window that has anything in it."""
FLAT = 1e-2
"""The least contrast (standard deviation) that is divided by."""


class Template:
    """The picture in and around one box.

    Args:
        picture: float32[H, W].
        box_xyxy: in its pixels.
        window: the Gaussian's standard deviation as a share of the box's sides.
        least: the least standard deviation, in pixels: little is distinctive around a small box.
        angles_deg: by which the picture is turned besides.
    """

    def __init__(
        self,
        picture: Picture,
        box_xyxy: BoxXyxy,
        *,
        window: float,
        least: float = MIN_SIGMA,
        angles_deg: Sequence[float] = ANGLES_DEG,
    ):
        x1, y1, x2, y2 = box_xyxy
        self._row = _gaussian(max(window * (x2 - x1), least))
        self._column = _gaussian(max(window * (y2 - y1), least))
        self._weights = np.outer(self._column, self._row).astype(np.float32)
        turns = [_turn(angle) for angle in (0, *angles_deg)]
        self._forms = [self._weighted(picture, centre(box_xyxy), turn) for turn in turns]

    @property
    def reach(self) -> tuple[int, int]:
        """How far the window goes from its middle, in columns and rows."""
        return len(self._row) // 2, len(self._column) // 2

    def likeness(self, picture: Picture) -> Picture:
        """-1 to 1 for the window around every pixel of ``picture`` (float32[H, W])."""
        columns, rows = self.reach
        wide = _padded(picture, 0, columns)
        # The filters continue the picture up and down themselves: a quarter less work.
        return self._compared(_padded(wide, rows, 0), self._contrast(wide))

    def likeness_within(self, picture: Picture) -> Picture:
        """As :meth:`likeness`, only where the whole window lies in ``picture``."""
        rows = self.reach[1]
        return self._compared(picture, self._contrast(picture)[rows : len(picture) - rows])

    def _contrast(self, picture: Picture) -> Picture:
        """Under the window around each pixel, without the columns that the window leaves."""

        def mean(of: Picture) -> Picture:
            found = cv2.sepFilter2D(
                of, cv2.CV_32F, self._row, self._column, borderType=cv2.BORDER_REPLICATE
            )
            columns = self.reach[0]
            return np.asarray(found[:, columns : picture.shape[1] - columns], np.float32)

        variance = mean(picture * picture) - mean(picture) ** 2
        return np.asarray(np.sqrt(np.maximum(variance, FLAT**2)), np.float32)

    def _compared(self, picture: Picture, contrast: Picture) -> Picture:
        drawn, *changed = (cv2.matchTemplate(picture, f, cv2.TM_CCORR) for f in self._forms)
        best = reduce(
            np.maximum, (form - np.float32(CHANGE_COST) * contrast for form in changed), drawn
        )
        return np.asarray(best / contrast, np.float32)

    def _weighted(
        self, picture: Picture, middle: tuple[float, float], turn: NDArray[np.float64]
    ) -> Picture:
        columns, rows = self.reach
        to_source = np.linalg.inv(turn)
        shift = np.asarray(middle) - to_source @ np.asarray((columns, rows))
        cut = cv2.warpAffine(
            picture,
            np.column_stack([to_source, shift]),
            (2 * columns + 1, 2 * rows + 1),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        cut = cut - (self._weights * cut).sum()
        contrast = np.sqrt(max(float((self._weights * cut * cut).sum()), FLAT**2))
        return np.asarray(self._weights * cut / contrast, np.float32)


def _padded(picture: Picture, rows: int, columns: int) -> Picture:
    padded = cv2.copyMakeBorder(picture, rows, rows, columns, columns, cv2.BORDER_REPLICATE)
    return np.asarray(padded, np.float32)


def _gaussian(sigma: float) -> NDArray[np.float64]:
    half = int(np.ceil(REACH * sigma))
    weights = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return np.asarray(weights / weights.sum(), np.float64)


def _turn(angle_deg: float) -> NDArray[np.float64]:
    angle = np.deg2rad(angle_deg)
    return np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
