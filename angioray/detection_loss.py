"""RetinaNet's targets and losses for a whole batch at once: static shapes, no loop over images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from angioray.boxes import encode, pairwise_iou


@dataclass(frozen=True, kw_only=True)
class DetectionLossSettings:
    """Which anchors are lesions, and what a mistake costs."""

    focal_alpha: float = 0.25
    """Weight of lesion anchors against background, 0 to 1."""
    focal_gamma: float = 2.0
    """How strongly easy anchors are played down, 0 or more."""
    smooth_l1_beta: float = 1 / 9
    """Offset at which the box loss turns from quadratic to linear."""
    box_weight: float = 1.0
    """Weight of the box loss against the classification loss."""
    foreground_iou: float = 0.5
    """An anchor of at least this IoU with a box is a lesion, 0 to 1."""
    background_iou: float = 0.4
    """An anchor of less than this IoU with every box is background, 0 to 1."""


def match_anchors(
    anchors: Tensor, boxes: Tensor, settings: DetectionLossSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """Assign anchors to boxes as torchvision's Matcher does with low-quality matches allowed.

    Args:
        anchors: float[A, 4] xyxy.
        boxes: float[B, G, 4] xyxy, padded with boxes of no area; G is at least 1.
        settings: the two thresholds.

    Returns:
        The box of each anchor (int64[B, A]), which anchors are lesions and which are background
        (bool[B, A]); those that are neither are ignored.
    """
    iou = pairwise_iou(anchors, boxes)
    best_iou, matched = iou.max(dim=2)
    # Every box keeps the anchors that fit it best, however badly: no lesion goes untrained.
    best_of_box = iou.amax(dim=1, keepdim=True)
    low_quality = ((iou == best_of_box) & (best_of_box > 0)).any(dim=2)
    foreground = (best_iou >= settings.foreground_iou) | low_quality
    background = (best_iou < settings.background_iou) & ~foreground
    return matched, foreground, background


def detection_loss(
    logits: Tensor,
    offsets: Tensor,
    anchors: Tensor,
    boxes: Tensor,
    settings: DetectionLossSettings,
) -> tuple[Tensor, Tensor]:
    """Focal and box loss, each per image over its lesion anchors (at least 1), averaged.

    Args:
        logits: float[B, A], the network's lesion score before the sigmoid.
        offsets: float[B, A, 4], the network's boxes relative to the anchors.
        anchors: float[A, 4] xyxy.
        boxes: float[B, G, 4] xyxy, padded with boxes of no area.
        settings: thresholds and weights.

    Returns:
        Classification loss and (weighted) box loss, scalars.
    """
    matched, foreground, background = match_anchors(anchors, boxes, settings)
    lesion_anchors = foreground.sum(dim=1).clamp(min=1)
    focal = sigmoid_focal_loss(
        logits, foreground.to(logits.dtype), settings.focal_alpha, settings.focal_gamma
    )
    classification = (focal * (foreground | background)).sum(dim=1) / lesion_anchors
    target_boxes = boxes.gather(1, matched[..., None].expand(-1, -1, 4))
    # Anchors without a lesion get their own box as target: finite, and masked away below.
    target_boxes = torch.where(foreground[..., None], target_boxes, anchors)
    distance = F.smooth_l1_loss(
        offsets, encode(target_boxes, anchors), reduction="none", beta=settings.smooth_l1_beta
    )
    box = (distance.sum(dim=2) * foreground).sum(dim=1) / lesion_anchors
    return classification.mean(), settings.box_weight * box.mean()
