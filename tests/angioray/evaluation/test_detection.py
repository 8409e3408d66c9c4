"""The paper's detector metrics against numbers worked out on paper."""

import math

import numpy as np
import pytest

from angioray.evaluation.detection import (
    JudgedFrames,
    Matched,
    Thresholds,
    aggregate,
    detector_metrics,
    fixed_predictions,
)
from tests.angioray.four_frames import CINES, FOUND, FRAMES, NOWHERE, A, B, judged


def test_the_papers_detector_metrics() -> None:
    baseline = fixed_predictions(np.array([NOWHERE, B]), CINES)
    metrics = detector_metrics(FRAMES, FOUND, baseline=baseline)
    expected = {
        "recall@IoU0.20/score0.50/max1": 1 / 4,  # first boxes: A right, nowhere and 3 wrong
        "precision@IoU0.20/score0.50/max1": 1 / 3,
        "F1@IoU0.20/score0.50/max1": 2 / (4 + 3),
        "recall@IoU0.20/score0.50/max5": 2 / 4,  # .9 and .6; B's .4 is below the threshold
        "precision@IoU0.20/score0.50/max5": 2 / 5,
        "F1@IoU0.20/score0.50/max5": 4 / (4 + 5),
        "at_least_one@IoU0.20/score0.50": 2 / 3,  # a and b of a, b, d
        "recall@IoU0.20/score0.00/max5": 3 / 4,
        "baseline/recall@IoU0.20/score0.00/max5": 1 / 4,  # B in frame 2
        # .95 no, .9 yes, .8 no, .7 no, .6 yes, .4 yes: precision 1/2, 2/5, 3/6, so 0.5 at best
        # for the 76 points of recall 0 to 0.75, and 0 beyond
        "AP@IoU0.20": 76 * 0.5 / 101,
        "AP@IoU0.50/max100": 76 * 0.5 / 101,
        "AP@IoU0.50:0.95/max100": 76 * 0.5 / 101,  # every box that is right is right exactly
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)


def test_recall_counts_lesions_not_frames() -> None:
    found = {2: (np.array([A]), np.array([0.1]))}
    metrics = detector_metrics(judged({2: np.array([A, B])}, 2, 3, 4), found)
    assert metrics["recall@IoU0.20/score0.00/max5"] == 1 / 2


def test_fixed_boxes_have_falling_scores_up_to_one() -> None:
    boxes, scores = fixed_predictions(np.array([A, B, NOWHERE]), [7])[7]
    assert scores == pytest.approx([1, 2 / 3, 1 / 3])
    assert boxes.tolist() == [list(A), list(B), list(NOWHERE)]
    assert fixed_predictions(np.array([A]), [7])[7][1].tolist() == [1]


def test_average_precision_falls_as_overlap_is_asked_for() -> None:
    # 10 x 10 boxes, one 2 px off: 80 / 120, right at 0.50, 0.55, 0.60 and 0.65 alone.
    found = {1: (np.array([[2.0, 0.0, 12.0, 10.0]]), np.array([0.9]))}
    metrics = detector_metrics(judged({1: np.array([A])}, 1), found)
    assert metrics["AP@IoU0.30/max100"] == pytest.approx(1)
    assert metrics["AP@IoU0.50/max100"] == pytest.approx(1)
    assert metrics["AP@IoU0.50:0.95/max100"] == pytest.approx(0.4)


def test_an_overlap_of_exactly_030_is_right_as_coco_counts() -> None:
    # 3 x 10 px of a lesion of 10 x 10 px: 30 / 100.
    found = {1: (np.array([[0.0, 0.0, 3.0, 10.0]]), np.array([0.9]))}
    metrics = detector_metrics(judged({1: np.array([A])}, 1), found)
    assert metrics["AP@IoU0.30/max100"] == pytest.approx(1)
    assert metrics["AP@IoU0.50/max100"] == 0 and metrics["AP@IoU0.20/max100"] == pytest.approx(1)


