"""Every metric against numbers worked out on paper."""

import contextlib
import io
import math

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from angioray.bootstrap import Resampling
from angioray.evaluate import (
    Ratio,
    aggregate,
    average_precision,
    best_fixed_boxes,
    confusion_matrix,
    cross_entropies,
    detector_metrics,
    detector_ratios,
    fixed_predictions,
    view_metrics,
)
from angioray.matching import FloatArray, match_frames

A = (0.0, 0.0, 10.0, 10.0)
B = (50.0, 50.0, 60.0, 60.0)
NOWHERE = (80.0, 0.0, 90.0, 10.0)

# Frame:      1 (cine a)        2 (cine b)                     3 (cine c)   4 (cine d)
# lesions:    A                 A, B                           none         A
# boxes:      A .9, A .8        nowhere .95, A .6, B .4        A .7         none
TRUTH = {1: np.array([A]), 2: np.array([A, B]), 4: np.array([A])}
FOUND = {
    1: (np.array([A, A]), np.array([0.9, 0.8])),
    2: (np.array([NOWHERE, A, B]), np.array([0.95, 0.6, 0.4])),
    3: (np.array([A]), np.array([0.7])),
}
CINES = {1: "a", 2: "b", 3: "c", 4: "d"}


def test_the_papers_detector_metrics() -> None:
    baseline = fixed_predictions(np.array([NOWHERE, B]), [1, 2, 3, 4])
    metrics = detector_metrics(TRUTH, FOUND, [1, 2, 3, 4], CINES, baseline=baseline)
    assert metrics == pytest.approx(
        {
            "recall@IoU0.20/score0.50/max1": 1 / 4,  # first boxes: A right, nowhere and 3 wrong
            "precision@IoU0.20/score0.50/max1": 1 / 3,
            "recall@IoU0.20/score0.50/max5": 2 / 4,  # .9 and .6; B's .4 is below the threshold
            "precision@IoU0.20/score0.50/max5": 2 / 5,
            "at_least_one@IoU0.20/score0.50": 2 / 3,  # a and b of a, b, d
            "recall@IoU0.20/score0.00/max5": 3 / 4,
            "baseline/recall@IoU0.20/score0.00/max5": 1 / 4,  # B in frame 2
            # .95 no, .9 yes, .8 no, .7 no, .6 yes, .4 yes: precision 1/2, 2/5, 3/6, so 0.5 at
            # best for the 76 points of recall 0 to 0.75, and 0 beyond
            "AP@IoU0.20": 76 * 0.5 / 101,
            "AP@IoU0.50": 76 * 0.5 / 101,
        }
    )


def test_a_score_of_exactly_the_threshold_does_not_count() -> None:
    found = {1: (np.array([A]), np.array([0.5]))}
    metrics = detector_metrics({1: np.array([A])}, found, [1], CINES)
    assert metrics["recall@IoU0.20/score0.50/max5"] == 0
    assert metrics["recall@IoU0.20/score0.00/max5"] == 1


def test_what_is_undefined_is_none() -> None:
    without_boxes = detector_metrics(TRUTH, {}, [1, 2, 3, 4], CINES)
    assert without_boxes["precision@IoU0.20/score0.50/max1"] is None
    assert without_boxes["recall@IoU0.20/score0.50/max1"] == 0
    assert without_boxes["AP@IoU0.20"] == 0
    healthy = detector_metrics({}, FOUND, [3], CINES)
    assert healthy["recall@IoU0.20/score0.50/max5"] is None
    assert healthy["at_least_one@IoU0.20/score0.50"] is None
    assert healthy["AP@IoU0.20"] is None
    assert healthy["precision@IoU0.20/score0.50/max5"] == 0
    assert "baseline/recall@IoU0.20/score0.00/max5" not in healthy


def test_at_least_one_counts_cines_not_frames() -> None:
    truth = {i: np.array([A]) for i in (1, 2, 3)}
    found = {2: (np.array([A]), np.array([0.9]))}
    ratio = detector_ratios(match_frames(truth, found, [1, 2, 3]), {1: "one", 2: "one", 3: "two"})[
        "at_least_one@IoU0.20/score0.50"
    ]
    assert ratio.value == 1 / 2


def test_average_precision_by_hand() -> None:
    truth = {1: np.array([A, B])}
    found = {1: (np.array([A, NOWHERE, B]), np.array([0.9, 0.8, 0.7]))}
    matches = match_frames(truth, found, [1])
    # precision 1 up to recall 0.5 (51 points), 2/3 up to 1 (50 points)
    assert average_precision(matches) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_average_precision_is_cocos() -> None:
    random = np.random.default_rng(3)
    truth = {i: _random_boxes(random, 2) for i in range(1, 31)}
    found = {i: (_random_boxes(random, 6), random.permutation(6) / 7 + i / 999) for i in truth}
    matches = match_frames(truth, found, truth, max_detections=5)
    assert average_precision(matches) == pytest.approx(_coco_average_precision(truth, found))


def test_frames_count_as_often_as_they_were_drawn() -> None:
    matches = match_frames(TRUTH, FOUND, [1, 2, 3, 4])
    once = match_frames(TRUTH, FOUND, [1, 4])
    assert average_precision(matches, np.array([1.0, 0, 0, 1])) == average_precision(once)
    assert average_precision(matches, np.zeros(4)) is None


