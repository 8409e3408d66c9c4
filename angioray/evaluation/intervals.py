"""Intervals by leaving patients out, for frames of one patient are not independent.

Every metric is computed anew without each patient in turn: the jackknife (Miller 1974,
doi:10.1093/biomet/61.1.1). Its standard error and Student's t with patients as the units give a
95 % interval for the value of the same trained models on new patients. It says nothing of another
training. ``benchmarks/intervals.py`` measures how often such intervals hold the true value.

Of many patients a block is left out at a time, and blocks are the units: the delete-a-group
jackknife (Kott 2001, Journal of Official Statistics 17:521-526). Otherwise work
would grow with the square of their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from angioray.evaluation.matching import FloatArray, IntArray
from angioray.evaluation.measures import UNLIMITED, Draws, Measure, Rules, value

BLOCKS = 200
"""At most; up to so many patients each is a block."""
LEVEL = 0.05
"""The share of intervals that may miss the true value, and of tests that may find a difference
where there is none."""

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much more one measure gives than another, on the same frames."""

    value: float | None
    """Over all frames."""
    ci95: Interval | None
    """Both measures are computed anew without the same patients."""
    error: float | None = None
    """Standard error."""
    p: float | None = None
    """Of a t-test with patients as the units, two-sided."""
    patients: int = 0
    """Those that say anything of it."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How a measure varies with its patients."""

    value: float | None
    """Over all frames; None where it is undefined."""
    error: float | None
    """Standard error; None where too few patients say anything of it."""
    patients: int
    """Those that do; above :data:`BLOCKS`, all patients of the blocks that do."""
    blocks: int
    """Those in which some patient does: the units of Student's t."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Jackknife:
    """Each block of patients left out once, and each alone."""

    draws: Draws
    """G draws: all blocks but one."""
    alone: Draws
    """G draws: one block."""
    sizes: IntArray
    """int[G]: the patients of each block, 1 up to :data:`BLOCKS` patients."""

    @classmethod
    def of(cls, patient_ids: Sequence[str]) -> Jackknife:
        """Leave patients out, given the patient of each frame; blocks are dealt like cards."""
        known, patient = np.unique(np.asarray(patient_ids, dtype=str), return_inverse=True)
        blocks = min(len(known), BLOCKS)
        one, block = np.eye(blocks), patient % blocks
        return cls(
            draws=Draws(group=block, weights=1 - one),
            alone=Draws(group=block, weights=one),
            sizes=np.bincount(np.arange(len(known)) % blocks, minlength=blocks),
        )

    @property
    def patients(self) -> int:
        """How many patients there are."""
        return int(self.sizes.sum())

    def interval(self, measure: Measure) -> Interval | None:
        """The 95 % interval of a measure; None where none is honest.

        That is so where :meth:`spread` gives no standard error, and where nothing was counted of
        what has no greatest number. The measure's limits are never exceeded.

        Raises:
            ValueError: its value lies outside its limits.
        """
        found = self.spread(measure)
        lowest, highest = measure.rules.limits
        if found.value is not None and not lowest <= found.value <= highest:
            raise ValueError(
                f"A measure is {found.value:.4g}, and its rules say {lowest:g} to {highest:g}: "
                "give it the rules of its kind, such as COUNTS (angioray/evaluation/measures.py)."
            )
        if found.value is None or found.error is None:
            return None
        t = _quantile(found.blocks)
        if highest < math.inf:
            low, high = _score_interval(
                (found.value - lowest) / (highest - lowest),
                found.error / (highest - lowest),
                found.blocks,
                t,
            )
            return lowest + low * (highest - lowest), lowest + high * (highest - lowest)
        if lowest == 0:  # as wide on the logarithm, for it is skewed
            if found.value == 0:
                return None
            factor = math.exp(t * found.error / found.value)
            return found.value / factor, found.value * factor
        return found.value - t * found.error, found.value + t * found.error

    def difference(self, measure: Measure, other: Measure) -> Difference:
        """``measure - other`` and its interval; both are of the same frames in the same order."""
        found = self.spread(_Less(measure, other))
        if found.value is None or found.error is None:
            return Difference(value=found.value, ci95=None)
        half = _quantile(found.blocks) * found.error
        return Difference(
            value=found.value,
            ci95=(found.value - half, found.value + half),
            error=found.error,
            p=_p(found.value, found.error, found.blocks),
            patients=found.patients,
        )

    def spread(self, measure: Measure) -> Spread:
        """How a measure varies with its patients.

        A patient says something of it if it is defined on that patient alone, or changes without,
        or if it compares patients with each other. There is no standard error where fewer patients
        than its rules ask for say anything, where one of them alone decides whether it is defined,
        and where it is biased on few patients.
        """
        rules = measure.rules
        total = value(measure, len(self.draws.group))
        if total is None:
            return Spread(value=None, error=None, patients=0, blocks=0)
        without, alone = measure.values(self.draws), measure.values(self.alone)
        says = ~np.isnan(alone) | ~np.isclose(without, total, rtol=1e-9, atol=1e-12)
        if rules.compares_patients:
            says[:] = True
        patients, blocks = int(self.sizes[says].sum()), int(says.sum())
        few = blocks < rules.fewest_patients
        if few or np.isnan(without).any() or rules.biased:
            return Spread(value=total, error=None, patients=patients, blocks=blocks)
        count = len(without)
        # The jackknife's estimate of bias is left out: AP is read at 101 places of recall, which
        # all lie at other lesions once a patient is gone, and it would multiply that step.
        squares = float(((without - without.mean()) ** 2).sum())
        error = math.sqrt((count - 1) / count * squares)
        return Spread(value=total, error=error, patients=patients, blocks=blocks)


@dataclass(frozen=True, eq=False)
class _Less:
    """One measure less another of the same frames."""

    measure: Measure
    other: Measure

    @property
    def rules(self) -> Rules:
        """Those of the two, which are alike, but for their limits."""
        return replace(self.measure.rules, limits=UNLIMITED)

    def values(self, draws: Draws) -> FloatArray:
        """The difference in each draw."""
        return self.measure.values(draws) - self.other.values(draws)


def holm(p: Sequence[float]) -> list[float]:
    """P values of several tests at once (Holm 1979, Scandinavian Journal of Statistics 6:65-70).

    If those below 0.05 count as differences, 5 % of all such tables at most name one that is none.
    """
    adjusted = np.empty(len(p))
    order = np.argsort(p)
    adjusted[order] = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    return [min(float(each), 1.0) for each in adjusted]


def _score_interval(share: float, error: float, blocks: int, t: float) -> Interval:
    """Wilson's interval of a share, at the number of independent answers that its error is worth.

    So it stays within 0 and 1 and holds more than one value where all blocks agree, which then
    count as one answer each (Franco et al. 2019, doi:10.1093/jssam/smy019).
    """
    answers = share * (1 - share) / error**2 if error > 0 and 0 < share < 1 else blocks
    k = t**2 / answers
    middle, half = share + k / 2, math.sqrt(k * (share * (1 - share) + k / 4))
    return (middle - half) / (1 + k), (middle + half) / (1 + k)


def _quantile(blocks: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(blocks - 1, 1 - LEVEL / 2))


def _p(difference: float, error: float, blocks: int) -> float:
    from scipy.special import stdtr

    if error == 0:
        return float(difference == 0)
    return float(2 * stdtr(blocks - 1, -abs(difference) / error))
