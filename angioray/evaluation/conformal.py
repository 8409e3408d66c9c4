"""A score threshold that guarantees a sensitivity, by conformal risk control.

Angelopoulos et al. 2024, "Conformal Risk Control", ICLR (doi:10.48550/arXiv.2208.02814). The loss
of a patient at a threshold is the share of the patient's lesions that no kept box finds: 0 to 1,
and never less at a higher threshold, for matching is greedy (:meth:`Matches.kept`). If one detector
that was trained on others judges n patients and a new one, and any order of these n + 1 is equally
likely, the expected loss of the new patient is at most the chosen share at the highest threshold
where ``(n * mean loss + 1) / (n + 1)`` is.

The theorem is about patients, so frames of one patient may be as alike as they are. It is about
patients with a lesion, for others have no share. It holds on average over patients, those that set
the threshold included. Some sets of patients allow no threshold; they enter this average with a
loss of 0. Where many sets allow none, the others miss more than the chosen share. The theorem is
about one detector: those of several folds have scores of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from angioray.evaluation.matching import FloatArray, IntArray, Matches

_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundScores:
    """The lesions of patients, and the score of the box that finds each."""

    patient: IntArray
    """int[L]: the patient of each lesion, 0 to n - 1; every patient has a lesion."""
    score: FloatArray
    """float[L]: -inf where no box finds the lesion. Any box that counts at a threshold finds what
    it finds at all others, so that the lesion is missed above this score and nowhere else."""

    @classmethod
    def of(cls, matches: Matches, patient_ids: Sequence[str]) -> FoundScores:
        """Those of matched frames.

        Args:
            matches: of any score, at as many boxes per frame as will be kept.
            patient_ids: the patient of each frame, in the order of ``frame_image_id``.
        """
        frame = np.repeat(np.arange(len(matches.frame_truths)), matches.frame_truths)
        first = np.cumsum(matches.frame_truths) - matches.frame_truths
        score = np.full(len(frame), -np.inf)
        right = matches.is_true_positive
        found = first[matches.frame_position[right]] + matches.truth_index[right]
        score[found] = matches.score[right]
        _, patient = np.unique(np.asarray(patient_ids, dtype=str)[frame], return_inverse=True)
        return cls(patient=patient, score=score)

    @property
    def patients(self) -> int:
        """How many there are."""
        return len(np.unique(self.patient))

    def guarantee(self, missed_at_most: float) -> Guarantee:
        """The highest threshold at which no more than this share is missed, 0 to 1, exclusive."""
        n = self.patients
        # Each patient weighs alike, whatever the number of their lesions.
        weight = 1 / np.bincount(self.patient)[self.patient]
        score, of_score = np.unique(-self.score, return_inverse=True)
        missed = n - np.cumsum(np.bincount(of_score, weight, minlength=len(score)))
        missed, score = missed[score < np.inf], -score[score < np.inf]
        (kept,) = np.nonzero((missed + 1) / (n + 1) <= missed_at_most + _ROUNDING)
        return Guarantee(
            missed_at_most=missed_at_most,
            patients=n,
            score=float(np.nextafter(score[kept[0]], -np.inf)) if len(kept) else None,
            missed_at_any_score=max(0.0, float(missed[-1]) / n) if len(missed) else 1.0,
        )


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """What n patients allow to promise of the next one."""

    missed_at_most: float
    """The share of a new patient's lesions that may be missed, on average."""
    patients: int
    score: float | None
    """Boxes count if their score is greater; a lower threshold keeps the promise. None where no
    threshold does."""
    missed_at_any_score: float
    """The mean loss of these patients where every box counts; 1 where there are none."""

    @property
    def reason(self) -> str:
        """Why no threshold keeps the promise, in words; empty where one does."""
        if self.score is not None:
            return ""
        for_any = _patients_needed(self.missed_at_most)
        if self.patients < for_any:
            return f"too few patients: {self.patients}, needs at least {for_any}"
        spare = self.missed_at_most - self.missed_at_any_score
        if spare <= _ROUNDING:
            missed = f"{self.missed_at_any_score:.2f}"
            return f"boxes of any score miss {missed} here: more patients would not help"
        needed = _patients_needed(self.missed_at_most, self.missed_at_any_score)
        return f"too few patients: {self.patients}, needs at least {needed} for this detector"


def _patients_needed(missed_at_most: float, at_any_score: float = 0.0) -> int:
    """The smallest n with ``(n * at_any_score + 1) / (n + 1) <= missed_at_most``."""
    return math.ceil((1 - missed_at_most) / (missed_at_most - at_any_score) - _ROUNDING)
