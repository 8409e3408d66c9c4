"""The sizes and shapes of a cohort's boxes beside the paper's anchors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask

from preprocess.cohort import Box, Sequence, Verdict

# Paper, section 3.2: scales 2^0, 2^(1/2), 2^1 and four aspect ratios over P3 to P7, whose base
# sizes are RetinaNet's (Lin et al. 2017, doi 10.1109/ICCV.2017.324).
INPUT_PX = 512
BASE_SIZES_PX = (32, 64, 128, 256, 512)
SCALES = (1.0, 2**0.5, 2.0)
RATIOS = (1.0, 0.5, 2.0, 4.0)
"""Height over width."""
FOREGROUND_IOU = 0.5
"""An anchor learns a box from this overlap on."""
BACKGROUND_IOU = 0.4
"""Below it an anchor learns that there is nothing."""


@dataclass(frozen=True, kw_only=True)
class AnchorAgreement:
    """How many boxes no anchor resembles, even with its centre on the box's."""

    boxes: int
    median_side_px: float
    """Side of a square of the median box's area, at 512 x 512."""
    below_foreground: float
    """Share of boxes whose best anchor has an IoU under 0.5."""
    below_background: float
    """Share of boxes whose best anchor has an IoU under 0.4."""

    @classmethod
    def of(cls, sides: NDArray[np.float64]) -> AnchorAgreement | None:
        """The fit of boxes (float64[N, 2], see :func:`box_sides`); None where there are none."""
        if not len(sides):
            return None
        best = best_iou(sides)
        return cls(
            boxes=len(sides),
            median_side_px=float(np.sqrt(np.median(sides.prod(axis=1)))),
            below_foreground=float((best < FOREGROUND_IOU).mean()),
            below_background=float((best < BACKGROUND_IOU).mean()),
        )


def anchor_sides() -> NDArray[np.float64]:
    """Width and height of the paper's 60 anchors in pixels at 512 x 512 (float64[60, 2])."""
    return np.array(
        [
            (base * scale / ratio**0.5, base * scale * ratio**0.5)
            for base in BASE_SIZES_PX
            for scale in SCALES
            for ratio in RATIOS
        ]
    )


def box_sides(boxes: Iterable[Box], sequences: Mapping[str, Sequence]) -> NDArray[np.float64]:
    """Width and height of the boxes that are trained on, scaled to 512 x 512 (float64[N, 2])."""
    sides = []
    for box in boxes:
        if box.verdict is not Verdict.LOST:
            sequence = sequences[box.sequence_id]
            x1, y1, x2, y2 = box.box_xyxy
            width, height = (x2 - x1) / sequence.width, (y2 - y1) / sequence.height
            sides.append((INPUT_PX * width, INPUT_PX * height))
    return np.array(sides).reshape(-1, 2)


def best_iou(sides: NDArray[np.float64]) -> NDArray[np.float64]:
    """The IoU of each box (float64[N, 2] sides) with the likest anchor on the same centre."""
    boxes, anchors = (np.hstack([-each / 2, each]) for each in (sides, anchor_sides()))
    if not len(boxes):
        return np.empty(0)
    best: NDArray[np.float64] = mask.iou(boxes, anchors, np.zeros(len(anchors), np.uint8)).max(1)
    return best
