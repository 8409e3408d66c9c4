"""The batched targets and losses give torchvision's numbers, and by hand on one anchor."""

import math

import pytest
import torch
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.ops import box_iou, sigmoid_focal_loss

from angioray.models.anchors import pyramid_anchors
from angioray.models.losses import box_loss, classification_loss, match_anchors
from angioray.models.settings import AnchorSettings, DetectionLossSettings

SETTINGS = DetectionLossSettings()
ANCHORS = pyramid_anchors(AnchorSettings(), [16, 8], 128)


def detection_loss(
    logits: torch.Tensor,
    offsets: torch.Tensor,
    anchors: torch.Tensor,
    boxes: torch.Tensor,
    settings: DetectionLossSettings,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both losses of all anchors."""
    match = match_anchors(anchors, boxes, settings)
    at = torch.arange(logits.numel())
    return (
        classification_loss(logits, match, settings),
        box_loss(offsets.flatten(0, 1), at, anchors, boxes, match, settings),
    )


def boxes_of_images(seed: int) -> list[torch.Tensor]:
    """Images with none, one, two and four boxes."""
    generator = torch.Generator().manual_seed(seed)
    images = []
    for count in (0, 1, 2, 4):
        corner = torch.rand(count, 2, generator=generator) * 80
        side = 3 + torch.rand(count, 2, generator=generator) * 45
        images.append(torch.cat([corner, corner + side], dim=1))
    return images


def padded(images: list[torch.Tensor]) -> torch.Tensor:
    batch = torch.zeros(len(images), 4, 4)
    for row, boxes in zip(batch, images, strict=True):
        row[: len(boxes)] = boxes
    return batch


@pytest.mark.parametrize("seed", range(8))
def test_matching_is_torchvisions(seed: int) -> None:
    images = boxes_of_images(seed)
    match = match_anchors(ANCHORS, padded(images), SETTINGS)
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
    for i, boxes in enumerate(images):
        if not len(boxes):
            assert match.background[i].all()
            continue
        theirs = matcher(box_iou(boxes, ANCHORS))
        assert torch.equal(match.foreground[i], theirs >= 0)
        assert torch.equal(match.background[i], theirs == Matcher.BELOW_LOW_THRESHOLD)
        lesion = match.foreground[i]
        assert torch.equal(match.boxes[i][lesion], theirs[lesion])


@pytest.mark.parametrize("seed", range(4))
def test_losses_are_a_loop_over_images_with_torchvisions_parts(seed: int) -> None:
    images = boxes_of_images(seed)
    generator = torch.Generator().manual_seed(100 + seed)
    logits = torch.randn(len(images), len(ANCHORS), generator=generator)
    offsets = torch.randn(len(images), len(ANCHORS), 4, generator=generator)
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
    coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
    classification, box = [], []
    for i, boxes in enumerate(images):
        theirs = (
            matcher(box_iou(boxes, ANCHORS))
            if len(boxes)
            else torch.full((len(ANCHORS),), Matcher.BELOW_LOW_THRESHOLD)
        )
        positive, used = theirs >= 0, theirs != Matcher.BETWEEN_THRESHOLDS
        count = max(1, int(positive.sum()))
        focal = sigmoid_focal_loss(logits[i], positive.float(), 0.25, 2.0)
        classification.append(focal[used].sum() / count)
        target = coder.encode_single(boxes[theirs[positive]], ANCHORS[positive])
        distance = torch.nn.functional.smooth_l1_loss(
            offsets[i][positive], target, reduction="sum", beta=1 / 9
        )
        box.append(distance / count)
    ours = detection_loss(logits, offsets, ANCHORS, padded(images), SETTINGS)
    torch.testing.assert_close(ours[0], torch.stack(classification).mean())
    torch.testing.assert_close(ours[1], torch.stack(box).mean())


def test_one_anchor_by_hand() -> None:
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    boxes = torch.tensor([[[0.0, 0.0, 10.0, 10.0]]])
    offsets = torch.tensor([[[0.5, 0.0, 0.0, 0.0]]])
    settings = DetectionLossSettings(focal_alpha=0.3, focal_gamma=1.0, smooth_l1_beta=0.1)
    classification, box = detection_loss(torch.zeros(1, 1), offsets, anchors, boxes, settings)
    # p = 1/2: alpha * (1 - p)^gamma * -log p; beyond beta smooth L1 is |x| - beta / 2.
    assert classification.item() == pytest.approx(0.3 * 0.5 * math.log(2))
    assert box.item() == pytest.approx(0.5 - 0.05)


def test_no_box_in_the_batch_gives_finite_losses_and_gradients() -> None:
    logits = torch.zeros(2, len(ANCHORS), requires_grad=True)
    offsets = torch.zeros(2, len(ANCHORS), 4, requires_grad=True)
    losses = detection_loss(logits, offsets, ANCHORS, torch.zeros(2, 1, 4), SETTINGS)
    sum(losses).backward()
    assert losses[1].item() == 0
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    assert offsets.grad is not None and (offsets.grad == 0).all()


def test_the_step_compiles_without_a_break() -> None:
    explained = torch._dynamo.explain(detection_loss)(
        torch.zeros(2, len(ANCHORS)),
        torch.zeros(2, len(ANCHORS), 4),
        ANCHORS,
        padded(boxes_of_images(0))[:2],
        SETTINGS,
    )
    assert explained.graph_break_count == 0, explained.break_reasons
