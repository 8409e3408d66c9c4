"""Intervals by resampling patients, for frames of one patient are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from angioray.evaluation.matching import FloatArray
from angioray.evaluation.measures import Draws, Measure, value

RESAMPLES = 1000

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much more one measure gives than another, on the same frames."""

    value: float | None
    """Over all frames."""
    ci95: Interval | None
    """Bootstrap over patients, both measures seeing the same patients in each draw."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampling:
    """Draws of patients with replacement, as the number of times that each patient was drawn.

    Draws in which a metric is undefined are left out of its interval.
    """

    draws: Draws

    @classmethod
    def of(
        cls, patient_ids: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
    ) -> Resampling:
        """Draw resamples for frames of these patients; the same seed gives the same draws."""
        known, patient = np.unique(np.asarray(patient_ids, dtype=str), return_inverse=True)
        patients = max(len(known), 1)
        random = np.random.default_rng(seed)
        drawn = random.multinomial(patients, np.full(patients, 1 / patients), size=resamples)
        return cls(draws=Draws(group=patient, weights=drawn.astype(float)))

    @property
    def patients(self) -> int:
        """How many patients there are to draw from."""
        return int(self.draws.weights.shape[1])

    def interval(self, measure: Measure) -> Interval | None:
        """The 95 % interval of a measure; None where one patient or no draw says anything."""
        return self._percentiles(measure.values(self.draws))

    def difference(self, measure: Measure, other: Measure) -> Difference:
        """``measure - other`` and its interval; both are of the same frames in the same order."""
        frames = len(self.draws.group)
        whole = [value(each, frames) for each in (measure, other)]
        apart = measure.values(self.draws) - other.values(self.draws)
        return Difference(
            value=None if whole[0] is None or whole[1] is None else whole[0] - whole[1],
            ci95=self._percentiles(apart),
        )

    def _percentiles(self, values: FloatArray) -> Interval | None:
        defined = values[~np.isnan(values)]
        if self.patients < 2 or not len(defined):
            return None
        low, high = np.percentile(defined, [2.5, 97.5])
        return float(low), float(high)
