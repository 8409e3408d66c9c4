"""The paper's tracker: OpenCV's CSR-DCF, from frame to frame, with a confidence of ours.

Section 2 of the paper; Lukezic et al., doi 10.1007/s11263-017-1061-3. It says neither how sure it
is nor when it lost its target, so every frame is judged by what the tracked patch looks like and
how it moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.tracking.boxes import (
    BoxXyxy,
    KeyBox,
    Span,
    TrackedBox,
    Tracker,
    area,
    centre,
    clipped,
)

CONTEXT = 0.5
"""How far the compared patch reaches beyond the box, in boxes: the vessel's course counts too."""
MIN_PATCH = 8
FREE_STEP = 1.0
"""Steps between frames of up to this many box sides (the heart beats) cost no confidence."""
SEED = 0


class CsrtTracker(Tracker):
    """Plain CSR-DCF, anew from every key box to half-way to the next.

    Confidence is the product of the patch's likeness to the key box (normalised correlation,
    negative counts as 0), the plausibility of the step from the frame before, and the share
    of the box in the frame; it is 0 where the tracker itself gave up.
    """

    def _through(self, span: Span) -> list[TrackedBox]:
        with ThreadPoolExecutor(self._threads) as pool:
            ways = pool.map(lambda way: list(self._follow(*way)), _ways(span))
            found = [box for way in ways for box in way]
        return sorted(found, key=lambda box: box.frame_index)

    def _follow(self, key: KeyBox, way: range) -> Iterator[TrackedBox]:
        frames = self._frames
        cv2.setRNGSeed(SEED)
        tracker = cv2.TrackerCSRT_create()  # type: ignore[attr-defined] # its stubs lag behind
        tracker.init(_bgr(frames[key.frame_index]), _rounded_xywh(key.box_xyxy))
        template = _patch(frames[key.frame_index], key.box_xyxy)
        # The tracker works on whole pixels: what rounding took from the drawn box comes back.
        drawn = np.asarray(key.box_xyxy)
        x, y, w, h = _rounded_xywh(key.box_xyxy)
        offset = drawn - np.asarray((x, y, x + w, y + h))
        last = key.box_xyxy
        for index in way:
            found, (x, y, w, h) = tracker.update(_bgr(frames[index]))
            now = _as_box(np.asarray((x, y, x + w, y + h), float) + offset)
            inside = clipped(now, frames)
            if not found or inside is None:
                inside, confidence = clipped(last, frames), 0.0
                assert inside is not None
            else:
                likeness = _likeness(template, _patch(frames[index], now, template.shape))
                share = area(inside) / max(area(now), 1e-9)
                confidence = likeness * share * _plausibility(last, now)
                last = now
            yield TrackedBox(frame_index=index, box_xyxy=inside, confidence=confidence)


def _ways(span: Span) -> Iterator[tuple[KeyBox, range]]:
    """From each of the span's key boxes to its other end, or half-way to the other key box."""
    first, last = span.frames.start, span.frames.stop
    middle = (first + last) // 2
    if span.before:
        yield span.before, range(first, middle if span.after else last)
    if span.after:
        yield span.after, range(last - 1, (middle if span.before else first) - 1, -1)


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


def _plausibility(last: BoxXyxy, now: BoxXyxy) -> float:
    """1 for a step and a change of size that a beating heart can make, less beyond."""
    sides = [np.sqrt(max(area(box), 1.0)) for box in (last, now)]
    (x, y), (last_x, last_y) = centre(now), centre(last)
    step = float(np.hypot(x - last_x, y - last_y)) / sides[0]
    growth = max(sides) / min(sides)
    return float(min(1.0, FREE_STEP / max(step, 1e-9)) / growth)


def _as_box(values: NDArray[np.float64]) -> BoxXyxy:
    x1, y1, x2, y2 = (float(value) for value in values)
    return x1, y1, x2, y2
