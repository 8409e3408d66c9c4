"""The parts of the variance: by hand, and found again where they are known."""

from typing import Any

import numpy as np
import pytest

from angioray.evaluation.variance import components


def of_patients(scores: Any) -> tuple[Any, list[Any]]:
    """The mean over patients of each seed and fold, and without each patient: float[R, F, n]."""
    n = scores.shape[2]
    without = (scores.sum(axis=2, keepdims=True) - scores) / (n - 1)
    return scores.mean(axis=2), list(without.swapaxes(0, 1))


def test_components_by_hand() -> None:
    # Two seeds, three folds: within folds 0.0002 each; fold means 0.51, 0.61, 0.71.
    values = np.array([[0.50, 0.60, 0.70], [0.52, 0.62, 0.72]])
    # Without one of two patients. Apart: -0.03 and 0.03, -0.01 and 0.01; half of 2 x 0.03 x 0.01.
    without = values.T[:, :, None] + np.array([[-0.03, 0.03], [-0.01, 0.01]])
    found = components(values, list(without))
    assert found.seed == pytest.approx(np.sqrt(0.0002))
    assert found.patient == pytest.approx(np.sqrt(0.0003))
    assert found.fold == pytest.approx(np.sqrt(0.01 - 0.0002 / 2 - 0.0003))
    assert found.negative == ()
    alone = components(values[:1], list(without[:, :1]))
    assert (alone.seed, alone.patient) == (None, pytest.approx(0.03))
    assert alone.fold == pytest.approx(np.sqrt(0.01 - 0.0009))


def test_a_negative_part_counts_as_nothing_and_is_named() -> None:
    found = components(np.array([[0.5, 0.5], [0.6, 0.6]]), [np.array([[0.4, 0.6], [0.5, 0.7]])] * 2)
    assert (found.fold, found.negative) == (0, ("fold",))


def test_what_is_not_known_is_none() -> None:
    values, two = np.array([[0.5, 0.6], [0.6, 0.8]]), np.array([[0.4, 0.6], [0.5, 0.7]])
    one_patient = components(values, [two, np.full((2, 1), np.nan)])
    assert one_patient.seed == pytest.approx(np.sqrt(0.0125))
    assert (one_patient.patient, one_patient.fold) == (None, None)
    values[0, 1] = np.nan  # leaves the first fold
    one_fold = components(values, [two, np.full((2, 2), np.nan)])
    assert (one_fold.seed, one_fold.fold) == (pytest.approx(np.sqrt(0.005)), None)
    assert one_fold.patient == pytest.approx(0.1)
    nothing = components(np.full((2, 1), np.nan), [two])
    assert (nothing.seed, nothing.fold, nothing.patient) == (None, None, None)


@pytest.mark.parametrize("seeds", [1, 3])
def test_known_parts_are_found_again_on_average(seeds: int) -> None:
    """As many folds as it takes for the mean of the estimates, which are of variances."""
    random, folds, n = np.random.default_rng(0), 6000, 4
    fold = random.normal(0, 0.3, folds)[:, None]
    patient = random.normal(0, 0.4, (folds, n))
    training = random.normal(0, 0.2, (seeds, folds, 1))
    chance = random.normal(0, 0.6, (seeds, folds, n))
    found = components(*of_patients(fold + patient + training + chance))
    if seeds > 1:
        assert found.seed == pytest.approx(np.hypot(0.2, 0.6 / 2), abs=0.01)
        assert found.patient == pytest.approx(0.4 / 2, abs=0.01)
        assert found.fold == pytest.approx(0.3, abs=0.015)
    else:
        assert found.seed is None
        assert found.patient == pytest.approx(np.hypot(0.4, 0.6) / 2, abs=0.01)
        assert found.fold == pytest.approx(np.hypot(0.3, 0.2), abs=0.015)


def test_the_chance_of_a_seed_is_counted_once() -> None:
    """Lesions that are found with a probability of the patient's own; folds do not differ."""
    random, n = np.random.default_rng(1), 20
    p = random.beta(2, 2, (4000, n))  # mean of p (1 - p) 0.2, variance 0.05
    found = components(*of_patients((random.random((3, 4000, n)) < p).astype(float)))
    assert found.seed is not None and found.patient is not None and found.fold is not None
    assert found.seed**2 == pytest.approx(0.2 / n, abs=0.0005)
    assert found.patient**2 == pytest.approx(0.05 / n, abs=0.0005)
    assert found.fold**2 == pytest.approx(0, abs=0.0007)
