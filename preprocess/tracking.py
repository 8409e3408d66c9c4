"""One box through neighbouring frames: OpenCV's CSR-DCF tracker, and our own judgement of it.

The tracker is the paper's (section 2; Lukezic et al., doi 10.1007/s11263-017-1061-3). It says
neither how sure it is nor when it lost its target, so every frame is judged by what the tracked
patch looks like and how it moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.cohort import Verdict

BoxXyxy = tuple[float, float, float, float]

CONTEXT = 0.5
"""How far the compared patch reaches beyond the box, in boxes: the vessel's course counts too."""
MIN_PATCH = 8
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Where confidence becomes a verdict."""

    good: float = 0.6
    """Confidence from which a box is trusted."""
    lost: float = 0.4
    """Confidence below which a box is given up."""
    free_step: float = 1.0
    """Steps between frames of up to this many box sides (the heart beats) cost no confidence."""

    def __post_init__(self) -> None:
        if not 0 <= self.lost <= self.good <= 1:
            raise ValueError("the thresholds must be 0 <= lost <= good <= 1.")
        if self.free_step <= 0:
            raise ValueError("free_step must be above 0.")

    def verdict(self, confidence: float) -> Verdict:
        """The verdict on one frame."""
        if confidence >= self.good:
            return Verdict.GOOD
        return Verdict.CHECK if confidence >= self.lost else Verdict.LOST


@dataclass(frozen=True, kw_only=True)
class TrackedBox:
    """Where a box is in one frame; ``confidence`` runs from 0 to 1."""

    frame_index: int
    box_xyxy: BoxXyxy
    confidence: float


def track_box(
    frames: NDArray[np.uint8], start: int, box_xyxy: BoxXyxy, path: Sequence[int], free_step: float
) -> list[TrackedBox]:
    """Follow a box from frame ``start`` along ``path``, one frame after the other.

    Args:
        frames: uint8[T, H, W] as a reader sees them.
        start: the frame that ``box_xyxy`` was drawn on.
        box_xyxy: in frame pixels.
        path: frame indices in the order of tracking, beginning next to ``start``.
        free_step: see :class:`Judgement`.

    Returns:
        One box per frame of ``path``, always inside the frame. Confidence is the product of the
        patch's likeness to the reference (normalised correlation, negative counts as 0), the
        plausibility of the step from the frame before, and the share of the box in the frame;
        it is 0 where the tracker itself gave up.
    """
    cv2.setRNGSeed(SEED)
    tracker = cv2.TrackerCSRT_create()  # type: ignore[attr-defined] # its stubs lag behind
    tracker.init(_bgr(frames[start]), _rounded_xywh(box_xyxy))
    template = _patch(frames[start], box_xyxy)
    # The tracker works on whole pixels: what rounding took from the drawn box comes back.
    drawn = np.asarray(box_xyxy)
    x, y, w, h = _rounded_xywh(box_xyxy)
    offset = drawn - np.asarray((x, y, x + w, y + h))
    last, tracked = drawn, []
    for index in path:
        found, (x, y, w, h) = tracker.update(_bgr(frames[index]))
        now = np.asarray((x, y, x + w, y + h), float) + offset
        inside = _clipped(now, frames.shape[1:])
        if not found or inside is None:
            inside, confidence = _clipped(last, frames.shape[1:]), 0.0
            assert inside is not None
        else:
            likeness = _likeness(template, _patch(frames[index], _as_box(now), template.shape))
            share = _area(inside) / max(_area(now), 1e-9)
            confidence = likeness * share * _plausibility(last, now, free_step)
            last = now if share > 0 else last
        tracked.append(
            TrackedBox(frame_index=index, box_xyxy=_as_box(inside), confidence=confidence)
        )
    return tracked


def _bgr(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # A one-channel frame makes the tracker answer "found" with boxes outside the image.
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR), np.uint8)


def _rounded_xywh(box_xyxy: BoxXyxy) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (round(value) for value in box_xyxy)
    return x1, y1, max(x2 - x1, 2), max(y2 - y1, 2)


def _patch(
    frame: NDArray[np.uint8], box_xyxy: BoxXyxy, shape: tuple[int, ...] | None = None
) -> NDArray[np.float32]:
    """The box and its surroundings at sub-pixel place (float32[h, w]), sampled to ``shape``."""
    x1, y1, x2, y2 = box_xyxy
    width, height = (x2 - x1) * (1 + 2 * CONTEXT), (y2 - y1) * (1 + 2 * CONTEXT)
    rows, columns = shape or (max(round(height), MIN_PATCH), max(round(width), MIN_PATCH))
    scale_x, scale_y = width / columns, height / rows
    left, top = (x1 + x2 - width) / 2, (y1 + y2 - height) / 2
    from_patch = np.asarray([[scale_x, 0, left], [0, scale_y, top]])
    patch = cv2.warpAffine(
        frame.astype(np.float32),
        from_patch,
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(patch, np.float32)


def _likeness(template: NDArray[np.float32], patch: NDArray[np.float32]) -> float:
    """Normalised correlation, 0 to 1; a flat patch resembles nothing."""
    a, b = template - template.mean(), patch - patch.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return max(float((a * b).sum()) / norm, 0.0) if norm > 1e-6 else 0.0


def _plausibility(last: NDArray[np.float64], now: NDArray[np.float64], free_step: float) -> float:
    """1 for a step and a change of size that a beating heart can make, less beyond."""
    sides = [np.sqrt(max(_area(box), 1.0)) for box in (last, now)]
    step = float(np.hypot(*((last[:2] + last[2:]) - (now[:2] + now[2:])))) / 2 / sides[0]
    growth = max(sides) / min(sides)
    return float(min(1.0, free_step / max(step, 1e-9)) / growth)


def _clipped(box: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    height, width = shape
    clipped = np.clip(box, 0, (width, height, width, height))
    return clipped if clipped[2] - clipped[0] >= 1 and clipped[3] - clipped[1] >= 1 else None


def _area(box: NDArray[np.float64]) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _as_box(box: NDArray[np.float64]) -> BoxXyxy:
    x1, y1, x2, y2 = (float(value) for value in box)
    return x1, y1, x2, y2
