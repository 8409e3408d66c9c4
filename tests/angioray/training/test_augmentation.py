"""Augmentation moves boxes with their pictures, and is the same for the same step."""

import pytest
import torch

from angioray.models.backbone import GREY_STD
from angioray.training.augmentation import Movement, draw_changes, move_boxes, move_images
from angioray.training.frames import normalise
from angioray.training.settings import AugmentationSettings
from tests.angioray.frame_stores import store_of


def pictures(count: int = 64, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat pictures with one bright rectangle each, and its box."""
    images = torch.zeros(count, 1, size, size)
    boxes = torch.zeros(count, 2, 4)
    for i in range(count):
        x, y = 16 + i % 16, 24
        images[i, 0, y : y + 12, x : x + 16] = 1
        boxes[i, 0] = torch.tensor([x, y, x + 16, y + 12])
    return images, boxes


def moved(
    settings: AugmentationSettings, count: int, *, seed: int = 0, step: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures and boxes after the changes of a step."""
    images, boxes = pictures(count)
    _, movement = draw_changes(settings, count, seed=seed, step=step)
    assert movement is not None
    return move_images(images, movement), move_boxes(boxes, movement, 64)


def test_the_box_follows_its_rectangle() -> None:
    settings = AugmentationSettings(zoom=0.2, shift=0.1, flip=0.5)
    images, boxes = moved(settings, 64, seed=1, step=5)
    assert not torch.equal(images, pictures()[0])
    for image, box in zip(images[:, 0], boxes[:, 0], strict=True):
        rows, columns = (image > 0.5).nonzero().T
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box.tolist() == pytest.approx([float(v) for v in found], abs=1.01)
    assert (boxes[:, 1] == 0).all()  # padding stays padding


def test_a_flip_by_hand() -> None:
    images, boxes = moved(AugmentationSettings(flip=1.0), 1)
    torch.testing.assert_close(images, pictures(1)[0].flip(3))
    torch.testing.assert_close(boxes[0, 0], torch.tensor([32.0, 24.0, 48.0, 36.0]))


def test_a_box_that_leaves_the_frame_is_dropped() -> None:
    _, boxes = moved(AugmentationSettings(shift=0.9), 256)
    kept = boxes[:, 0].any(dim=1)
    assert 0 < kept.sum() < 256
    sides = (boxes[kept, 0, 2:] - boxes[kept, 0, :2]).prod(dim=1)
    assert (sides >= 0.5 * 16 * 12 - 1e-3).all() and boxes.min() >= 0 and boxes.max() <= 64


def test_brightness_and_contrast_by_their_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (200, 1, 8, 8), dtype=torch.uint8, generator=generator)
    store = store_of(pixels)
    tone, movement = draw_changes(
        AugmentationSettings(brightness=0.1, contrast=0.3), 200, seed=0, step=0
    )
    assert tone is not None and movement is None
    rows = torch.arange(200).numpy()
    changed, images = store.images(rows, tone), normalise(pixels)
    shift = (changed.mean(dim=(1, 2, 3)) - images.mean(dim=(1, 2, 3))) * GREY_STD
    gain = changed.std(dim=(1, 2, 3)) / images.std(dim=(1, 2, 3))
    assert 0.08 < shift.abs().max() <= 0.1 + 1e-5
    assert 1.25 < gain.max() <= 1.3 + 1e-5 and 0.7 - 1e-5 <= gain.min() < 0.75
    torch.testing.assert_close(gain, tone.gain)
    torch.testing.assert_close(shift, tone.shift * GREY_STD, atol=1e-5, rtol=1e-4)


def test_the_same_step_changes_the_same_way_and_no_change_is_none() -> None:
    settings = AugmentationSettings(zoom=0.1, flip=0.5)
    first, again, other = (moved(settings, 4, seed=7, step=step)[0] for step in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    still = AugmentationSettings(brightness=0.0, contrast=0.0)
    assert draw_changes(still, 4, seed=0, step=0) == (None, None)


def test_what_cannot_work_is_said_all_together() -> None:
    with pytest.raises(ValueError, match=r"zoom is 1; it must be .* below 1\. flip is 2; it must"):
        AugmentationSettings(zoom=1, flip=2)


def test_what_comes_from_outside_repeats_the_rim() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    right = Movement(torch.ones(2, 1), torch.tensor([[1.0], [0.0]]))  # by half a side
    expected = image[0, 0][:, [0, 0, 0, 1]]
    torch.testing.assert_close(move_images(image, right)[0, 0], expected)


@pytest.mark.parametrize(("shift", "stays"), [(8.0, True), (8.5, False)])
def test_a_box_stays_while_half_of_it_is_seen(shift: float, stays: bool) -> None:
    boxes = torch.tensor([[[0.0, 20.0, 16.0, 30.0]]])
    moved = move_boxes(boxes, Movement(torch.ones(2, 1), torch.tensor([[-shift / 32], [0]])), 64)
    expected = [0.0, 20.0, 16 - shift, 30.0] if stays else [0.0] * 4
    assert moved[0, 0].tolist() == pytest.approx(expected)
