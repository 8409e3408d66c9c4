"""The boxes that never move, on cohorts small enough to see the best ones."""

import numpy as np

from angioray.evaluation.detection import fixed_predictions
from angioray.evaluation.fixed_boxes import best_fixed_boxes
from angioray.evaluation.matching import match_frames
from tests.angioray.four_frames import TRUTH


def test_the_fixed_boxes_find_the_clusters() -> None:
    random = np.random.default_rng(0)
    centres = np.array([[50, 50], [120, 60], [80, 150]])
    truth = {
        i: np.hstack([c - 15, c + 15])[None] + random.normal(0, 3, (1, 4))
        for i, c in enumerate(centres[random.integers(0, 3, 60)], start=1)
    }
    fixed = best_fixed_boxes(truth, k=3)
    matches = match_frames(truth, fixed_predictions(fixed, truth), truth)
    assert matches.is_true_positive.sum() == len(truth)


def test_one_fixed_box_finds_one_lesion_per_frame() -> None:
    # Both lesions of each frame lie under one box, but it can only find one of them.
    pair = np.array([(0.0, 0.0, 10.0, 10.0), (2.0, 0.0, 12.0, 10.0)])
    truth = {1: pair, 2: pair}
    one = match_frames(truth, fixed_predictions(best_fixed_boxes(truth, k=1), truth), truth)
    two = match_frames(truth, fixed_predictions(best_fixed_boxes(truth, k=2), truth), truth)
    assert one.is_true_positive.sum() == 2
    assert two.is_true_positive.sum() == 4


def test_the_best_first_box_is_not_always_kept() -> None:
    # Ten wide, IoU > 0.2 up to 6.6 apart. One box between 8 and 16 finds 6 and leaves 2 on either
    # side for another: 8. Two boxes, between 0 and 8 and between 16 and 24, find all 10.
    corners = [0, 0, 8, 8, 8, 16, 16, 16, 24, 24]
    truth = {i: np.array([[x, 0.0, x + 10, 10.0]]) for i, x in enumerate(corners, start=1)}
    fixed = best_fixed_boxes(truth, k=2)
    matches = match_frames(truth, fixed_predictions(fixed, truth), truth)
    assert matches.is_true_positive.sum() == 10


def test_no_training_boxes_give_no_fixed_boxes() -> None:
    assert best_fixed_boxes({}).shape == (0, 4)
    assert best_fixed_boxes(TRUTH, k=0).shape == (0, 4)
    assert best_fixed_boxes({1: np.empty((0, 4))}).shape == (0, 4)