def test_view_metrics_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.0, 1.0]])
    labels = ["LCA", "LCA", "RCA", "LCA"]
    metrics = view_metrics(labels, probabilities, ["LCA", "RCA"])
    # right: frames 1 and 3. LCA: 1 hit, 0 false, 2 missed; RCA: 1 hit, 2 false, 0 missed
    losses = [-math.log(0.9), -math.log(0.4), -math.log(0.8), -math.log(1e-7)]
    assert metrics == pytest.approx(
        {"accuracy": 0.5, "f1_macro": (2 / 4 + 2 / 4) / 2, "cross_entropy": sum(losses) / 4}
    )
    assert confusion_matrix(labels, probabilities, ["LCA", "RCA"]).tolist() == [[1, 2], [0, 1]]


def test_a_class_that_never_occurs_has_no_f1() -> None:
    probabilities = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert view_metrics(["a", "b"], probabilities, ["a", "b", "c"])["f1_macro"] == 1


def test_no_frames_have_no_view_metrics() -> None:
    assert set(view_metrics([], np.empty((0, 2)), ["a", "b"]).values()) == {None}


def test_an_unknown_label_is_named() -> None:
    with pytest.raises(ValueError, match="'LCx' is not among the classes LCA, RCA"):
        view_metrics(["LCx"], np.array([[0.5, 0.5]]), ["LCA", "RCA"])


def test_mean_and_sample_deviation_leave_out_what_is_undefined() -> None:
    folds = aggregate([0.5, None, 0.7])
    assert folds.mean == pytest.approx(0.6)
    assert folds.std == pytest.approx(math.sqrt(2 * 0.1**2 / 1))
    assert aggregate([0.5]).std is None
    assert aggregate([None]).mean is None


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


def test_the_interval_resamples_patients_not_frames() -> None:
    # Each patient's frames are all right or all wrong: two of four patients are right.
    patients = np.repeat(["p1", "p2", "p3", "p4"], 50).tolist()
    right = np.repeat([1.0, 0.0, 1.0, 0.0], 50)
    interval = Resampling.of(patients).ratio(Ratio(numerator=right, denominator=np.ones(200)))
    assert interval == (0.0, 1.0)
    frames = [str(i) for i in range(200)]
    low, high = Resampling.of(frames).mean(right) or (0, 0)
    assert (low, high) == pytest.approx((0.43, 0.57), abs=0.02)  # 1.96 sqrt(.25 / 200) = 0.07


def test_the_intervals_are_reproducible_and_hold_the_value() -> None:
    probabilities = np.random.default_rng(1).dirichlet([1, 1], 60)
    labels = ["LCA", "RCA"] * 30
    patients = [f"p{i // 6}" for i in range(60)]
    metrics = view_metrics(labels, probabilities, ["LCA", "RCA"])
    truth, predicted = np.tile([0, 1], 30), probabilities.argmax(axis=1)
    f1 = Resampling.of(patients).f1_macro(truth, predicted, 2)
    assert f1 == Resampling.of(patients).f1_macro(truth, predicted, 2)
    assert f1 is not None and f1[0] < (metrics["f1_macro"] or 0) < f1[1]
    losses = Resampling.of(patients).mean(cross_entropies(labels, probabilities, ["LCA", "RCA"]))
    assert losses is not None and losses[0] < (metrics["cross_entropy"] or 0) < losses[1]


def test_one_patient_has_no_interval() -> None:
    assert Resampling.of(["p1"] * 5).mean(np.ones(5)) is None
    matches = match_frames(TRUTH, FOUND, [1, 2, 3, 4])
    assert Resampling.of(["p1"] * 4).average_precision(matches) is None
    low, high = Resampling.of(["p", "q", "r", "s"]).average_precision(matches) or (1, 0)
    assert 0 <= low < 76 * 0.5 / 101 < high <= 1


def _random_boxes(random: np.random.Generator, count: int) -> FloatArray:
    corner = random.uniform(0, 40, (count, 2))
    return np.hstack([corner, corner + random.uniform(10, 30, (count, 2))])


def _coco_average_precision(
    truth: dict[int, FloatArray], found: dict[int, tuple[FloatArray, FloatArray]]
) -> float:
    def document(rows: list[dict[str, object]]) -> COCO:
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in truth],
            "categories": [{"id": 1}],
            "annotations": [
                {"id": n, "category_id": 1, "iscrowd": 0, "area": 100.0, **row}
                for n, row in enumerate(rows, start=1)
            ],
        }
        coco.createIndex()
        return coco

    def xywh(b: FloatArray) -> list[float]:
        return [float(b[0]), float(b[1]), float(b[2] - b[0]), float(b[3] - b[1])]

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            document([{"image_id": i, "bbox": xywh(b)} for i in truth for b in truth[i]]),
            document(
                [
                    {"image_id": i, "bbox": xywh(b), "score": float(s)}
                    for i, (rectangles, scores) in found.items()
                    for b, s in zip(rectangles, scores, strict=True)
                ]
            ),
            "bbox",
        )
        evaluation.params.iouThrs = np.array([0.2])
        evaluation.params.maxDets = [5]
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return float(evaluation.eval["precision"][0, :, 0, 0, 0].mean())
