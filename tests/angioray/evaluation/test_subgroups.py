"""Recall of subgroups of lesions, worked out on paper."""

import numpy as np

from angioray.evaluation.detection import JudgedFrames, detector_metrics
from tests.angioray.four_frames import judged

RECALL = "recall@IoU0.20/score0.50/max5"


def box(x: float, side: float, y: float = 300.0) -> tuple[float, float, float, float]:
    return (x, y, x + side, y + side)


def test_by_size_with_cocos_limits() -> None:
    # 31.9 and 32 px, 95.9 and 96 px; the second and the third are found.
    truth = {i: np.array([box(0, side)]) for i, side in enumerate((31.9, 32, 95.9, 96), start=1)}
    found = {i: (truth[i], np.array([0.9])) for i in (2, 3)}
    metrics = detector_metrics(judged(truth, 1, 2, 3, 4), found)
    recalls = [metrics[f"{RECALL}/size-{size}"] for size in ("small", "medium", "large")]
    assert recalls == [0, 1, 0]


def test_sizes_are_areas_wherever_the_box_is() -> None:
    # 20 x 51 = 1020 is small, 8 x 128 = 1024 medium, 64 x 144 = 9216 large.
    sides = ((20, 51), (8, 128), (64, 144))
    truth = {i: np.array([[90.0, 40, 90 + w, 40 + h]]) for i, (w, h) in enumerate(sides)}
    for i, size in enumerate(("small", "medium", "large")):
        found = {i: (truth[i], np.array([0.9]))}
        metrics = detector_metrics(judged(truth, 0, 1, 2), found)
        recalls = {s: metrics[f"{RECALL}/size-{s}"] for s in ("small", "medium", "large")}
        assert recalls == {s: float(s == size) for s in recalls}


def test_by_how_many_lesions_the_frame_has() -> None:
    row = np.array([box(100 * i, 40) for i in range(4)])
    truth = {1: row[:1], 2: row[:2], 3: row[:3], 4: row}
    found = {
        1: (row[:1], np.array([0.9])),
        2: (row[1:2], np.array([0.9])),  # one of two
        3: (row[:2], np.array([0.9, 0.4])),  # the second is below the threshold
        4: (row[[3, 0]], np.array([0.6, 0.8])),
    }
    metrics = detector_metrics(judged(truth, 1, 2, 3, 4), found)
    assert metrics[f"{RECALL}/lesions-1"] == 1
    assert metrics[f"{RECALL}/lesions-2"] == 1 / 2
    without = detector_metrics(judged({2: truth[2], 4: row}, 2, 4), {4: (row, np.full(4, 0.9))})
    assert without[f"{RECALL}/lesions-2"] == 0
    assert metrics[f"{RECALL}/lesions-3+"] == 3 / 7


def test_by_the_lowest_ifr_of_the_sequence() -> None:
    truth = {i: np.array([box(0, 40)]) for i in (1, 2, 3, 4)}
    found = {i: (truth[i], np.array([0.9])) for i in (1, 3)}
    frames = JudgedFrames(
        sequence=dict(zip(truth, "abcd", strict=True)),
        truth=truth,
        ifr={1: 0.89, 2: 0.7, 3: 0.9},
    )
    metrics = detector_metrics(frames, found)
    assert metrics[f"{RECALL}/iFR-low"] == 1 / 2
    assert metrics[f"{RECALL}/iFR-high"] == 1
    missed = detector_metrics(frames, {3: found[3]})  # 0.89 is low, and not high as well
    assert missed[f"{RECALL}/iFR-low"] == 0 and missed[f"{RECALL}/iFR-high"] == 1
    assert metrics[f"{RECALL}/iFR-unknown"] == 0


def test_a_subgroup_without_lesions_has_no_recall() -> None:
    metrics = detector_metrics(judged({1: np.array([box(0, 40)])}, 1, 2), {})
    assert metrics[f"{RECALL}/size-medium"] == 0
    assert metrics[f"{RECALL}/size-large"] is None
    assert metrics[f"{RECALL}/iFR-low"] is None
