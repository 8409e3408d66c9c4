"""Proposed anchors: the shapes that boxes have, never worse than the base set, and repeatable."""

import numpy as np
import pytest

from angioray.evaluation.matching import FloatArray
from angioray.models.settings import AnchorSettings
from preprocess.phantom import reader
from preprocess.phantom.plan import make
from preprocess.phantom.scene import Scene
from preprocess.phantom.settings import PhantomSettings
from tune.anchors.anchor_sets import best_possible_recall
from tune.anchors.proposed_anchors import proposed_anchors

PAPER = AnchorSettings()


def scattered(sides: FloatArray, size: int = 512, seed: int = 0) -> FloatArray:
    """Boxes of these widths and heights anywhere in the image."""
    corner = np.random.default_rng(seed).uniform(0, size - sides)
    return np.hstack([corner, corner + sides])


@pytest.fixture(scope="module")
def phantom_boxes() -> FloatArray:
    settings = PhantomSettings(patients=12, sequences=16, frames_min=8, frames_max=10)
    scenes = [Scene.of(plan, settings.seed) for plan in make(settings) if not plan.exclude]
    boxes = [box.box_xyxy for scene in scenes for box in reader.sequence_truth(scene).boxes]
    return np.array(boxes)


@pytest.mark.parametrize(("width", "height"), [(80, 20), (16, 72)])
def test_elongated_boxes_give_elongated_anchors(width: float, height: float) -> None:
    boxes = scattered(np.tile([width, height], (200, 1)).astype(float))
    proposal = proposed_anchors(boxes, PAPER, size=512, levels=(3, 7))
    assert not proposal.is_base
    anchors = proposal.anchors
    assert min(abs(np.log(np.array(anchors.ratios) * width / height))) < np.log(1.15)
    sides = anchors.base_size_strides * np.outer(2.0 ** np.arange(3, 8), anchors.scales)
    assert np.abs(np.log(sides / np.sqrt(width * height))).min() < np.log(1.15)


def test_two_kinds_of_boxes_get_a_ratio_each() -> None:
    sides = np.array([(90.0, 30.0)] * 60 + [(30.0, 90.0)] * 60)
    proposal = proposed_anchors(
        scattered(sides), PAPER, size=512, levels=(3, 7), ratios=2, scales=1
    )
    low, high = proposal.anchors.ratios
    assert low == pytest.approx(1 / 3, rel=0.15) and high == pytest.approx(3, rel=0.15)
    assert proposal.anchors.scales == (1.0,)


def test_phantom_lesions_are_met_better_than_by_the_papers_anchors(
    phantom_boxes: FloatArray,
) -> None:
    proposal = proposed_anchors(phantom_boxes, PAPER, size=512, levels=(3, 7))
    before, after = (
        best_possible_recall(phantom_boxes, anchors, size=512, levels=(3, 7))
        for anchors in (PAPER, proposal.anchors)
    )
    assert after.mean_best_iou > before.mean_best_iou + 0.02
    assert proposal.anchors.per_cell == PAPER.per_cell
    assert f"from {before.mean_best_iou:.3f} to {after.mean_best_iou:.3f}" in proposal.reason


def test_the_same_seed_gives_the_same_anchors(phantom_boxes: FloatArray) -> None:
    first, again, other = (
        proposed_anchors(phantom_boxes, PAPER, size=256, levels=(3, 4), seed=seed).anchors
        for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_a_base_set_that_cannot_be_surpassed_is_kept() -> None:
    # Boxes that are anchors of the base set: a mean best IoU of 1.
    base = AnchorSettings(ratios=(1.0,), scales=(1.0,), base_size_strides=4.0)
    boxes = np.array([(16.0, 16, 48, 48), (24, 8, 56, 40), (0, 0, 64, 64)])
    proposal = proposed_anchors(boxes, base, size=64, levels=(3, 4))
    assert proposal.is_base and proposal.anchors == base
    assert "The base set is kept: its mean best IoU of 1.000 over 3" in proposal.reason


def test_what_cannot_be_fitted_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="There are no training boxes"):
        proposed_anchors(np.empty((0, 4)), PAPER, size=512, levels=(3, 7))
    with pytest.raises(ValueError, match="0 ratios and 3 scales were asked for"):
        proposed_anchors(scattered(np.ones((3, 2))), PAPER, size=512, levels=(3, 7), ratios=0)
