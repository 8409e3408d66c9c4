"""Test-time flips, and the fusion of several models' detections into one set of boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from angioray.evaluation.matching import Detections, FloatArray, box_iou
from angioray.inference.settings import Flip


def flipped_images(images: Tensor, flip: Flip) -> Tensor:
    """Frames (float[N, 1, H, W]) mirrored left to right, or upside down."""
    return images.flip(-1 if flip == "horizontal" else -2)


def flipped_boxes(boxes_xyxy: FloatArray, flip: Flip, size: float) -> FloatArray:
    """Boxes (float[D, 4]) of a frame whose width, or height, is ``size``, mirrored likewise."""
    low, high = (0, 2) if flip == "horizontal" else (1, 3)
    mirrored = boxes_xyxy.copy()
    mirrored[:, low], mirrored[:, high] = size - boxes_xyxy[:, high], size - boxes_xyxy[:, low]
    return mirrored


def fuse(answers: Sequence[Detections], *, iou: float, most: int) -> Detections:
    """Weighted box fusion (Solovyev et al. 2021, doi:10.1016/j.imavis.2021.104117).

    Boxes go, in falling order of score, to the fused box that they overlap most, if by more than
    ``iou``, and become the score-weighted mean of it; a fused box's score is the mean of its
    members', times the share of answers that found it: one in five counts a fifth.

    Args:
        answers: what each member says of one frame; one alone is returned as it is.
        iou: 0 to 1.
        most: fused boxes that are kept, best first.
    """
    if len(answers) == 1:
        return answers[0][0][:most], answers[0][1][:most]
    boxes = np.concatenate([np.empty((0, 4)), *(boxes for boxes, _ in answers)])
    scores = np.concatenate([np.empty(0), *(scores for _, scores in answers)])
    fused = np.empty((0, 4))
    members: list[list[int]] = []
    for i in np.argsort(-scores, kind="stable").tolist():
        overlaps = box_iou(boxes[i : i + 1], fused)[0]
        if len(fused) and overlaps.max() > iou:
            cluster = int(overlaps.argmax())
            members[cluster].append(i)
            weights = scores[members[cluster]]
            fused[cluster] = weights @ boxes[members[cluster]] / weights.sum()
        else:
            members.append([i])
            fused = np.vstack([fused, boxes[i]])
    share = [min(len(of), len(answers)) / len(answers) for of in members]
    means = [float(scores[of].mean()) for of in members]
    final = np.array(share) * np.array(means) if members else np.empty(0)
    order = np.argsort(-final, kind="stable")[:most]
    return fused[order], final[order]
