"""Boxes of one size around the peaks of score maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from angioray.models.detector import DetectionBatch
from angioray.models.settings import NMS_CANDIDATES, RetinaNetSettings


def peak_boxes(
    scores: Tensor, *, first: float, stride: float, side: float, settings: RetinaNetSettings
) -> DetectionBatch:
    """Boxes around every place of a map that has no higher one within its box.

    Of equal ones there, as on a plateau, the first is taken. At the edge a box is moved into the
    frame, not cut: an activation map is level there, over half of a cell.

    Args:
        scores: float32[N, h, w]; places of score 0 are no peaks.
        first: the centre of the first place, along x and along y, in network pixels.
        stride: network pixels from a place to the next.
        side: of the boxes, in network pixels.
        settings: of the detector.
    """
    height, width = scores.shape[1:]
    reach = int(side / stride / 2)
    _, highest = F.max_pool2d(
        scores[:, None], 2 * reach + 1, stride=1, padding=reach, return_indices=True
    )
    own = torch.arange(height * width, device=scores.device)
    heights = scores.flatten(1)
    peaks = torch.where((highest.flatten(1) == own) & (heights > 0), heights, -1.0)
    best, place = peaks.topk(min(NMS_CANDIDATES, peaks.shape[1]))
    centre = first + stride * torch.stack([place % width, place // width], dim=-1)
    centre = centre.clamp(side / 2, settings.size - side / 2)
    boxes = torch.cat([centre - side / 2, centre + side / 2], dim=-1)
    return DetectionBatch.of_candidates(boxes, best, settings)
