"""The anchors of the pyramid, and boxes as offsets from anchors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from angioray.models.settings import AnchorSettings

MAX_LOG_SCALE = math.log(1000 / 16)
"""A predicted side is at most this (as a logarithm) times its anchor's, lest exp overflow."""


def pyramid_anchors(settings: AnchorSettings, feature_sizes: list[int], size: int) -> Tensor:
    """All anchors of a square image, level by level, row by row (float32[A, 4] xyxy in pixels).

    Args:
        settings: shapes at one cell.
        feature_sizes: side of each level's feature map in cells.
        size: side of the image in pixels.
    """
    generator = anchor_generator(settings, [size / cells for cells in feature_sizes])
    images = ImageList(torch.empty(1, 1, size, size), [(size, size)])
    features = [torch.empty(1, 1, cells, cells) for cells in feature_sizes]
    anchors: Tensor = generator(images, features)[0]
    return anchors


def anchor_generator(settings: AnchorSettings, strides: Sequence[float]) -> AnchorGenerator:
    """torchvision's generator of the anchors of levels with these strides in pixels."""
    return AnchorGenerator(
        sizes=tuple(
            tuple(stride * settings.base_size_strides * scale for scale in settings.scales)
            for stride in strides
        ),
        aspect_ratios=(settings.ratios,) * len(strides),
    )


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Boxes as offsets from their anchors (both float[..., 4] xyxy; paper, equation 1)."""
    anchor_centre, anchor_side = _centre_side(anchors)
    centre, side = _centre_side(boxes)
    return torch.cat([(centre - anchor_centre) / anchor_side, (side / anchor_side).log()], dim=-1)


def decode(offsets: Tensor, anchors: Tensor) -> Tensor:
    """Offsets from anchors back as boxes (float[..., 4] xyxy)."""
    anchor_centre, anchor_side = _centre_side(anchors)
    centre = offsets[..., :2] * anchor_side + anchor_centre
    half = offsets[..., 2:].clamp(max=MAX_LOG_SCALE).exp() * anchor_side / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def _centre_side(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]


def pairwise_iou(anchors: Tensor, boxes: Tensor) -> Tensor:
    """IoU of anchors (float[A, 4]) with each image's boxes (float[B, G, 4]), as float[B, A, G].

    A padding box of no area has IoU 0 with everything.
    """
    low = torch.maximum(anchors[None, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(anchors[None, :, None, 2:], boxes[:, None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=-1)
    area = (anchors[:, 2:] - anchors[:, :2]).prod(dim=-1)[None, :, None]
    box_area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)[:, None, :]
    return overlap / (area + box_area - overlap)
