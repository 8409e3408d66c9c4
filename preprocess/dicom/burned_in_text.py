"""Text that is burned into pixels, as far as its strokes tell: a doubt for a person, no verdict.

What a console writes over the pictures stands in the same place of every frame, its strokes are
thin, and it steps from dark to bright within a pixel or two. Arteries move, and X-rays blur.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.cohort.display import Display

LOOKED_AT = 8
"""Frames of a cine that are compared, evenly spaced."""
STROKE_PX = 9
"""A stroke is thinner than this."""
KERNEL = np.ones((STROKE_PX, STROKE_PX), np.uint8)
LEAST_STEP = 48
"""Grey levels between a stroke and what is beside it."""
CHARACTER_PX = (5, 48)
"""Height of a character; the larger is its greatest width as well."""
FEWEST_STROKE_PIXELS = 6
FEWEST_CHARACTERS = 4
"""In a row; fewer stand side by side by accident."""
MOST_MARKS = 1000
"""More of them are noise, no text."""


class _Mark(NamedTuple):
    """The rectangle around a connected piece of strokes: perhaps a character."""

    x: int
    y: int
    width: int
    height: int


def holds_text(frames: NDArray[np.unsignedinteger[Any]], display: Display) -> bool:
    """Whether a cine (uint8 or uint16 [T, H, W]) may have text in its pixels."""
    length = len(frames)
    chosen = frames[np.linspace(0, length - 1, min(length, LOOKED_AT)).round().astype(int)]
    # A grey scale rises or falls, so that the extremes may be taken before it, which is faster.
    extremes = display.apply(np.stack([chosen.min(axis=0), chosen.max(axis=0)]))
    # Bright strokes that stay are bright in the darkest of all frames, dark ones in the brightest.
    for still, kind in (
        (extremes.min(axis=0), cv2.MORPH_TOPHAT),
        (extremes.max(axis=0), cv2.MORPH_BLACKHAT),
    ):
        strokes = cv2.morphologyEx(still, kind, KERNEL) >= LEAST_STEP
        if np.count_nonzero(strokes) < FEWEST_CHARACTERS * FEWEST_STROKE_PIXELS:
            continue
        if _has_row(_marks(strokes)):
            return True
    return False


def _marks(strokes: NDArray[np.bool_]) -> list[_Mark]:
    """The pieces of strokes that have the size of a character, from left to right."""
    rows, columns = (np.flatnonzero(strokes.any(axis=axis)) for axis in (1, 0))
    # Most pictures have few strokes, close together; the rest would take most of the time.
    part = strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8)
    # Characters of small type touch at their corners.
    _, _, boxes, _ = cv2.connectedComponentsWithStats(part, connectivity=4)
    lowest, highest = CHARACTER_PX
    fits = (boxes[:, cv2.CC_STAT_HEIGHT] >= lowest) & (boxes[:, cv2.CC_STAT_HEIGHT] <= highest)
    fits &= boxes[:, cv2.CC_STAT_WIDTH] <= highest
    fits &= boxes[:, cv2.CC_STAT_AREA] >= FEWEST_STROKE_PIXELS
    fits[0] = False  # what is no stroke
    return sorted(_Mark(*box) for box in boxes[fits, : cv2.CC_STAT_AREA].tolist())


def _has_row(marks: list[_Mark]) -> bool:
    """Whether marks of one height stand side by side on a line, as characters do."""
    if len(marks) > MOST_MARKS:
        return False
    in_row = [1] * len(marks)
    for i, mark in enumerate(marks):
        for j in range(i - 1, -1, -1):
            before = marks[j]
            if mark.x - before.x > 2 * CHARACTER_PX[1]:
                break
            if _is_next(before, mark):
                in_row[i] = max(in_row[i], in_row[j] + 1)
    return max(in_row, default=0) >= FEWEST_CHARACTERS


def _is_next(before: _Mark, mark: _Mark) -> bool:
    """Whether a character may follow another: alike in height, on one line, and close."""
    lower, higher = sorted((before.height, mark.height))
    gap = mark.x - (before.x + before.width)
    drop = abs(mark.y + mark.height - before.y - before.height)
    return -1 <= gap <= higher and drop <= 0.2 * higher and lower >= 0.6 * higher
