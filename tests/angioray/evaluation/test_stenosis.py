"""Tubes of known narrowing, and the true lumen of phantoms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from angioray.evaluation.stenosis import GRADES, dice, grade, percent_stenosis
from angioray.study.segmentation import drawn, window
from preprocess.phantom.plan import make
from preprocess.phantom.reader import drawn_boxes, drawn_outlines, sequence_truth
from preprocess.phantom.scene import Scene
from preprocess.phantom.settings import PhantomSettings


def tube(percent: float, turned_deg: float, taper: float = 0.0) -> NDArray[np.float32]:
    """A tube of 10 pixels, 48 long, narrowed in its middle (float32[64, 64])."""
    y, x = (np.mgrid[: 64 * 8, : 64 * 8] + 0.5) / 8 - 32
    angle = np.radians(turned_deg)
    along, aside = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    radius = (5 - taper * along) * (1 - percent / 100 * np.exp(-((along / 5) ** 2)))
    inside = (np.abs(aside) < radius) & (np.abs(along) < 24)
    return inside.reshape(64, 8, 64, 8).mean(axis=(1, 3)).astype(np.float32)


@pytest.mark.parametrize("turned_deg", [0, 30, 45, 75, 90])
@pytest.mark.parametrize(("percent", "tolerance"), [(30, 7), (50, 5), (70, 3), (90, 2)])
def test_a_tube_is_as_narrow_as_it_was_made(
    percent: float, tolerance: float, turned_deg: float
) -> None:
    assert percent_stenosis(tube(percent, turned_deg)) == pytest.approx(percent, abs=tolerance)


def test_a_tapering_tube_is_compared_with_its_own_width_at_the_narrowest_place() -> None:
    assert percent_stenosis(tube(60, 20, taper=0.06)) == pytest.approx(60, abs=4)


def test_a_place_where_the_lumen_is_not_seen_is_an_occlusion_and_no_end() -> None:
    mask = tube(0, 0)
    mask[:, 28:36] = 0
    assert percent_stenosis(mask) == pytest.approx(100, abs=1)


def test_a_speck_in_a_corner_is_no_end_of_the_artery() -> None:
    mask = tube(20, 30)
    whole = percent_stenosis(mask)
    mask[1, 62] = 1
    assert percent_stenosis(mask) == pytest.approx(whole, abs=0.5)


def test_what_is_no_tube_has_no_percent() -> None:
    y, x = np.mgrid[:64, :64] - 32
    assert percent_stenosis(np.zeros((64, 64), np.float32)) is None
    assert percent_stenosis((x**2 + y**2 < 100).astype(np.float32)) is None


def test_grades_begin_at_their_bounds() -> None:
    assert [GRADES[grade(p)] for p in (0, 49.9, 50, 69.9, 70, 99.9, 100)] == [
        *[GRADES[0]] * 2,
        *[GRADES[1]] * 2,
        *[GRADES[2]] * 2,
        GRADES[3],
    ]


def test_dice_of_two_squares() -> None:
    one, other = np.zeros((2, 8, 8), np.float32)
    one[:4, :4], other[:4, 2:6] = 1, 1
    assert dice(one, other) == 2 * 8 / 32
    assert dice(one, one) == 1


def test_the_true_lumen_of_phantoms_has_nearly_the_true_percent() -> None:
    """Foreshortening hides some of it: that is a part of the error, and most of the bias."""
    settings = PhantomSettings(patients=12, sequences=24, frames_min=20, frames_max=20)
    errors = []
    for plan in make(settings):
        scene = Scene.of(plan, settings.seed)
        truth = sequence_truth(scene)
        seen = [box.lesion_id for box in truth.boxes_in(truth.reference_frame)]
        percents = {lesion.lesion_id: lesion.diameter_loss_percent for lesion in truth.lesions}
        boxes, lumens = drawn_boxes(scene, truth), drawn_outlines(scene, truth)
        for lesion_id, box, lumen in zip(seen, boxes, lumens, strict=True):
            mask = drawn((tuple(value for corner in lumen for value in corner),), window(box))
            found = percent_stenosis(mask)
            assert found is not None
            errors.append(found - percents[lesion_id])
    assert len(errors) > 20
    assert np.abs(errors).mean() < 7
    assert np.median(np.abs(errors)) < 5
    assert -7 < np.mean(errors) < 1