def test_a_score_of_exactly_the_threshold_does_not_count() -> None:
    found = {1: (np.array([A]), np.array([0.5]))}
    metrics = detector_metrics(judged({1: np.array([A])}, 1), found)
    assert metrics["recall@IoU0.20/score0.50/max5"] == 0
    assert metrics["recall@IoU0.20/score0.00/max5"] == 1


def test_without_boxes_only_what_divides_by_boxes_is_undefined() -> None:
    metrics = detector_metrics(FRAMES, {})
    undefined = {name for name, value in metrics.items() if value is None}
    assert undefined >= {f"precision@IoU0.20/score0.50/max{n}" for n in (1, 5)} | {
        "ECE@IoU0.20/max5"
    }
    for name in (
        *("recall@IoU0.20/score0.50/max1", "F1@IoU0.20/score0.50/max5"),
        *("AP@IoU0.20", "AP@IoU0.50:0.95/max100", "at_least_one@IoU0.20/score0.50"),
        *("sensitivity@IoU0.20/false8", "sensitivity@IoU0.20/mean"),
    ):
        assert metrics[name] == 0, name


def test_without_lesions_only_what_divides_by_lesions_is_undefined() -> None:
    metrics = detector_metrics(judged({}, 3), FOUND)
    for name in (
        *("recall@IoU0.20/score0.50/max5", "at_least_one@IoU0.20/score0.50", "AP@IoU0.20"),
        *("AP@IoU0.50:0.95/max100", "sensitivity@IoU0.20/false1", "sensitivity@IoU0.20/mean"),
    ):
        assert metrics[name] is None, name
    assert metrics["precision@IoU0.20/score0.50/max5"] == 0
    assert metrics["F1@IoU0.20/score0.50/max5"] == 0
    assert "baseline/recall@IoU0.20/score0.00/max5" not in metrics


def test_without_frames_everything_is_undefined() -> None:
    assert set(detector_metrics(judged({}), {}).values()) == {None}


def test_at_least_one_counts_cines_not_frames() -> None:
    truth = {i: np.array([A]) for i in (1, 2, 3)}
    frames = JudgedFrames(sequence={1: "one", 2: "one", 3: "two"}, truth=truth)
    metrics = detector_metrics(frames, {2: (np.array([A]), np.array([0.9]))})
    assert metrics["at_least_one@IoU0.20/score0.50"] == 1 / 2


def test_several_lesions_and_fewer_boxes_than_lesions() -> None:
    third = (20.0, 20.0, 30.0, 30.0)
    frames = judged({1: np.array([A, B, third])}, 1)
    found = {1: (np.array([third, A]), np.array([0.9, 0.8]))}
    metrics = detector_metrics(frames, found)
    assert metrics["recall@IoU0.20/score0.50/max1"] == pytest.approx(1 / 3)
    assert metrics["recall@IoU0.20/score0.50/max5"] == pytest.approx(2 / 3)
    assert metrics["precision@IoU0.20/score0.50/max5"] == 1


def test_other_thresholds_have_other_names() -> None:
    at = Thresholds(iou=0.5, score=0.3, max_detections=3)
    metrics = detector_metrics(FRAMES, FOUND, thresholds=at)
    assert metrics["recall@IoU0.50/score0.30/max3"] == 3 / 4
    assert {"AP@IoU0.50/max100", "sensitivity@IoU0.50/false1"} <= metrics.keys()


def test_a_chosen_score_is_named_as_chosen() -> None:
    ratios = Matched.of(FRAMES, FOUND).at_score(0.39, label="score-chosen")
    assert ratios["recall@IoU0.20/score-chosen/max5"].value == 3 / 4
    assert ratios["precision@IoU0.20/score-chosen/max5"].value == 3 / 6


def test_mean_and_sample_deviation_leave_out_what_is_undefined() -> None:
    folds = aggregate([0.5, None, 0.7])
    assert folds.mean == pytest.approx(0.6)
    assert folds.std == pytest.approx(math.sqrt(2 * 0.1**2 / 1))
    assert aggregate([0.5]).std is None
    assert aggregate([None]).mean is None
