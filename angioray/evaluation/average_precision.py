"""Average precision and FROC: metrics of boxes that are ranked by score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np

from angioray.evaluation.matching import BoolArray, FloatArray, IntArray, Matches
from angioray.evaluation.measures import SHARES, Draws, Rules, divided

RECALL_POINTS = np.linspace(0.0, 1.0, 101)
FALSE_PER_FRAME = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Where FROC curves are read (LUNA16, Setio et al. 2017, doi:10.1016/j.media.2017.06.015)."""

_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """How many lesions are found and boxes kept as the score threshold falls, in each of R draws.

    There are K thresholds, those at which something more is found. Boxes of equal score come
    together, for no threshold can tell them apart: the order of their frames decides nothing.
    """

    found: FloatArray
    """float[R, K]."""
    kept: FloatArray
    """float[R, K]."""
    lesions: FloatArray
    """float[R]."""
    frames: FloatArray
    """float[R]."""

    @classmethod
    @lru_cache(maxsize=1)  # the points of a curve are asked for in a row
    def of(cls, matches: Matches, draws: Draws) -> Ranking:
        """Rank all detections, whatever their score."""
        order = np.argsort(-matches.score, kind="stable")
        right = matches.is_true_positive[order]
        threshold, thresholds = _thresholds(matches.score[order], right)
        frame = matches.frame_position[order]
        kept = draws.table(frame, threshold, thresholds + 1)
        found = draws.table(frame[right], threshold[right], thresholds + 1)
        return cls(
            found=np.cumsum(found, axis=1)[:, :thresholds],
            kept=np.cumsum(kept, axis=1)[:, :thresholds],
            lesions=draws.sums(matches.frame_truths.astype(float)),
            frames=draws.sums(np.ones(len(matches.frame_image_id))),
        )


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """COCO's 101-point average precision: the mean of the best precision at recall 0 to 1.

    Undefined without lesions; 0 without detections.
    """

    matches: Matches
    """All detections, before any score threshold."""
    rules: ClassVar[Rules] = SHARES

    def values(self, draws: Draws) -> FloatArray:
        """The average precision of each draw."""
        ranking = Ranking.of(self.matches, draws)
        recall = ranking.found / np.where(ranking.lesions > 0, ranking.lesions, 1.0)[:, None]
        precision = ranking.found / np.maximum(ranking.kept, np.finfo(float).tiny)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        best = np.hstack([best, np.zeros((len(best), 1))])
        # A recall that no threshold reaches has no precision: the column of zeros.
        place = [np.searchsorted(row, RECALL_POINTS, side="left") for row in recall]
        means = np.take_along_axis(best, np.array(place), axis=1).mean(axis=1)
        return np.where(ranking.lesions > 0, means, np.nan)


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """FROC read at one point: the recall that is reached with so many false boxes per frame.

    That of the lowest threshold which gives no more of them on average over all frames, those
    without lesions included; nothing is interpolated. Undefined without lesions.
    """

    matches: Matches
    """All detections, before any score threshold; enough of them to make that many false ones."""
    false_per_frame: float
    rules: ClassVar[Rules] = replace(SHARES, fewest_patients=20)

    def values(self, draws: Draws) -> FloatArray:
        """The sensitivity of each draw."""
        ranking = Ranking.of(self.matches, draws)
        false = ranking.kept - ranking.found
        allowed = false <= self.false_per_frame * ranking.frames[:, None] + _ROUNDING
        found = np.where(allowed, ranking.found, 0.0).max(axis=1, initial=0.0)
        return divided(found, ranking.lesions)


def average_precision(matches: Matches) -> float | None:
    """:class:`AveragePrecision` of all frames; None without lesions."""
    (found,) = AveragePrecision(matches).values(Draws.once(len(matches.frame_image_id)))
    return None if np.isnan(found) else float(found)


def _thresholds(score: FloatArray, right: BoolArray) -> tuple[IntArray, int]:
    """The threshold at which each detection comes in (int[D]), and how many there are.

    Args:
        score: float[D], falling.
        right: bool[D]; a threshold counts only if something right comes in with it. What comes in
            after the last of them gets one more number.
    """
    new_score = np.append(True, np.diff(score) != 0)[: len(score)]
    group = np.cumsum(new_score) - 1
    groups = int(group[-1]) + 1 if len(group) else 0
    with_right = np.bincount(group[right], minlength=groups) > 0
    # Groups in which nothing is right come in with the next in which something is.
    number: IntArray = np.cumsum(with_right) - with_right
    return number[group], int(with_right.sum())
