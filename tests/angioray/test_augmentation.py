"""Augmentation moves boxes with their pictures, and is the same for the same step."""

import pytest
import torch

from angioray.augmentation import AugmentationSettings, augment
from angioray.backbone import GREY_STD

STILL = AugmentationSettings(brightness=0.0, contrast=0.0)


def pictures(count: int = 64, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat pictures with one bright rectangle each, and its box."""
    images = torch.zeros(count, 1, size, size)
    boxes = torch.zeros(count, 2, 4)
    for i in range(count):
        x, y = 16 + i % 16, 24
        images[i, 0, y : y + 12, x : x + 16] = 1
        boxes[i, 0] = torch.tensor([x, y, x + 16, y + 12])
    return images, boxes


def test_the_box_follows_its_rectangle() -> None:
    images, boxes = pictures()
    settings = AugmentationSettings(brightness=0, contrast=0, zoom=0.2, shift=0.1, flip=0.5)
    moved, moved_boxes = augment(images, boxes, settings, seed=1, step=5)
    assert moved_boxes is not None and not torch.equal(moved, images)
    for image, box in zip(moved[:, 0], moved_boxes[:, 0], strict=True):
        rows, columns = (image > 0.5).nonzero().T
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box.tolist() == pytest.approx([float(v) for v in found], abs=1.01)
    assert (moved_boxes[:, 1] == 0).all()  # padding stays padding


def test_a_flip_by_hand() -> None:
    images, boxes = pictures(1)
    settings = AugmentationSettings(brightness=0, contrast=0, flip=1.0)
    moved, moved_boxes = augment(images, boxes, settings, seed=0, step=0)
    torch.testing.assert_close(moved, images.flip(3))
    assert moved_boxes is not None
    torch.testing.assert_close(moved_boxes[0, 0], torch.tensor([32.0, 24.0, 48.0, 36.0]))


def test_a_box_that_leaves_the_frame_is_dropped() -> None:
    images, boxes = pictures(256)
    settings = AugmentationSettings(brightness=0, contrast=0, shift=0.9)
    _, moved = augment(images, boxes, settings, seed=0, step=0)
    assert moved is not None
    kept = moved[:, 0].any(dim=1)
    assert 0 < kept.sum() < 256
    sides = (moved[kept, 0, 2:] - moved[kept, 0, :2]).prod(dim=1)
    assert (sides >= 0.5 * 16 * 12 - 1e-3).all() and moved.min() >= 0 and moved.max() <= 64


def test_brightness_and_contrast_by_their_definition() -> None:
    images = torch.randn(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    settings = AugmentationSettings(brightness=0.1, contrast=0.3)
    changed, boxes = augment(images, None, settings, seed=0, step=0)
    assert boxes is None
    shift = (changed.mean(dim=(1, 2, 3)) - images.mean(dim=(1, 2, 3))) * GREY_STD
    gain = changed.std(dim=(1, 2, 3)) / images.std(dim=(1, 2, 3))
    assert 0.08 < shift.abs().max() <= 0.1 + 1e-5
    assert 1.25 < gain.max() <= 1.3 + 1e-5 and 0.7 - 1e-5 <= gain.min() < 0.75


def test_the_same_step_changes_the_same_way_and_no_change_is_none() -> None:
    images, boxes = pictures(4)
    settings = AugmentationSettings(zoom=0.1, flip=0.5)
    first, again, other = (augment(images, boxes, settings, seed=7, step=s)[0] for s in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(augment(images, boxes, STILL, seed=0, step=0)[0], images)
