"""The best path through a series of likeness maps, and its lead over all others.

A path's score is the likeness along it less what its steps cost (dynamic programming over all
places at once; Viterbi 1967). The cost of a step is its length on each axis, rounded up to
a power of two: so each frame needs only a few maximum filters, for any search range.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Place = tuple[int, int]
"""Row and column of a map."""

Flow = NDArray[np.int32]
"""int32[H, W]: the place in another frame, as an index of the flat map, of each place in one."""

IMPOSSIBLE = np.float32(-1e9)


def best_through(
    likeness: Sequence[Map],
    first: Place | None,
    last: Place | None,
    *,
    step_cost: float,
    longest_step: int,
    flows: Sequence[tuple[Flow, Flow]] | None = None,
) -> list[Map]:
    """For every place of every frame, the score of the best path that passes there.

    Its highest place in each frame is the best path itself; how far the rest falls behind says
    how sure that is.

    Args:
        likeness: float32[H, W] for each frame, in their order.
        first: where the path is in the frame before; None leaves it free.
        last: where it is in the frame after.
        step_cost: of a step by one place, growing with the square of its length.
        longest_step: in places, a power of two.
        flows: of each step, one more than frames, where every place was in the frame before, and
            where every place of that frame is. A step from where the flow leads costs as if
            nothing had moved.
    """
    shape = likeness[0].shape

    def step(scores: Map, number: int, direction: int) -> Map:
        if flows:
            scores = np.maximum(scores, scores.ravel()[flows[number][direction]])
        return _after_step(scores, step_cost, longest_step)

    arriving, scores = [], _clamped(first, shape)
    for index, here in enumerate(likeness):
        scores = step(scores, index, 0) + here
        arriving.append(scores)
    through: list[Map] = []
    leaving = _clamped(last, shape)
    for index in range(len(likeness) - 1, -1, -1):
        leaving = step(leaving, index + 1, 1)
        through.append(arriving[index] + leaving)
        leaving = leaving + likeness[index]
    return through[::-1]


def highest(scores: Map) -> Place:
    """The place with the highest score."""
    row, column = np.unravel_index(int(scores.argmax()), scores.shape)
    return int(row), int(column)


def lead(scores: Map, rows: int, columns: int) -> float:
    """How far the highest place is above every one more than ``rows`` or ``columns`` away.

    0 where no place is farther away: nothing is left to compare with. Where none of them can be
    reached, no number of likeness is as high.
    """
    row, column = highest(scores)
    others = scores.copy()
    top, left = max(row - rows, 0), max(column - columns, 0)
    others[top : row + rows + 1, left : column + columns + 1] = -np.inf
    second = others.max()
    return float(scores[row, column] - second) if np.isfinite(second) else 0.0


def _clamped(place: Place | None, shape: tuple[int, ...]) -> Map:
    if place is None:
        return np.zeros(shape, np.float32)
    scores = np.full(shape, IMPOSSIBLE, np.float32)
    scores[place] = 0
    return scores


def _after_step(scores: Map, step_cost: float, longest_step: int) -> Map:
    for axis in (0, 1):
        best, reached, reach = scores, scores, 1
        while reach <= longest_step:
            # A maximum filter on top of the one before reaches as far as one wide filter.
            width = 2 * max(reach // 2, 1) + 1
            reached = np.asarray(
                cv2.dilate(
                    reached,
                    np.ones((width, 1) if axis == 0 else (1, width), np.uint8),
                    borderType=cv2.BORDER_CONSTANT,
                    borderValue=float(IMPOSSIBLE),
                ),
                np.float32,
            )
            best = np.maximum(best, reached - np.float32(step_cost * reach * reach))
            reach *= 2
        scores = best
    return scores
