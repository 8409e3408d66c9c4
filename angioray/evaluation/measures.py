"""Measures: metrics that are computed from sums over frames, for any draw of patients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from angioray.evaluation.matching import FloatArray, IntArray

Metrics = dict[str, float | None]
"""Values by name; None where a metric is undefined, which never enters a mean."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """N frames in G groups, and how often each group counts in each of R draws.

    Sums over frames are taken once per group and then for all draws in one product of matrices.
    """

    group: IntArray
    """int[N], 0 to G - 1."""
    weights: FloatArray
    """float[R, G]."""

    @classmethod
    def once(cls, frames: int) -> Draws:
        """One draw in which every frame counts once."""
        return cls(group=np.zeros(frames, dtype=np.int64), weights=np.ones((1, 1)))

    def sums(self, per_frame: FloatArray) -> FloatArray:
        """float[R]: the sum over frames of ``per_frame`` (float[N]) in each draw."""
        groups = self.weights.shape[1]
        total: FloatArray = self.weights @ np.bincount(self.group, per_frame, minlength=groups)
        return total

    def table(
        self, frame: IntArray, column: IntArray, columns: int, amount: FloatArray | None = None
    ) -> FloatArray:
        """float[R, columns]: what M events add up to in each column of each draw.

        Args:
            frame: int[M], the position of each event's frame, 0 to N - 1.
            column: int[M].
            columns: how many there are.
            amount: float[M]; 1 each if None.
        """
        groups = self.weights.shape[1]
        cell = self.group[frame] * columns + column
        flat = np.bincount(cell, amount, minlength=groups * columns).astype(float)
        total: FloatArray = self.weights @ flat.reshape(groups, columns)
        return total


Limits = tuple[float, float]
SHARE: Limits = (0.0, 1.0)
UNLIMITED: Limits = (-math.inf, math.inf)
Bias = Literal["none", "counted", "too great"]
"""Whether a metric is higher on few patients than on many: so little that the standard error
counts it, or so much that no interval is honest."""


class Measure(Protocol):
    """A metric whose value depends on sums over frames alone.

    Its interval follows what it may say of itself: its ``limits``, the least and the greatest value
    that it can have (:data:`UNLIMITED` without); its ``bias`` on few patients (:data:`Bias`); the
    ``fewest_patients`` for an interval; that it ``compares_patients`` with each other, so that
    each of them counts.
    """

    def values(self, draws: Draws) -> FloatArray:
        """float[R]: the metric in each draw; NaN where it is undefined."""
        ...


def value(measure: Measure, frames: int) -> float | None:
    """A measure over all of its frames, each counted once; None where it is undefined."""
    (found,) = measure.values(Draws.once(frames))
    return None if np.isnan(found) else float(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ratio:
    """One count over another; undefined where there is nothing to divide by."""

    numerator: FloatArray
    """float[N], one per frame."""
    denominator: FloatArray
    """float[N]."""

    @property
    def limits(self) -> Limits:
        """A share where no frame has more above than below."""
        if (self.numerator < 0).any():
            return UNLIMITED
        return SHARE if (self.numerator <= self.denominator).all() else (0.0, math.inf)

    @property
    def value(self) -> float | None:
        """The ratio over all frames; None where there is nothing to divide by."""
        return value(self, len(self.numerator))

    def values(self, draws: Draws) -> FloatArray:
        """Numerator over denominator."""
        return divided(draws.sums(self.numerator), draws.sums(self.denominator))


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanLoss(Ratio):
    """The mean of losses over frames: any number from 0 on, and a few patients may make it."""

    fewest_patients = 40

    @property
    def limits(self) -> Limits:
        """Without an upper one."""
        return 0.0, math.inf


@dataclass(frozen=True, eq=False)
class MeanOf:
    """The mean of several shares of the same frames; undefined where one of them is."""

    parts: Sequence[Measure]
    limits = SHARE

    @property
    def bias(self) -> Bias:
        """That of its parts, which are alike."""
        found: Bias = getattr(self.parts[0], "bias", "none")
        return found

    def values(self, draws: Draws) -> FloatArray:
        """The mean of the parts' values."""
        means: FloatArray = np.mean([part.values(draws) for part in self.parts], axis=0)
        return means


def means(tables: Sequence[Mapping[str, Measure]]) -> dict[str, Measure]:
    """By name, the mean of the measures of several models on the same frames."""
    if len(tables) == 1:
        return dict(tables[0])
    names = [name for name in tables[0] if all(name in table for table in tables)]
    return {name: MeanOf([table[name] for table in tables]) for name in names}


def divided(above: FloatArray, below: FloatArray) -> FloatArray:
    """``above / below``, NaN where there is nothing to divide by."""
    quotient: FloatArray = np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)
    return quotient
