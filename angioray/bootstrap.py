"""Uncertainty by resampling patients: frames of one patient are not independent of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from angioray.evaluate import Ratio, average_precision, f1_macro
from angioray.matching import FloatArray, IntArray, Matches

RESAMPLES = 1000
AVERAGE_PRECISION_RESAMPLES = 200
"""Average precision has to be sorted and summed anew for each resample; this many suffice."""

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampling:
    """Draws of patients with replacement, as the number of times that each patient was drawn.

    A metric is computed from what each patient contributes to it, so a thousand resamples are one
    product of matrices. Resamples where a metric is undefined are left out of its interval.
    """

    patient: IntArray
    """int[N]: the patient of each frame, 0 to P - 1."""
    draws: FloatArray
    """float[R, P]; rows sum to P."""

    @classmethod
    def of(
        cls, patient_ids: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
    ) -> Resampling:
        """Draw resamples for frames of these patients; the same seed gives the same draws."""
        known, patient = np.unique(np.asarray(patient_ids, dtype=str), return_inverse=True)
        patients = max(len(known), 1)
        random = np.random.default_rng(seed)
        draws = random.multinomial(patients, np.full(patients, 1 / patients), size=resamples)
        return cls(patient=patient, draws=draws.astype(float))

    @property
    def patients(self) -> int:
        """How many patients there are to draw from."""
        return int(self.draws.shape[1])

    def ratio(self, ratio: Ratio) -> Interval | None:
        """The 95 % interval of one count over another."""
        below = self.draws @ self._per_patient(ratio.denominator)
        above = self.draws @ self._per_patient(ratio.numerator)
        return self._interval(above[below > 0] / below[below > 0])

    def mean(self, values: FloatArray) -> Interval | None:
        """The 95 % interval of the mean over frames of ``values`` (float[N])."""
        return self.ratio(Ratio(numerator=values, denominator=np.ones(len(values))))

    def f1_macro(self, truth: IntArray, predicted: IntArray, classes: int) -> Interval | None:
        """The 95 % interval of the mean F1 over classes; class indices int[N] of each frame."""
        per_patient = np.zeros((self.patients, classes, classes))
        np.add.at(per_patient, (self.patient, truth, predicted), 1)
        confusions = (self.draws @ per_patient.reshape(self.patients, -1)).reshape(
            -1, classes, classes
        )
        return self._interval(f1_macro(confusions))

    def average_precision(self, matches: Matches) -> Interval | None:
        """The 95 % interval of average precision, from the first 200 resamples."""
        values = [
            average_precision(matches, weights=draw[self.patient])
            for draw in self.draws[:AVERAGE_PRECISION_RESAMPLES]
        ]
        return self._interval(np.array([value for value in values if value is not None]))

    def _per_patient(self, per_frame: FloatArray) -> FloatArray:
        return np.bincount(self.patient, per_frame, minlength=self.patients).astype(float)

    def _interval(self, values: NDArray[np.floating]) -> Interval | None:
        """Percentiles 2.5 and 97.5; None where one patient or no value says nothing."""
        if self.patients < 2 or not len(values):
            return None
        low, high = np.percentile(values, [2.5, 97.5])
        return float(low), float(high)
