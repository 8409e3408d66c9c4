"""The parts of the variance: by hand, and found again where they are known."""

import numpy as np
import pytest

from angioray.evaluation.variance import components


def test_components_by_hand() -> None:
    # Two seeds, three folds: within folds 0.0002 / 1 each; fold means 0.51, 0.61, 0.71.
    values = np.array([[0.50, 0.60, 0.70], [0.52, 0.62, 0.72]])
    found = components(values, error=0.03)
    assert found.seed == pytest.approx(np.sqrt(0.0002))
    assert found.patient == pytest.approx(0.03 * np.sqrt(3))
    # Between: 2 x 0.01; less the seeds', by two; less the patients'.
    assert found.fold == pytest.approx(np.sqrt((0.02 - 0.0002) / 2 - 3 * 0.0009))
    assert found.negative == ()


def test_a_negative_part_counts_as_nothing_and_is_named() -> None:
    found = components(np.array([[0.5, 0.5], [0.6, 0.6]]), error=0.1)
    assert (found.fold, found.negative) == (0, ("fold",))


def test_one_seed_cannot_be_told_from_the_folds() -> None:
    found = components(np.array([[0.5, 0.6, 0.7]]), error=None)
    assert found.seed is None and found.patient is None
    assert found.fold == pytest.approx(0.1)
    assert components(np.array([[0.5]]), error=0.1).fold is None
    nothing = components(np.full((2, 3), np.nan), error=None)
    assert (nothing.seed, nothing.fold) == (None, None)


def test_known_parts_are_found_again_without_undefined_values() -> None:
    random = np.random.default_rng(0)
    folds = random.normal(0, 0.3, 4000)
    values = folds + random.normal(0, 0.2, (3, 4000))
    values[random.random((3, 4000)) < 0.2] = np.nan
    error = 0.1 / np.sqrt((~np.isnan(values)).any(axis=0).sum())
    found = components(values, error)
    assert found.seed == pytest.approx(0.2, abs=0.01)
    assert found.patient == pytest.approx(0.1)
    assert found.fold == pytest.approx(np.sqrt(0.3**2 - 0.1**2), abs=0.02)
