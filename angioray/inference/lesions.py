"""Boxes of single frames linked into lesions through time.

A detector looks at each frame alone, so its boxes flicker, and a false one beside the artery looks
as good as a right one. Here boxes of neighbouring frames are joined where their pictures are alike
and the step between them is one that a beating heart makes. The best path through the boxes
(dynamic programming) is a lesion; its boxes are taken out, and the next best path is sought: Han
et al. 2016, arXiv:1602.08465, with the likeness of pictures in place of the overlap of boxes,
for an artery may move by more than a lesion's width from one frame to the next.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from angioray.evaluation.matching import FloatArray, box_iou
from angioray.inference.findings import FoundBox, Lesion

BOXES_A_FRAME = 5
"""Those of highest score are candidates, as many as the paper keeps (section 4.2)."""
LEAST_SCORE = 0.05
"""Boxes below it are no candidates."""
FARTHEST = 3
"""Boxes so many frames apart may be neighbours on a path: the detector missed the frames between
them."""
STEP_COST = 0.3
"""Likeness that a step by 1/12 of the frame's longer side costs, growing with its square; in two
frames an artery goes farther than in one, so it costs half."""
UNLIKE_COST = 0.5
"""Score that a step between boxes without any likeness costs; with all likeness it costs none."""
MISSED_COST = 0.1
"""Score that a frame without a box costs on a path."""
SAME_PLACE = 0.3
"""Boxes of a frame that overlap by a greater IoU are of one lesion."""
WINDOW = 0.7
"""Standard deviation of the window around a box's middle that is compared, in mean box sides."""
SIGMA_PX, REACH_PX = 5.0, 10
"""The same in pixels of the pictures that are compared, and how far the window reaches."""
NOISE = 2.0
"""Grey values that are added to the local contrast, so that flat parts stay flat."""

Steps = Sequence[Sequence[tuple[int, float]]]
"""For each candidate, the earlier ones that it may follow, and what that step costs."""


def link_lesions(
    frames: NDArray[np.uint8], boxes: Sequence[FoundBox], looked_at: Sequence[int]
) -> tuple[Lesion, ...]:
    """The lesions of one cine, best first.

    A lesion's score is the mean of its boxes' scores over all frames that were looked at; a frame
    in which it was not found counts as 0. So what is found in one frame of ten has at most 0.1.

    Args:
        frames: uint8[T, H, W] as a reader sees them.
        boxes: the detectors' boxes, of any score and in any order.
        looked_at: the frames that detectors looked at, in their order; those of `boxes` among them.
    """
    found = _candidates(boxes)
    if not found:
        return ()
    corners = np.array([box.box_xyxy for box in found])
    steps = _steps(found, corners, max(frames.shape[1:]), _pictures(frames, found, corners))
    lesions = []
    for path in _paths(found, corners, steps):
        scores = [found[i].score for i in path]
        lesions.append(
            Lesion(
                number=0,
                score=sum(scores) / len(looked_at),
                stability=len(path) / len(looked_at),
                boxes=tuple(_with_carried([found[i] for i in path], looked_at)),
            )
        )
    lesions.sort(key=lambda lesion: -lesion.score)
    return tuple(replace(lesion, number=n) for n, lesion in enumerate(lesions, start=1))


def best_path(gains: Sequence[float], steps: Steps, left: Sequence[bool]) -> list[int]:
    """The candidates along the path of the highest sum of gains less the costs of its steps.

    Args:
        gains: of each candidate, in the order of time.
        steps: as :data:`Steps`.
        left: which candidates may still be used, at least one.
    """
    totals, before = [-np.inf] * len(gains), [-1] * len(gains)
    for i, gain in enumerate(gains):
        if left[i]:
            totals[i] = gain
            for earlier, cost in steps[i]:
                if (total := totals[earlier] + gain - cost) > totals[i]:
                    totals[i], before[i] = total, earlier
    path = [max(range(len(totals)), key=totals.__getitem__)]
    while (earlier := before[path[-1]]) >= 0:
        path.append(earlier)
    return path[::-1]


def _candidates(boxes: Sequence[FoundBox]) -> list[FoundBox]:
    by_frame: dict[int, list[FoundBox]] = defaultdict(list)
    for box in boxes:
        if box.score >= LEAST_SCORE:
            by_frame[box.frame_index].append(box)
    return [
        box
        for _, there in sorted(by_frame.items())
        for box in sorted(there, key=lambda box: -box.score)[:BOXES_A_FRAME]
    ]


