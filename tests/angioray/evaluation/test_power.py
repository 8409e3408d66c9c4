"""What a cohort can show, against the noncentral t distribution and the sum over all lesions."""

import math

import numpy as np
import pytest
from scipy.stats import nct, t

from angioray.evaluation.power import (
    Assumed,
    describe_power,
    patients_needed,
    smallest_difference,
)


@pytest.mark.parametrize("patients", [12, 20, 72, 300])
def test_the_smallest_difference_is_shown_at_a_power_of_80_percent(patients: int) -> None:
    error = 0.03
    shift = smallest_difference(error, patients) / error
    limit = t.ppf(0.975, patients - 1)
    power = nct.sf(limit, patients - 1, shift) + nct.cdf(-limit, patients - 1, shift)
    assert power == pytest.approx(0.8, abs=0.01)


def test_patients_are_counted_from_the_error_that_they_would_have() -> None:
    # 72 patients with an error of 0.032; that of n patients is smaller by the root of 72 / n.
    needed = patients_needed(0.032, 72, 0.05)
    assert needed is not None
    at = [smallest_difference(0.032 * math.sqrt(72 / n), n) for n in (needed - 1, needed)]
    assert at[0] > 0.05 >= at[1]
    assert patients_needed(0.032, 72, smallest_difference(0.032, 72)) == pytest.approx(72, abs=1)
    assert patients_needed(1, 10, 1e-4) is None


def test_the_expected_error_is_that_of_correlated_lesions() -> None:
    # Three patients of one, two and four lesions: the variance of the mean of seven differences.
    patient = np.array([0, 1, 1, 2, 2, 2, 2])
    of_one = 2 * 0.7 * 0.3 * (1 - 0.4)
    same = patient[:, None] == patient[None, :]
    covariance = of_one * np.where(np.eye(7, dtype=bool), 1.0, np.where(same, 0.25, 0.0))
    expected = np.sqrt(covariance.sum()) / 7
    assumed = Assumed(recall=0.7, between_methods=0.4, within_patient=0.25)
    assert assumed.error([1, 2, 4]) == pytest.approx(expected)


def test_the_sentence_says_both() -> None:
    assert describe_power(0.032, 72, "recall", 0.05) == (
        "With 72 patients this cohort shows differences in recall of 0.09 and more; for 0.05 it "
        f"would need about {patients_needed(0.032, 72, 0.05)} patients."
    )
