"""The view classifier's metrics against numbers worked out on paper."""

import math

import numpy as np
import pytest

from angioray.evaluation.views import confusion_matrix, view_metrics


def test_view_metrics_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.0, 1.0]])
    labels = ["LCA", "LCA", "RCA", "LCA"]
    metrics = view_metrics(labels, probabilities, ["LCA", "RCA"])
    # right: frames 1 and 3. LCA: 1 hit, 0 false, 2 missed; RCA: 1 hit, 2 false, 0 missed
    losses = [-math.log(0.9), -math.log(0.4), -math.log(0.8), -math.log(1e-7)]
    assert metrics == pytest.approx(
        {
            "accuracy": 0.5,
            "f1_macro": (2 / 4 + 2 / 4) / 2,
            "cross_entropy": sum(losses) / 4,
            # bins .6: said .6, true 0; .8: .8, 1; .9 to 1: 1.9, 1
            "ECE": (0.6 + 0.2 + 0.9) / 4,
            "recall/LCA": 1 / 3,
            "precision/LCA": 1.0,
            "f1/LCA": 2 / 4,
            "recall/RCA": 1.0,
            "precision/RCA": 1 / 3,
            "f1/RCA": 2 / 4,
        }
    )
    assert confusion_matrix(labels, probabilities, ["LCA", "RCA"]).tolist() == [[1, 2], [0, 1]]


def test_the_macro_f1_is_the_mean_of_the_classes_of_unlike_size() -> None:
    # a: 3 of 4 right and none false, F1 6/7; b: its one frame right, and one false, F1 2/3.
    probabilities = np.array([[0.9, 0.1]] * 3 + [[0.2, 0.8]] * 2)
    metrics = view_metrics(list("aaaab"), probabilities, ["a", "b"])
    assert metrics["f1_macro"] == pytest.approx((6 / 7 + 2 / 3) / 2)
    # c is neither there nor named: it has no share in the mean. d is named once, wrongly: 0.
    wide = np.hstack([probabilities, np.zeros((5, 2))])
    wide[0] = [0, 0, 0, 1]
    metrics = view_metrics(list("aaaab"), wide, list("abcd"))
    assert metrics["f1_macro"] == pytest.approx((2 * 2 / (4 + 2) + 2 / 3 + 0) / 3)


def test_a_class_that_never_occurs_has_no_f1() -> None:
    probabilities = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    metrics = view_metrics(["a", "b"], probabilities, ["a", "b", "c"])
    assert metrics["f1_macro"] == 1
    assert metrics["f1/c"] is None and metrics["recall/c"] is None


def test_equal_probabilities_name_the_first_class() -> None:
    assert view_metrics(["b"], np.array([[0.5, 0.5]]), ["a", "b"])["accuracy"] == 0


def test_no_frames_have_no_view_metrics() -> None:
    assert set(view_metrics([], np.empty((0, 2)), ["a", "b"]).values()) == {None}


def test_an_unknown_label_is_named() -> None:
    with pytest.raises(ValueError, match="'LCx' is not among the classes LCA, RCA"):
        view_metrics(["LCx"], np.array([[0.5, 0.5]]), ["LCA", "RCA"])
