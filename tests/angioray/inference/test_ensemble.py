"""Fusion and flips against numbers worked out on paper."""

import numpy as np
import pytest
import torch

from angioray.evaluation.matching import Detections
from angioray.inference.ensemble import flipped_boxes, flipped_images, fuse
from angioray.inference.settings import EnsembleSettings


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, dtype=float).reshape(-1, 4)


def test_fusion_by_hand() -> None:
    one = (boxes((0, 0, 10, 10), (50, 50, 60, 60)), np.array([0.9, 0.4]))
    two = (boxes((1, 0, 11, 10)), np.array([0.6]))
    ((fused, scores),) = fuse([[one], [two]], iou=0.5, most=10)
    # (.9 x 0 + .6 x 1) / 1.5 = .4; both found it: (.9 + .6) / 2. One of two the other: .4 / 2.
    assert fused == pytest.approx(boxes((0.4, 0, 10.4, 10), (50, 50, 60, 60)))
    assert scores == pytest.approx([0.75, 0.2])


def test_boxes_that_overlap_little_stay_apart() -> None:
    one = (boxes((0, 0, 10, 10)), np.array([0.9]))
    two = (boxes((6, 0, 16, 10)), np.array([0.8]))  # IoU 40 / 160
    ((fused, scores),) = fuse([[one], [two]], iou=0.5, most=10)
    assert len(fused) == 2 and scores == pytest.approx([0.45, 0.4])


def test_one_opinion_is_left_as_it_is() -> None:
    found = boxes((0, 0, 10, 10), (0, 0, 10, 10))
    ((fused, scores),) = fuse([[(found, np.array([0.9, 0.8]))]], iou=0.5, most=10)
    assert fused.tolist() == found.tolist() and scores.tolist() == [0.9, 0.8]


def test_more_boxes_than_opinions_in_one_place_do_not_raise_the_score() -> None:
    twice = (boxes((0, 0, 10, 10), (0, 0, 10, 10)), np.array([0.8, 0.8]))
    nothing = (boxes(), np.empty(0))
    ((_, scores),) = fuse([[twice], [nothing]], iou=0.5, most=10)
    assert scores == pytest.approx([0.8])
    assert fuse([[nothing], [nothing]], iou=0.5, most=10)[0][1].shape == (0,)
    assert len(fuse([[twice], [twice]], iou=0.5, most=0)[0][0]) == 0


def test_frames_that_are_fused_together_are_fused_as_each_alone() -> None:
    random = np.random.default_rng(0)

    def found(count: int) -> Detections:
        corner, side = random.uniform(0, 60, (count, 2)), random.uniform(20, 40, (count, 2))
        return np.hstack([corner, corner + side]), -np.sort(-random.uniform(0.01, 1, count))

    members = [[found(n) for n in counts] for counts in ((9, 0, 30), (4, 0, 30), (0, 1, 17))]
    together = fuse(members, iou=0.4, most=12)
    for f, (boxes, scores) in enumerate(together):
        ((alone, theirs),) = fuse([[member[f]] for member in members], iou=0.4, most=12)
        np.testing.assert_array_equal(boxes, alone)
        np.testing.assert_array_equal(scores, theirs)
    assert [len(scores) for _, scores in together] == [9, 1, 12]


def test_a_flip_undoes_itself_and_moves_boxes_as_it_moves_pixels() -> None:
    image = torch.zeros(1, 1, 20, 30)
    image[0, 0, 2:5, 7:12] = 1
    box = boxes((7, 2, 12, 5))
    for flip, size in (("horizontal", 30), ("vertical", 20)):
        rows, columns = torch.nonzero(flipped_images(image, flip)[0, 0], as_tuple=True)
        seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert flipped_boxes(box, flip, size).tolist() == [[float(v) for v in seen]]
        assert flipped_boxes(flipped_boxes(box, flip, size), flip, size).tolist() == box.tolist()


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="fusion_iou is 1"):
        EnsembleSettings(fusion_iou=1)
    with pytest.raises(ValueError, match="name each once"):
        EnsembleSettings(flips=("vertical", "vertical"))