def _pictures(
    frames: NDArray[np.uint8], found: Sequence[FoundBox], corners: FloatArray
) -> FloatArray:
    """What is in and around each box, as float32[N, D] of length 1.

    A product of two is their correlation under a Gaussian window. All windows of a cine have one
    size: two boxes of a lesion differ in size, and what is around them is the same.
    """
    sides = np.sqrt((corners[:, 2:] - corners[:, :2]).prod(axis=1))
    mean = float(np.average(sides, weights=[box.score for box in found]))
    scale = min(SIGMA_PX / max(WINDOW * mean, 1.0), 1.0)
    # The middle of pixel 0 lies at 0.5 in both resolutions, and is 0 for OpenCV.
    middles = (corners[:, :2] + corners[:, 2:]) / 2 * scale - 0.5
    side = 2 * REACH_PX + 1
    cuts = np.empty((len(found), side, side), np.float32)
    contrast, shown = np.empty((0, 0), np.float32), -1
    for i, box in enumerate(found):
        if box.frame_index != shown:
            contrast, shown = _local_contrast(frames[box.frame_index], scale), box.frame_index
        cuts[i] = cv2.getRectSubPix(contrast, (side, side), middles[i].tolist())
    away = np.arange(-REACH_PX, REACH_PX + 1) / SIGMA_PX
    weights = np.exp(-0.5 * np.add.outer(away**2, away**2)).ravel()
    weights = (weights / weights.sum()).astype(np.float32)
    pictures = cuts.reshape(len(found), -1)
    pictures = (pictures - (pictures @ weights)[:, None]) * np.sqrt(weights)
    lengths = np.maximum(np.linalg.norm(pictures, axis=1, keepdims=True), 1e-2)
    return np.asarray(pictures / lengths, np.float32)


def _local_contrast(frame: NDArray[np.uint8], scale: float) -> NDArray[np.float32]:
    """A smaller frame without background, in units of the contrast around each place."""
    height, width = frame.shape
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = picture - cv2.GaussianBlur(picture, (0, 0), SIGMA_PX)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), SIGMA_PX))
    return np.asarray(detail / (contrast + NOISE), np.float32)


def _steps(
    found: Sequence[FoundBox], corners: FloatArray, side: int, pictures: FloatArray
) -> Steps:
    middles = (corners[:, :2] + corners[:, 2:]) / 2 * (12 / side)
    times = np.array([box.frame_index for box in found])
    first = np.searchsorted(times, times - FARTHEST)
    behind = np.searchsorted(times, times)
    steps: list[list[tuple[int, float]]] = []
    for i in range(len(found)):
        earlier = slice(first[i], behind[i])
        apart = times[i] - times[earlier]
        moved = ((middles[i] - middles[earlier]) ** 2).sum(axis=1) / apart
        alike = pictures[earlier] @ pictures[i] - STEP_COST * moved
        costs = UNLIKE_COST * (1 - alike) + MISSED_COST * (apart - 1)
        near = np.flatnonzero(alike > 0)
        steps.append(list(zip((first[i] + near).tolist(), costs[near].tolist(), strict=True)))
    return steps


def _paths(found: Sequence[FoundBox], corners: FloatArray, steps: Steps) -> Iterator[list[int]]:
    """Every candidate on one path, or in the place of one that is."""
    gains = [box.score for box in found]
    rows: dict[int, list[int]] = defaultdict(list)
    for i, box in enumerate(found):
        rows[box.frame_index].append(i)
    left = [True] * len(found)
    while any(left):
        path = best_path(gains, steps, left)
        yield path
        for i in path:
            here = rows[found[i].frame_index]
            overlaps = box_iou(corners[i : i + 1], corners[here])[0].tolist()
            for j, overlap in zip(here, overlaps, strict=True):
                left[j] = left[j] and j != i and overlap <= SAME_PLACE


def _with_carried(path: Sequence[FoundBox], looked_at: Sequence[int]) -> Iterator[FoundBox]:
    """The boxes of a path, and between them one for each frame in which none was found."""
    for before, after in pairwise(path):
        yield before
        times = (before.frame_index, after.frame_index)
        sides = list(zip(before.box_xyxy, after.box_xyxy, strict=True))
        for frame in looked_at:
            if times[0] < frame < times[1]:
                x1, y1, x2, y2 = (float(np.interp(frame, times, both)) for both in sides)
                yield FoundBox(frame_index=frame, box_xyxy=(x1, y1, x2, y2), score=0, carried=True)
    yield path[-1]
