"""Measures: metrics that are computed from sums over frames, for any draw of patients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

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
FEWEST_PATIENTS = 8
"""With fewer, intervals hold the true value less often than they say: none is given."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the intervals of a measure and of its differences keep to, whatever the data."""

    limits: Limits = UNLIMITED
    """The least and the greatest value that it can have."""
    fewest_patients: int = FEWEST_PATIENTS
    """For an interval."""
    biased: bool = False
    """Whether it is so much higher on few patients than on many that no interval is honest."""
    compares_patients: bool = False
    """With each other, so that each of them counts."""


SHARES = Rules(limits=SHARE)
COUNTS = Rules(limits=(0.0, math.inf), fewest_patients=20)
"""Per frame or sequence: a few patients may make them."""
LOSSES = Rules(limits=(0.0, math.inf), fewest_patients=40)


class Measure(Protocol):
    """A metric whose value depends on sums over frames alone."""

    @property
    def rules(self) -> Rules:
        """What its intervals keep to."""
        ...

    def values(self, draws: Draws) -> FloatArray:
        """float[R]: the metric in each draw; NaN where it is undefined."""
        ...


def value(measure: Measure, frames: int) -> float | None:
    """A measure over all of its frames, each counted once; None where it is undefined."""
    (found,) = measure.values(Draws.once(frames))
    return None if np.isnan(found) else float(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ratio:
    """One sum over another; undefined where there is nothing to divide by."""

    numerator: FloatArray
    """float[N], one per frame."""
    denominator: FloatArray
    """float[N]."""
    rules: Rules = SHARES

    @property
    def value(self) -> float | None:
        """The ratio over all frames; None where there is nothing to divide by."""
        return value(self, len(self.numerator))

    def values(self, draws: Draws) -> FloatArray:
        """Numerator over denominator."""
        return divided(draws.sums(self.numerator), draws.sums(self.denominator))


@dataclass(frozen=True, eq=False)
class MeanOf:
    """The mean of several measures of one kind and of the same frames.

    Undefined where one of them is.
    """

    parts: Sequence[Measure]

    @property
    def rules(self) -> Rules:
        """Those of its parts, which are alike."""
        return self.parts[0].rules

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
