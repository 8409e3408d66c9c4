"""Calibration: the share of right boxes, or right views, among those of about the same score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from angioray.evaluation.matching import BoolArray, FloatArray, IntArray
from angioray.evaluation.measures import SHARES, Draws, Rules, divided

BINS = 10
"""Bins of equal width between 0 and 1; a score of exactly k / 10 lies in the bin above it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationError:
    """Expected calibration error (Guo et al. 2017, arXiv 1706.04599), 0 to 1, 0 at best.

    The mean distance, over bins and weighted by how many answers lie in each, between the answers'
    mean confidence and the share of them that are right. Undefined without answers.
    """

    frame: IntArray
    """int[M]: the position of each answer's frame."""
    confidence: FloatArray
    """float[M], 0 to 1."""
    right: BoolArray
    """bool[M]."""
    rules: ClassVar[Rules] = replace(SHARES, biased=True)
    """On few answers bins miss their confidence by chance."""

    def values(self, draws: Draws) -> FloatArray:
        """The error of each draw."""
        place = bin_of(self.confidence)
        said = draws.table(self.frame, place, BINS, self.confidence)
        true = draws.table(self.frame, place, BINS, self.right.astype(float))
        answers = draws.table(self.frame, place, BINS).sum(axis=1)
        return divided(np.abs(said - true).sum(axis=1), answers)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """The bins of a reliability diagram that hold anything."""

    confidence: FloatArray
    """float[B]: the mean in each bin."""
    share_right: FloatArray
    """float[B]."""
    answers: IntArray
    """int[B]."""

    @classmethod
    def of(cls, confidence: FloatArray, right: BoolArray) -> Reliability:
        """Bin M answers by their confidence."""
        place = bin_of(confidence)
        answers = np.bincount(place, minlength=BINS)
        filled = answers > 0
        sums = [np.bincount(place, amount, minlength=BINS) for amount in (confidence, right)]
        means = [total[filled] / answers[filled] for total in sums]
        return cls(confidence=means[0], share_right=means[1], answers=answers[filled])


def bin_of(confidence: FloatArray) -> IntArray:
    """int[M]: the bin of each confidence; 1 lies in the last."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
