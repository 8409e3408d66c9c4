"""RetinaNet's targets and losses, for a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from angioray.models.anchors import encode, pairwise_iou
from angioray.models.settings import DetectionLossSettings


@dataclass(frozen=True)
class Match:
    """What each anchor of a batch is to learn; an anchor that is neither of the two is ignored.

    Attributes:
        boxes: int64[B, A], the box of each anchor among those of its image.
        foreground: bool[B, A], anchors that are lesions.
        background: bool[B, A], anchors that are none.
    """

    boxes: Tensor
    foreground: Tensor
    background: Tensor

    @property
    def lesion_anchors(self) -> Tensor:
        """Lesion anchors of each image, at least 1 (int64[B])."""
        return self.foreground.sum(dim=1).clamp(min=1)


def match_anchors(anchors: Tensor, boxes: Tensor, settings: DetectionLossSettings) -> Match:
    """Assign anchors to boxes as torchvision's Matcher does with low-quality matches allowed.

    Args:
        anchors: float[A, 4] xyxy.
        boxes: float[B, G, 4] xyxy, padded with boxes of no area; G is at least 1.
        settings: the two thresholds.
    """
    iou = pairwise_iou(anchors, boxes)
    best_iou, matched = iou.max(dim=2)
    # Every box keeps the anchors that fit it best, however badly: no lesion goes untrained.
    best_of_box = iou.amax(dim=1, keepdim=True)
    low_quality = ((iou == best_of_box) & (best_of_box > 0)).any(dim=2)
    foreground = (best_iou >= settings.foreground_iou) | low_quality
    background = (best_iou < settings.background_iou) & ~foreground
    return Match(matched, foreground, background)


def classification_loss(logits: Tensor, match: Match, settings: DetectionLossSettings) -> Tensor:
    """Focal loss (Lin et al. 2017, doi:10.1109/ICCV.2017.324) per image over its lesion anchors.

    Args:
        logits: float[B, A], the network's lesion score before the sigmoid.
        match: what the anchors are.
        settings: alpha and gamma.

    Returns:
        The mean over images, a scalar.
    """
    focal = sigmoid_focal_loss(
        logits, match.foreground.to(logits.dtype), settings.focal_alpha, settings.focal_gamma
    )
    counted: Tensor = focal * (match.foreground | match.background)
    return (counted.sum(dim=1) / match.lesion_anchors).mean()


def box_loss(
    offsets: Tensor,
    at: Tensor,
    anchors: Tensor,
    boxes: Tensor,
    match: Match,
    settings: DetectionLossSettings,
) -> Tensor:
    """Smooth L1 loss of lesion anchors' offsets, per image over its lesion anchors.

    Args:
        offsets: float[M, 4], the network's boxes relative to the anchors ``at``.
        at: int64[M], anchors counted over the whole batch (image times A, plus anchor), -1 for
            none. All lesion anchors must be among them; others count nothing.
        anchors: float[A, 4] xyxy.
        boxes: float[B, G, 4] xyxy, padded with boxes of no area.
        match: what the anchors are.
        settings: beta and the weight.

    Returns:
        The weighted mean over images, a scalar.
    """
    real, at = at >= 0, at.clamp(min=0)
    image, anchor = at // len(anchors), at % len(anchors)
    foreground = match.foreground.flatten()[at] & real
    # Anchors without a lesion get their own box as target: finite, and counted with weight 0.
    theirs = anchors[anchor]
    targets = boxes[image, match.boxes.flatten()[at]]
    targets = torch.where(foreground[:, None], targets, theirs)
    distance = F.smooth_l1_loss(
        offsets, encode(targets, theirs), reduction="none", beta=settings.smooth_l1_beta
    )
    weight = foreground / match.lesion_anchors[image]
    return settings.box_weight * (distance.sum(dim=1) * weight).sum() / len(boxes)
