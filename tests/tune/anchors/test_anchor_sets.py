"""Best possible recall by hand, against every anchor of the pyramid, and of a cohort's boxes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from angioray.evaluation.matching import FloatArray
from angioray.models.anchors import pairwise_iou, pyramid_anchors
from angioray.models.settings import AnchorSettings
from angioray.study.selection import CohortIndex
from preprocess.cohort import Cohort
from tune.anchors.anchor_sets import AnchorSet, best_possible_recall, recall_table, training_boxes

ONE_SQUARE = AnchorSettings(ratios=(1.0,), scales=(1.0,), base_size_strides=4.0)


def iou(box: tuple[float, ...], anchors: AnchorSettings = ONE_SQUARE) -> float:
    fit = best_possible_recall(np.array([box]), anchors, size=64, levels=(3, 3))
    return fit.mean_best_iou


def test_ious_by_hand() -> None:
    # Squares of 32 px around every multiple of 8 px from 0 to 56.
    assert iou((16, 16, 48, 48)) == 1
    assert iou((16, 16, 32, 48)) == pytest.approx(0.5)  # half of an anchor
    # Between two columns: 4 px to the left, so 28 x 32 of each are shared.
    assert iou((12, 16, 44, 48)) == pytest.approx(28 * 32 / (2 * 32 * 32 - 28 * 32))
    # In the lower right corner no centre lies beyond 56: 48 to 64 of an anchor that ends at 72.
    assert iou((56, 56, 64, 64)) == pytest.approx(64 / 1024)


def test_ratios_are_height_over_width() -> None:
    upright = AnchorSettings(ratios=(4.0,), scales=(1.0,), base_size_strides=4.0)  # 16 x 64
    assert iou((24, 0, 40, 64), upright) == 1
    assert iou((0, 24, 64, 40), upright) == pytest.approx(256 / (2 * 1024 - 256))


def test_an_iou_of_exactly_the_threshold_is_taught_but_not_correct() -> None:
    small = AnchorSettings(ratios=(1.0,), scales=(1.0,), base_size_strides=2.0)  # 16 x 16
    fifth = np.array([(16, 16, 48, 56)])  # 32 x 40 around an anchor of 256
    fit = best_possible_recall(fifth, small, size=64, levels=(3, 3), foreground_iou=0.5)
    assert fit.mean_best_iou == 0.2
    assert fit.recall == {0.2: 0, 0.5: 0}
    half = np.array([(16, 16, 32, 48)])
    fit = best_possible_recall(half, ONE_SQUARE, size=64, levels=(3, 3), foreground_iou=0.5)
    assert fit.recall == {0.2: 1, 0.5: 1}


corners = st.tuples(*[st.floats(0, 120)] * 2, *[st.floats(1, 90)] * 2)
anchor_sets = st.builds(
    AnchorSettings,
    ratios=st.lists(st.floats(0.2, 5), min_size=1, max_size=3).map(tuple),
    scales=st.lists(st.floats(0.4, 3), min_size=1, max_size=3).map(tuple),
    base_size_strides=st.floats(1, 6),
)


@given(
    boxes=st.lists(corners, min_size=1, max_size=6),
    anchors=anchor_sets,
    levels=st.sampled_from([(3, 3), (2, 4), (3, 5), (3, 7)]),
)
def test_it_is_the_best_of_all_anchors(
    boxes: list[tuple[float, ...]], anchors: AnchorSettings, levels: tuple[int, int]
) -> None:
    size = 128
    xyxy = np.array([(x, y, min(x + w, size), min(y + h, size)) for x, y, w, h in boxes])
    fit = best_possible_recall(xyxy, anchors, size=size, levels=levels)
    best = brute_force(xyxy, anchors, size, levels)
    assert fit.mean_best_iou == pytest.approx(best.mean(), abs=1e-6)
    for threshold, recall in fit.recall.items():
        certain = np.abs(best - threshold) > 1e-6
        low = (best > threshold)[certain].sum() / len(best)
        assert low - 1e-9 <= recall <= low + (~certain).sum() / len(best) + 1e-9


def brute_force(
    boxes: FloatArray, anchors: AnchorSettings, size: int, levels: tuple[int, int]
) -> FloatArray:
    cells = [size // 2**level for level in range(levels[0], levels[1] + 1)]
    every = pyramid_anchors(anchors, cells, size).double()
    best: FloatArray = pairwise_iou(every, torch.tensor(boxes)[None])[0].amax(dim=0).numpy()
    return best


def test_no_boxes_are_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"There are no training boxes .* preprocess propagate"):
        best_possible_recall(np.empty((0, 4)), ONE_SQUARE, size=64, levels=(3, 3))
    with pytest.raises(ValueError, match="1 of 2 training boxes have no area"):
        boxes = np.array([(0, 0, 8, 8), (8, 8, 8, 16)])
        best_possible_recall(boxes, ONE_SQUARE, size=64, levels=(3, 3))


def test_boxes_of_the_given_sequences_in_network_pixels(toy_cohort: Cohort) -> None:
    index = CohortIndex.of(toy_cohort, {"RCA": "RCA", "LCA": "LCA"})
    given = ["S00RCA", "S03RCA", "S10RCA"]  # the last is healthy
    boxes = training_boxes(index, given, "BGNL", size=128)
    # Frames 2 to 6 of two cines of 64 px, a square of 14 px in each.
    assert boxes.shape == (10, 4)
    assert np.allclose(boxes[:, 2:] - boxes[:, :2], 28)
    stored = [b.box_xyxy for b in toy_cohort.boxes if b.sequence_id in given]
    assert sorted(map(tuple, (boxes / 2).tolist())) == sorted(stored)
    assert training_boxes(index, ["S10RCA"], "NL", size=128).shape == (0, 4)


def test_the_table_and_what_the_sweep_keeps() -> None:
    boxes = np.array([(16, 16, 48, 48), (16, 16, 32, 48), (56, 56, 64, 64)])
    large = AnchorSettings(ratios=(1.0,), scales=(1.0, 2.0), base_size_strides=8.0)
    sets = [
        AnchorSet(
            name=name,
            anchors=anchors,
            fit=best_possible_recall(boxes, anchors, size=64, levels=(3, 3)),
        )
        for name, anchors in (("paper", ONE_SQUARE), ("much too large", large))
    ]
    assert recall_table(sets) == [
        "Best possible recall of 3 training boxes, before any training:",
        "anchors         per cell  recall at IoU 0.2  recall at IoU 0.5  mean best IoU",
        "paper                  1             66.7 %             66.7 %          0.521",
        "much too large         2             33.3 %              0.0 %          0.130",
    ]
    assert sets[0].as_json() == {
        "name": "paper",
        "ratios": [1.0],
        "scales": [1.0],
        "base_size_strides": 4.0,
        "best_possible_recall": {"0.2": pytest.approx(2 / 3), "0.5": pytest.approx(2 / 3)},
        "mean_best_iou": pytest.approx((1 + 0.5 + 1 / 16) / 3),
    }
    with pytest.raises(ValueError, match="no anchor sets"):
        recall_table([])
