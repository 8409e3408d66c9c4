"""Average precision and FROC against paper, and against COCO."""

from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from angioray.evaluation.average_precision import AveragePrecision, Sensitivity, average_precision
from angioray.evaluation.detection import JudgedFrames, detector_metrics
from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.matching import FloatArray, IntArray, Matches, match_frames
from angioray.evaluation.measures import Draws, value
from tests.angioray.four_frames import FOUND, MATCHED, NOWHERE, TRUTH, A, B


def test_average_precision_by_hand() -> None:
    truth = {1: np.array([A, B])}
    found = {1: (np.array([A, NOWHERE, B]), np.array([0.9, 0.8, 0.7]))}
    matches = match_frames(truth, found, [1])
    # precision 1 up to recall 0.5 (51 points), 2/3 up to 1 (50 points)
    assert average_precision(matches) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_equal_scores_come_together_whatever_their_order() -> None:
    # A found in frame 1 and a false box in frame 2, both at 0.9: precision is 1/2, not 1.
    for right, wrong in ((1, 2), (2, 1)):
        truth = {right: np.array([A])}
        found = {i: (np.array([A]), np.array([0.9])) for i in (right, wrong)}
        matches = match_frames(truth, found, [1, 2])
        assert average_precision(matches) == pytest.approx(0.5)
        assert value(Sensitivity(matches, 0.49), 2) == 0
        assert value(Sensitivity(matches, 0.5), 2) == 1


@pytest.mark.parametrize("areas", [0, 1, 3])
def test_average_precision_is_what_coco_accumulates(areas: int) -> None:
    random = np.random.default_rng(3)
    truth = {i: random_boxes(random, 2) for i in range(1, 31)}
    found = {
        i: (random_boxes(random, 120), random.permutation(120) / 121 + i / 9999) for i in truth
    }
    # Some boxes are right at every IoU, so that the curves rise.
    for i in truth:
        found[i][0][:1] = truth[i][:1] + random.normal(0, 0.8, 4)
    ignored = {i: random_boxes(random, areas) for i in truth if i % 2}
    sequence = {i: f"s{i}" for i in truth}
    frames = JudgedFrames(sequence=sequence, truth=truth, ignored=ignored)
    metrics = detector_metrics(frames, found)
    coco = coco_evaluation(truth, found, ignored)
    assert metrics["AP@IoU0.50:0.95/max100"] == pytest.approx(coco[:10, 1].mean())
    assert metrics["AP@IoU0.50/max100"] == pytest.approx(coco[0, 1].mean())
    assert metrics["AP@IoU0.20/max100"] == pytest.approx(coco[10, 1].mean())
    assert metrics["AP@IoU0.20"] == pytest.approx(coco[10, 0].mean())
    assert coco[0, 1].mean() > 0.02


def test_the_error_of_average_precision_is_that_of_drawing_patients_anew() -> None:
    """One lesion each of 100 patients: without one, all 101 places of recall lie elsewhere."""
    random = np.random.default_rng(4)
    boxes = [np.array([A] * (random.random() < 0.8) + [NOWHERE]) for _ in range(100)]
    scores = [random.normal(0.8 * (len(each) == 2), 1, len(each)) for each in boxes]

    def matched(patients: IntArray) -> Matches:
        truth = {i: np.array([A]) for i in range(1, 101)}
        found = {i + 1: (boxes[p], scores[p]) for i, p in enumerate(patients)}
        return match_frames(truth, found, list(truth))

    drawn = [average_precision(matched(random.integers(0, 100, 100))) for _ in range(300)]
    measure = AveragePrecision(matched(np.arange(100)))
    error = Jackknife.of([f"p{i}" for i in range(100)]).spread(measure).error
    assert error == pytest.approx(np.std(np.array(drawn, float)), rel=0.25)


def test_froc_by_hand() -> None:
    # By falling score: .95 no, .9 yes, .8 no, .7 no, .6 yes, .4 yes; 4 lesions in 4 frames.
    # After .9: 1 false, 1/4 found; after .6 and .4: 3 false, 3/4 found.
    expected = {0.125: 0, 0.249: 0, 0.25: 1 / 4, 0.5: 1 / 4, 0.749: 1 / 4, 0.75: 3 / 4, 8: 3 / 4}
    for false_per_frame, sensitivity in expected.items():
        assert value(Sensitivity(MATCHED.every, false_per_frame), 4) == sensitivity
    assert value(MATCHED.measures()["sensitivity@IoU0.20/mean"], 4) == pytest.approx(
        (0 + 1 / 4 + 1 / 4 + 4 * 3 / 4) / 7
    )


def test_froc_reaches_beyond_five_boxes() -> None:
    boxes = np.array([NOWHERE] * 6 + [A])
    found = {1: (boxes, np.linspace(0.9, 0.3, 7))}
    matches = match_frames({1: np.array([A])}, found, [1], max_detections=7)
    assert value(Sensitivity(matches, 4.0), 1) == 0
    assert value(Sensitivity(matches, 8.0), 1) == 1


def test_frames_count_as_often_as_they_were_drawn() -> None:
    matches = match_frames(TRUTH, FOUND, [1, 2, 3, 4])
    some = match_frames(TRUTH, FOUND, [1, 4])
    weights = np.array([[1.0, 0, 0, 1], [2, 0, 0, 2], [0, 0, 0, 0], [1, 1, 1, 1]])
    draws = Draws(group=np.arange(4), weights=weights)
    once, twice, nothing, all_of_them = AveragePrecision(matches).values(draws)
    assert once == twice == average_precision(some)
    assert np.isnan(nothing)
    assert all_of_them == average_precision(matches)
    froc = Sensitivity(matches, 0.5).values(draws)
    assert froc[0] == froc[1] == value(Sensitivity(some, 0.5), 2)
    assert np.isnan(froc[2])


def random_boxes(random: np.random.Generator, count: int) -> FloatArray:
    corner = random.uniform(0, 40, (count, 2))
    return np.hstack([corner, corner + random.uniform(10, 30, (count, 2))])


def coco_evaluation(
    truth: dict[int, FloatArray],
    found: dict[int, tuple[FloatArray, FloatArray]],
    ignored: dict[int, FloatArray],
) -> FloatArray:
    """COCO's precision at 101 recalls, float[11, 2, 101]: its ten IoUs and 0.2; 5 and 100 boxes."""

    def rows(boxes: FloatArray, image_id: int) -> list[dict[str, Any]]:
        xywh = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).tolist()
        same = {"image_id": image_id, "category_id": 1, "iscrowd": 0, "area": 1.0}
        return [{"bbox": box, **same} for box in xywh]

    coco = COCO()
    annotations = [row for i in truth for row in rows(truth[i], i)]
    annotations += [{**row, "iscrowd": 1} for i in ignored for row in rows(ignored[i], i)]
    coco.dataset = {
        "images": [{"id": i} for i in truth],
        "categories": [{"id": 1}],
        "annotations": [{**row, "id": n} for n, row in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    results = [
        {**row, "score": float(score)}
        for i, (boxes, scores) in found.items()
        for row, score in zip(rows(boxes, i), scores, strict=True)
    ]
    evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
    evaluation.params.iouThrs = np.append(evaluation.params.iouThrs, np.nextafter(0.2, 1))
    evaluation.params.maxDets = [5, 100]
    evaluation.evaluate()
    evaluation.accumulate()
    precision: FloatArray = evaluation.eval["precision"][:, :, 0, 0, :]
    return precision.transpose(0, 2, 1)
