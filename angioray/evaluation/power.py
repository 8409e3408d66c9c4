"""What a cohort can show: the smallest difference, and the patients that a given one needs.

The difference of two methods on the same patients is tested by a t-test with patients as the units
(two-sided, 5 %). It is shown at a power of 80 % where it is as large as its standard error times
the two quantiles of t together (Julious 2004, doi:10.1002/sim.1783).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from angioray.evaluation.intervals import LEVEL

POWER = 0.8
SMALL = 0.05
"""A difference for which the patients are counted that would show it."""
_MOST = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What is assumed of two methods before anything is trained.

    Attributes:
        recall: of both.
        between_methods: the correlation of their finds on one lesion.
        within_patient: the correlation of what sets them apart on two lesions of a patient.
    """

    recall: float = 0.7
    between_methods: float = 0.5
    within_patient: float = 0.1

    def error(self, lesions: Sequence[int]) -> float:
        """The standard error of the difference in recall.

        Lesions of a patient are a cluster; clusters of unequal size count by their squares
        (Eldridge et al. 2006, doi:10.1093/ije/dyl129).

        Args:
            lesions: how many each patient has, 1 or more.
        """
        count = np.asarray(lesions, dtype=float)
        of_one = 2 * self.recall * (1 - self.recall) * (1 - self.between_methods)
        pairs = (count * (count - 1)).sum()
        return math.sqrt(of_one * (count.sum() + self.within_patient * pairs)) / float(count.sum())


def smallest_difference(error: float, patients: int) -> float:
    """The smallest true difference that is shown at a power of 80 %.

    Args:
        error: the standard error of the difference.
        patients: 2 or more.
    """
    from scipy.special import stdtrit

    return float(error * (stdtrit(patients - 1, [1 - LEVEL / 2, POWER]).sum()))


def patients_needed(error: float, patients: int, difference: float) -> int | None:
    """How many patients show a difference at a power of 80 %; None above a million.

    Args:
        error: the standard error of the difference with as many patients as there are.
        patients: as many as there are.
        difference: the true one, greater than 0.
    """

    def is_shown(count: int) -> bool:
        return smallest_difference(error * math.sqrt(patients / count), count) <= difference

    too_few, enough = 1, 2
    while not is_shown(enough):
        if enough > _MOST:
            return None
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if is_shown(middle) else (middle, enough)
    return enough


def describe_power(
    error: float, patients: int, metric: str, difference: float, *, units: str = "patients"
) -> str:
    """A sentence on the smallest difference shown, and the patients that ``difference`` needs.

    Args:
        error: the standard error of the difference with as many patients as there are.
        patients: as many as there are.
        metric: its name in words.
        difference: the true one, greater than 0.
        units: what was counted as patients.
    """
    shown = smallest_difference(error, patients)
    needed = patients_needed(error, patients, difference)
    return (
        f"With {patients} {units} this cohort shows differences in {metric} of {shown:.2f} and "
        f"more; for {difference:.2f} it would need "
        + ("more than a million" if needed is None else f"about {needed}")
        + f" {units}."
    )
