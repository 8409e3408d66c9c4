"""Calibration against numbers worked out on paper."""

import numpy as np
import pytest

from angioray.evaluation.calibration import CalibrationError, Reliability
from angioray.evaluation.measures import Draws, value
from tests.angioray.four_frames import MATCHED


def test_the_error_is_the_mean_distance_over_bins() -> None:
    confidence = np.array([0.95, 0.91, 0.3, 0.35, 0.39, 1.0])
    right = np.array([True, False, False, True, False, True])
    error = CalibrationError(frame=np.arange(6), confidence=confidence, right=right)
    # 0.9 to 1: said .95 + .91 + 1 = 2.86, true 2; 0.3 to 0.4: said 1.04, true 1
    assert value(error, 6) == pytest.approx((0.86 + 0.04) / 6)
    bins = Reliability.of(confidence, right)
    assert bins.confidence == pytest.approx([1.04 / 3, 2.86 / 3])
    assert bins.share_right == pytest.approx([1 / 3, 2 / 3])
    assert bins.answers.tolist() == [3, 3]


def test_a_bin_of_one_answer_is_shown_and_an_empty_one_is_not() -> None:
    bins = Reliability.of(np.array([0.05, 0.55, 0.56]), np.array([True, False, False]))
    assert bins.answers.tolist() == [1, 2]
    assert bins.share_right.tolist() == [1, 0]


def test_scores_of_boxes_are_judged_by_whether_the_box_is_right() -> None:
    # .95 no, .9 yes (one bin); .8 no; .7 no; .6 yes; .4 yes
    distances = (0.95 + 0.9 - 1) + 0.8 + 0.7 + (1 - 0.6) + (1 - 0.4)
    assert value(MATCHED.measures()["ECE@IoU0.20/max5"], 4) == pytest.approx(distances / 6)


def test_nothing_said_has_no_error() -> None:
    nothing = CalibrationError(
        frame=np.empty(0, dtype=int), confidence=np.empty(0), right=np.empty(0, dtype=bool)
    )
    assert value(nothing, 3) is None
    assert np.isnan(nothing.values(Draws.once(3))).all()
