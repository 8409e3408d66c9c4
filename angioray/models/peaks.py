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

    Of equal places whose boxes overlap, as on a plateau, non-maximum suppression keeps one.

    Args:
        scores: float32[N, h, w]; places of score 0 are no peaks.
        first: the centre of the first place, along x and along y, in network pixels.
        stride: network pixels from a place to the next.
        side: of the boxes, in network pixels.
        settings: of the detector.
    """
    width = scores.shape[2]
    reach = int(side / stride / 2)
    highest = F.max_pool2d(scores[:, None], 2 * reach + 1, stride=1, padding=reach)[:, 0]
    peaks = torch.where((scores == highest) & (scores > 0), scores, -1.0).flatten(1)
    best, place = peaks.topk(min(NMS_CANDIDATES, peaks.shape[1]))
    centre = first + stride * torch.stack([place % width, place // width], dim=-1)
    boxes = torch.cat([centre - side / 2, centre + side / 2], dim=-1)
    return DetectionBatch.of_candidates(boxes.clamp(0, settings.size), best, settings)
