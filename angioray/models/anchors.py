"""Boxes and anchors: the pyramid's anchors, and boxes told relative to them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

MAX_LOG_SCALE = math.log(1000 / 16)
"""A predicted side is at most this (as a logarithm) times its anchor's, lest exp overflow."""


@dataclass(frozen=True, kw_only=True)
class AnchorSettings:
    """The anchors at every cell of every pyramid level (paper, section 3.2: A = 12)."""

    ratios: tuple[float, ...] = (1.0, 0.5, 2.0, 4.0)
    """Height over width."""
    scales: tuple[float, ...] = (1.0, 2**0.5, 2.0)
    """Multiples of a level's base size."""
    base_size_strides: float = 4.0
    """A level's base size, in strides of that level (4: 32 px at stride 8, as RetinaNet has it)."""

    def __post_init__(self) -> None:
        if not self.ratios or not self.scales:
            raise ValueError("Anchors need at least one ratio and one scale.")
        if min(*self.ratios, *self.scales, self.base_size_strides) <= 0:
            raise ValueError(
                f"Anchors of ratios {list(self.ratios)}, scales {list(self.scales)} and base size "
                f"{self.base_size_strides} cannot be: all of them must be more than 0."
            )

    @property
    def per_cell(self) -> int:
        """Anchors at one cell."""
        return len(self.ratios) * len(self.scales)


def pyramid_anchors(settings: AnchorSettings, feature_sizes: list[int], size: int) -> Tensor:
    """All anchors of a square image, level by level, row by row (float32[A, 4] xyxy in pixels).

    Args:
        settings: shapes at one cell.
        feature_sizes: side of each level's feature map in cells.
        size: side of the image in pixels.
    """
    strides = [size / cells for cells in feature_sizes]
    generator = AnchorGenerator(
        sizes=tuple(
            tuple(stride * settings.base_size_strides * scale for scale in settings.scales)
            for stride in strides
        ),
        aspect_ratios=(settings.ratios,) * len(strides),
    )
    images = ImageList(torch.empty(1, 1, size, size), [(size, size)])
    features = [torch.empty(1, 1, cells, cells) for cells in feature_sizes]
    anchors: Tensor = generator(images, features)[0]
    return anchors


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
