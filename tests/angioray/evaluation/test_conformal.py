"""Guaranteed sensitivity: by hand, by the theorem, and as MAPIE computes it."""

import numpy as np
import pytest
from mapie.risk_control import MultiLabelClassificationController

from angioray.evaluation.conformal import FoundScores
from angioray.evaluation.matching import FloatArray, match_frames
from tests.angioray.four_frames import MATCHED

MOST = 4
"""Lesions of a simulated patient at most."""


def patients(random: np.random.Generator, count: int, never: float) -> FloatArray:
    """float[count, MOST]: scores of found lesions, -inf if never found, NaN where there is none."""
    skill = random.beta(4, 2, (count, 1))
    scores = np.clip(random.normal(skill, 0.2, (count, MOST)), 0, 1)
    scores[random.random((count, MOST)) < never] = -np.inf
    scores[np.arange(MOST) >= random.integers(1, MOST + 1, (count, 1))] = np.nan
    return scores


def found(table: FloatArray) -> FoundScores:
    is_lesion = ~np.isnan(table)
    return FoundScores(patient=np.nonzero(is_lesion)[0], score=table[is_lesion])


def losses(table: FloatArray, score: float) -> FloatArray:
    """float[count]: what boxes above a score miss of each patient, counted patient by patient."""
    return np.array([np.mean(row[~np.isnan(row)] <= score) for row in table])


def test_four_frames_by_hand() -> None:
    # Patient p: one lesion, found at .9. Patient q: three, found at .6, .4 and never.
    scores = FoundScores.of(MATCHED.best, ["p", "q", "healthy", "q"])
    assert scores.patients == 2
    np.testing.assert_array_equal(scores.score, [0.9, 0.6, 0.4, -np.inf])
    # Sums of losses: 0 + 1 at .9, 0 + 2/3 at .6, 0 + 1/3 at .4; (sum + 1) / 3: .67, .56, .44.
    for missed_at_most, score in ((0.67, 0.9), (0.6, 0.6), (5 / 9, 0.6), (0.5, 0.4), (4 / 9, 0.4)):
        guarantee = scores.guarantee(missed_at_most)
        assert guarantee.score == np.nextafter(score, 0) and not guarantee.reason
    guarantee = scores.guarantee(0.4)
    assert guarantee.score is None
    assert guarantee.missed_at_any_score == pytest.approx(1 / 6)
    # (n / 6 + 1) / (n + 1) <= .4 from n = 2.57 on.
    assert guarantee.reason == "too few patients: 2, needs at least 3 for this detector"


def test_too_few_patients_and_too_many_lesions_missed() -> None:
    all_found = found(np.full((8, 1), 0.5))
    assert all_found.guarantee(0.1).reason == "too few patients: 8, needs at least 9"
    assert found(np.full((9, 1), 0.5)).guarantee(0.1).score == np.nextafter(0.5, 0)
    a_fifth = found(np.array([[0.5]] * 80 + [[-np.inf]] * 20))
    for promise in (0.1, 0.2):
        reason = a_fifth.guarantee(promise).reason
        assert reason == "boxes of any score miss 0.20 here: more patients would not help"
    assert a_fifth.guarantee(0.21).score is not None
    nothing = FoundScores(patient=np.empty(0, dtype=int), score=np.empty(0))
    assert nothing.guarantee(0.2).reason == "too few patients: 0, needs at least 4"


def test_what_is_missed_is_what_matching_the_kept_boxes_misses() -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 40, (2, 30, 6, 2))
    boxes = np.concatenate([corners, corners + random.uniform(10, 30, corners.shape)], axis=-1)
    truth = {i: boxes[0, i, : i % 4] for i in range(30)}
    said = {i: (boxes[1, i], random.random(6)) for i in range(30)}
    ids = [f"patient {i % 7}" for i in range(30)]
    scores = FoundScores.of(match_frames(truth, said, range(30)), ids)
    for threshold in np.linspace(0, 1, 23):
        kept = {i: (b[s > threshold], s[s > threshold]) for i, (b, s) in said.items()}
        again = FoundScores.of(match_frames(truth, kept, range(30)), ids)
        np.testing.assert_array_equal(scores.score > threshold, again.score > -np.inf)


@pytest.mark.parametrize(("missed_at_most", "calibrating"), [(0.1, 30), (0.3, 12)])
def test_the_theorem_holds_on_1000_splits(missed_at_most: float, calibrating: int) -> None:
    random = np.random.default_rng(1)
    mean = []
    for _ in range(1000):
        drawn = patients(random, calibrating + 20, never=0.01)
        score = found(drawn[:calibrating]).guarantee(missed_at_most).score
        missed = 0.0 if score is None else losses(drawn[calibrating:], score).mean()
        mean.append(missed)  # where nothing is promised, nothing is missed
    error = np.std(mean) / np.sqrt(len(mean))
    assert np.mean(mean) <= missed_at_most + 2 * error
    assert np.mean(mean) >= missed_at_most - 2 / (calibrating + 1) - 2 * error


@pytest.mark.parametrize("missed_at_most", [0.1, 0.2, 0.3])
def test_mapie_keeps_the_same_boxes(missed_at_most: float) -> None:
    grid = np.arange(0, 1, 0.01)
    drawn = patients(np.random.default_rng(2), 300, never=0.0)
    drawn = np.floor(drawn * 99) / 100 + 0.005  # between two thresholds of the grid
    is_lesion = ~np.isnan(drawn)
    controller = MultiLabelClassificationController(
        predict_function=np.asarray,
        risk="recall",
        method="crc",
        target_level=1 - missed_at_most,
        predict_params=grid,
    )
    controller.calibrate(np.nan_to_num(drawn[:100]), is_lesion[:100].astype(int))
    score = found(drawn[:100]).guarantee(missed_at_most).score
    theirs = controller.predict(np.nan_to_num(drawn[100:]))[:, :, 0]
    np.testing.assert_array_equal(theirs, drawn[100:] > score)
    assert 0 < (theirs & is_lesion[100:]).sum() < is_lesion[100:].sum()
