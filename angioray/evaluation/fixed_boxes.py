"""A baseline: the few boxes that, without moving, find most lesions of the training frames.

Coronary arteries are in nearly the same place in every picture of one view, so boxes that never
move already find lesions. A detector has to be better than these, not better than chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from angioray.evaluation.matching import BoolArray, FloatArray, Truth, box_iou

_MOST_FRAMES = 2_000
_MOST_BOX_CANDIDATES = 1_000
_GRID_POSITIONS = 16
_GRID_SIZE_QUANTILES = (0.25, 0.5, 0.75)
_MEAN_SHIFTS = 3
_STARTS = 6
_SAME_PLACE_IOU = 0.5
_ROWS_AT_ONCE = 256


def best_fixed_boxes(
    training_boxes_by_frame: Truth, k: int = 5, iou_threshold: float = 0.2
) -> FloatArray:
    """The ``k`` boxes that, laid over every training frame, find the most of its lesions.

    The best of several greedy maximum covers, each begun with another good box, followed by
    exchanges of one box for a better one until none helps. The candidates are the training boxes,
    the mean boxes of their neighbourhoods, and a grid of positions times the usual sizes. A lesion
    counts as found as it does in the evaluation: each box takes, in order, the free lesion that it
    overlaps most with IoU > ``iou_threshold``. Deterministic; from very large cohorts every n-th
    frame is used.

    Args:
        training_boxes_by_frame: lesions by image id, float[G, 4], xyxy in stored-frame pixels.
        k: how many boxes.
        iou_threshold: 0 to 1.

    Returns:
        float64[<= k, 4], xyxy, the most useful first; empty without training boxes.
    """
    boxes, first_of_frame = _flat(training_boxes_by_frame)
    if not len(boxes) or k == 0:
        return np.empty((0, 4))
    candidates = _candidates(boxes, iou_threshold)
    search = _Search(
        candidates=candidates,
        boxes=boxes,
        first_of_frame=first_of_frame,
        overlaps=_cover(candidates, boxes, iou_threshold),
    )
    # A greedy cover may be far from the best: its first box decides. So several are begun, and the
    # best is improved by exchanges, which find what no single addition does.
    starts = [search.extend([start], k) for start in search.starts()]
    chosen = max(starts, key=lambda boxes: int(search.found(boxes).sum()))
    while (better := search.exchange(chosen)) is not None:
        chosen = better
    return candidates[chosen]


def _flat(boxes_by_frame: Truth) -> tuple[FloatArray, NDArray[np.int64]]:
    """All boxes in one array (float64[T, 4]) and where each frame's begin (int64[F])."""
    frames = [
        np.asarray(boxes_by_frame[image_id], dtype=np.float64)
        for image_id in sorted(boxes_by_frame)
        if len(boxes_by_frame[image_id])
    ]
    frames = frames[:: -(-len(frames) // _MOST_FRAMES) or 1]
    counts = np.array([len(boxes) for boxes in frames], dtype=np.int64)
    return np.concatenate([np.empty((0, 4)), *frames]), np.cumsum(counts) - counts


def _candidates(boxes: FloatArray, iou_threshold: float) -> FloatArray:
    """Boxes that may become fixed ones (float64[C, 4])."""
    unique = np.unique(boxes, axis=0)
    seeds = unique[:: -(-len(unique) // _MOST_BOX_CANDIDATES)]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    sizes = np.quantile(boxes[:, 2:] - boxes[:, :2], _GRID_SIZE_QUANTILES, axis=0)
    x, y = np.linspace(centres.min(axis=0), centres.max(axis=0), _GRID_POSITIONS).T
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 1, 2)
    families = [seeds, np.concatenate([grid - sizes / 2, grid + sizes / 2], axis=2).reshape(-1, 4)]
    means = np.concatenate(families)
    # Mean shift: the mean of the boxes that a candidate finds, finds more of them than it does.
    for _ in range(_MEAN_SHIFTS):
        near = _cover(means, boxes, iou_threshold)
        near = near[near.any(axis=1)]
        means = np.unique(near @ boxes / near.sum(axis=1, keepdims=True), axis=0)
        families.append(means)
    return np.unique(np.concatenate(families), axis=0)


def _cover(candidates: FloatArray, boxes: FloatArray, iou_threshold: float) -> BoolArray:
    """bool[C, T]: which candidate overlaps which training box enough, in pieces that fit."""
    return np.concatenate(
        [
            box_iou(candidates[start : start + _ROWS_AT_ONCE], boxes) > iou_threshold
            for start in range(0, len(candidates), _ROWS_AT_ONCE)
        ]
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Search:
    """The cover problem: C candidates, T training boxes ordered by frame."""

    candidates: FloatArray
    boxes: FloatArray
    first_of_frame: NDArray[np.int64]
    overlaps: BoolArray
    """bool[C, T]."""

    def starts(self) -> list[int]:
        """Good first boxes in different places, the best one first.

        The best first box may cover the middle of what two others would cover whole.
        """
        gains = self._frames_with(np.ones(len(self.boxes), dtype=bool))
        starts: list[int] = []
        while len(starts) < _STARTS and gains.max() > 0:
            starts.append(int(gains.argmax()))
            near = box_iou(self.candidates[starts[-1:]], self.candidates)[0]
            gains[near > _SAME_PLACE_IOU] = 0
        return starts

    def extend(self, chosen: list[int], k: int) -> list[int]:
        """Add the candidate that finds the most lesions still free, until there are ``k``.

        An added box comes last by score, so it takes nothing from those before it, and it can
        find one lesion per frame: its gain is the number of frames where it overlaps a free one.
        """
        chosen = list(chosen)
        free = ~self.found(chosen)
        while len(chosen) < min(k, len(self.candidates)):
            gains = self._frames_with(free)
            gains[chosen] = -1
            chosen.append(int(gains.argmax()))
            free &= ~self._taken(chosen[-1], free)
        return chosen

    def exchange(self, chosen: list[int]) -> list[int] | None:
        """The first choice that finds more after one of its boxes gave way to another."""
        found = self.found(chosen).sum()
        for dropped in chosen:
            trial = self.extend([index for index in chosen if index != dropped], len(chosen))
            if self.found(trial).sum() > found:
                return trial
        return None

    def found(self, chosen: list[int]) -> BoolArray:
        """bool[T]: the training boxes that the chosen candidates find, in this order of score."""
        free = np.ones(len(self.boxes), dtype=bool)
        for index in chosen:
            free &= ~self._taken(index, free)
        return ~free

    def _frames_with(self, free: BoolArray) -> NDArray[np.int64]:
        """int[C]: in how many frames each candidate overlaps a free lesion."""
        if len(self.first_of_frame) == len(self.boxes):
            by_frame = self.overlaps[:, free]
        else:
            by_frame = np.logical_or.reduceat(self.overlaps & free, self.first_of_frame, axis=1)
        frames: NDArray[np.int64] = np.count_nonzero(by_frame, axis=1)
        return frames

    def _taken(self, index: int, free: BoolArray) -> BoolArray:
        """bool[T]: in each frame the free box that a candidate overlaps most; the last of equals,
        as pycocotools has it."""
        possible = self.overlaps[index] & free
        candidate = self.candidates[index : index + 1]
        iou = np.where(possible, box_iou(candidate, self.boxes)[0], -1.0)
        counts = np.diff(np.append(self.first_of_frame, len(self.boxes)))
        best_iou = np.repeat(np.maximum.reduceat(iou, self.first_of_frame), counts)
        place = np.arange(len(self.boxes))
        last_best = np.maximum.reduceat(
            np.where(possible & (iou == best_iou), place, -1), self.first_of_frame
        )
        taken: BoolArray = possible & (np.repeat(last_best, counts) == place)
        return taken
