"""Anchor sets against the training boxes: the recall that each allows before any training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from angioray.evaluation.matching import FloatArray
from angioray.models.anchors import pyramid_anchors
from angioray.models.settings import AnchorSettings
from angioray.study.selection import CohortIndex

CORRECT_IOU = 0.2
"""A box counts as correct above this IoU (paper, section 4.2)."""


@dataclass(frozen=True, kw_only=True)
class AnchorFit:
    """How well the best anchor of each box resembles it, before anything is trained."""

    boxes: int
    recall: Mapping[float, float]
    """Best possible recall: share of boxes with an anchor of that IoU. Above 0.2 an anchor is
    correct as it stands; from the detector's foreground IoU on it is taught the box."""
    mean_best_iou: float


@dataclass(frozen=True, kw_only=True)
class AnchorSet:
    """Anchors under a name, with their fit to the training boxes."""

    name: str
    anchors: AnchorSettings
    fit: AnchorFit

    def as_json(self) -> dict[str, Any]:
        """The set as ``sweep.json`` lists it."""
        return {
            "name": self.name,
            "ratios": list(self.anchors.ratios),
            "scales": list(self.anchors.scales),
            "base_size_strides": self.anchors.base_size_strides,
            "best_possible_recall": {f"{iou:g}": r for iou, r in self.fit.recall.items()},
            "mean_best_iou": self.fit.mean_best_iou,
        }


@dataclass(frozen=True)
class AnchorGrid:
    """Where a detector's anchors stand, whatever their shapes, and how boxes lie to that.

    The overlap of a box with an anchor of a given shape is the product of their overlaps along x
    and along y, and each only falls with the distance of the centres. So the best anchor of a
    shape is the one of the nearest row and column: one comparison per box, level and shape instead
    of one per anchor.

    Attributes:
        strides: pixels between anchors, by level.
        sides: float64[N, 2], width and height of the boxes in network pixels.
        off_centre: float64[L, N, 2], distance to the nearest column and row of each level.
    """

    strides: tuple[int, ...]
    sides: FloatArray
    off_centre: FloatArray

    @classmethod
    def of(cls, boxes_xyxy: FloatArray, size: int, levels: tuple[int, int]) -> AnchorGrid:
        """The grid of a detector with this input (pixels) and these levels, around N boxes.

        Raises:
            ValueError: there are no boxes, or some have no area.
        """
        boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
        sides = boxes[:, 2:] - boxes[:, :2]
        if not len(boxes):
            raise ValueError(
                "There are no training boxes to hold anchors against; expected at least one. "
                "Run `python -m preprocess propagate` on the cohort, or give other sequences."
            )
        if empty := int((sides <= 0).any(axis=1).sum()):
            raise ValueError(f"{empty} of {len(boxes)} training boxes have no area.")
        strides = tuple(2**level for level in range(levels[0], levels[1] + 1))
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        stride = np.array(strides, dtype=np.float64)[:, None, None]
        # torchvision centres the first anchor on the image's corner, not on its cell.
        nearest = np.clip(np.round(centres / stride), 0, size // stride - 1) * stride
        return cls(strides, sides, np.abs(centres - nearest))

    def best_iou(self, anchors: AnchorSettings) -> FloatArray:
        """float64[N]: the IoU of each box with the anchor that overlaps it most."""
        area, best = self.sides.prod(axis=1), np.zeros(len(self.sides))
        for stride, off_centre in zip(self.strides, self.off_centre, strict=True):
            # A level of one cell holds every shape once.
            corners = pyramid_anchors(anchors, [1], stride).double().numpy()
            shapes = corners[:, 2:] - corners[:, :2]
            x, y = (
                _overlap(side[:, None], shape, off[:, None])
                for side, shape, off in zip(self.sides.T, shapes.T, off_centre.T, strict=True)
            )
            shared = x * y
            iou = shared / (area[:, None] + shapes.prod(axis=1) - shared)
            best = np.maximum(best, iou.max(axis=1))
        return best

    def fit(self, anchors: AnchorSettings, foreground_iou: float) -> AnchorFit:
        """What :func:`best_possible_recall` gives."""
        best = self.best_iou(anchors)
        return AnchorFit(
            boxes=len(best),
            recall={
                CORRECT_IOU: float((best > CORRECT_IOU).mean()),
                foreground_iou: float((best >= foreground_iou).mean()),
            },
            mean_best_iou=float(best.mean()),
        )


def _overlap(side: FloatArray, other: FloatArray, apart: FloatArray) -> FloatArray:
    """What two intervals of these lengths share whose centres are so far apart."""
    shared: FloatArray = np.minimum(np.minimum(side, other), (side + other) / 2 - apart)
    return shared.clip(min=0)


def best_possible_recall(
    boxes_xyxy: FloatArray,
    anchors: AnchorSettings,
    *,
    size: int,
    levels: tuple[int, int],
    foreground_iou: float = 0.5,
) -> AnchorFit:
    """How well the anchors of a detector can meet boxes, over every anchor that it has.

    Args:
        boxes_xyxy: float[N, 4] in network pixels (:func:`training_boxes`).
        anchors: shapes at one cell.
        size: side of the detector's square input in pixels.
        levels: its first and last pyramid level.
        foreground_iou: from which on it teaches an anchor a box, 0 to 1.

    Raises:
        ValueError: there are no boxes, or some have no area.
    """
    return AnchorGrid.of(boxes_xyxy, size, levels).fit(anchors, foreground_iou)


def training_boxes(
    index: CohortIndex, sequence_ids: Iterable[str], variant: str, size: int
) -> FloatArray:
    """The boxes that a detector is taught by these sequences (float64[N, 4] xyxy).

    They are in pixels of its square input of side ``size``, whatever the frames' own size is.
    """
    boxes = []
    for sequence_id, frame_index in index.detector_frames(sequence_ids, variant):
        sequence = index.cohort.sequences[sequence_id]
        scale = size / np.array([sequence.width, sequence.height] * 2)
        found = index.cohort.boxes_by_frame.get((sequence_id, frame_index), [])
        boxes += [np.array(box.box_xyxy) * scale for box in found]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def recall_table(sets: Sequence[AnchorSet]) -> list[str]:
    """The sets beside each other, as lines for a terminal.

    Raises:
        ValueError: there are no sets.
    """
    if not sets:
        raise ValueError("There are no anchor sets to compare; expected at least one.")
    levels = list(sets[0].fit.recall)
    header = ("anchors", "per cell", *(f"recall at IoU {iou:g}" for iou in levels), "mean best IoU")
    rows = [
        (
            s.name,
            str(s.anchors.per_cell),
            *(f"{100 * recall:.1f} %" for recall in s.fit.recall.values()),
            f"{s.fit.mean_best_iou:.3f}",
        )
        for s in sets
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (header, *rows)
    ]
    boxes = sets[0].fit.boxes
    return [f"Best possible recall of {boxes} training boxes, before any training:", *lines]
