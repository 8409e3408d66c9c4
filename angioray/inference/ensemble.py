"""Test-time flips, and the fusion of several models' detections into one set of boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from angioray.evaluation.matching import Detections, FloatArray
from angioray.inference.settings import Flip

LEAST = 1e-12
"""Divided by in place of 0."""


def flipped_images(images: Tensor, flip: Flip) -> Tensor:
    """Frames (float[N, 1, H, W]) mirrored left to right, or upside down."""
    return images.flip(-1 if flip == "horizontal" else -2)


def flipped_boxes(boxes_xyxy: FloatArray, flip: Flip, size: float) -> FloatArray:
    """Boxes (float[D, 4]) of a frame whose width, or height, is ``size``, mirrored likewise."""
    low, high = (0, 2) if flip == "horizontal" else (1, 3)
    mirrored = boxes_xyxy.copy()
    mirrored[:, low], mirrored[:, high] = size - boxes_xyxy[:, high], size - boxes_xyxy[:, low]
    return mirrored


def fuse(answers: Sequence[Sequence[Detections]], *, iou: float, most: int) -> list[Detections]:
    """Weighted box fusion (Solovyev et al. 2021, doi:10.1016/j.imavis.2021.104117).

    Boxes go, in falling order of score, to the fused box of their frame that they overlap most, if
    by more than ``iou``, and become the score-weighted mean of it; a fused box's score is the mean
    of its members', times the share of answers that found it: one in five counts a fifth.

    Args:
        answers: of each member, what it says of each frame; one member alone is returned as it is.
        iou: 0 to 1.
        most: fused boxes of a frame that are kept, best first.
    """
    if len(answers) == 1:
        return [(boxes[:most], scores[:most]) for boxes, scores in answers[0]]
    frames = [_together(said) for said in zip(*answers, strict=True)]
    lengths = np.array([len(scores) for _, scores in frames])
    count, longest = len(frames), max(lengths, default=0)
    # All frames go through their boxes side by side: NumPy takes as long for one as for twenty.
    # Frames with fewer boxes fill up the last cluster, which is none.
    corners, scores = np.zeros((longest, 4, count)), np.zeros((longest, count))
    for f, (boxes, of_frame) in enumerate(frames):
        corners[: lengths[f], :, f], scores[: lengths[f], f] = boxes, of_frame
    fused, sums = (np.zeros((4, count, longest + 1)) for _ in range(2))
    weights, members = (np.zeros((count, longest + 1)) for _ in range(2))
    clusters, each = np.zeros(count, dtype=np.int64), np.arange(count)
    for i in range(longest):
        overlaps = _overlaps(fused[:, :, : clusters.max() + 1], corners[i])
        chosen = overlaps.argmax(axis=1)
        joins, is_there = overlaps[each, chosen] > iou, i < lengths
        chosen = np.where(is_there, np.where(joins, chosen, clusters), longest)
        clusters += is_there & ~joins
        weights[each, chosen] += scores[i]
        members[each, chosen] += 1
        sums[:, each, chosen] += scores[i] * corners[i]
        fused[:, each, chosen] = sums[:, each, chosen] / np.maximum(weights[each, chosen], LEAST)
    found: list[Detections] = []
    for f, n in enumerate(clusters):
        share = np.minimum(members[f, :n], len(answers)) / len(answers)
        final = share * weights[f, :n] / members[f, :n]
        order = np.argsort(-final, kind="stable")[:most]
        found.append((fused[:, f, order].T, final[order]))
    return found


def _together(said: Sequence[Detections]) -> Detections:
    """What all members say of one frame, in falling order of score."""
    boxes = np.concatenate([np.empty((0, 4)), *(boxes for boxes, _ in said)])
    scores = np.concatenate([np.empty(0), *(scores for _, scores in said)])
    order = np.argsort(-scores, kind="stable")
    return boxes[order], scores[order]


def _overlaps(boxes: FloatArray, with_box: FloatArray) -> FloatArray:
    """The IoU (float[F, K]) of each frame's boxes (float[4, F, K]) with its own (float[4, F])."""
    x1, y1, x2, y2 = boxes
    left, top, right, bottom = with_box[:, :, None]
    width = np.minimum(x2, right) - np.maximum(x1, left)
    height = np.minimum(y2, bottom) - np.maximum(y1, top)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - shared
    overlaps: FloatArray = shared / np.maximum(areas, LEAST)
    return overlaps
