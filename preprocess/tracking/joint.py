"""A tracker that takes the best path through all frames between two key boxes at once.

Arteries beat, foreshorten and cross. A tracker that goes from frame to frame loses a lesion in
one bad frame and never finds it again; a path over all frames skips the bad frame and finds
the lesion again in the next heartbeat. The path is found in coarse pictures and refined in the
frame itself. A second path, in pictures half as fine and with a wider window, checks the first.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.tracking import path
from preprocess.tracking.boxes import (
    BoxXyxy,
    KeyBox,
    Point,
    Span,
    TrackedBox,
    Tracker,
    box_around,
    centre,
    clipped,
    overlap,
    recalled,
)
from preprocess.tracking.pictures import Picture, Pictures
from preprocess.tracking.template import Template

STEP_COST = 0.15
"""Likeness that a step by 1/12 of the frame costs (at 15 frames/s arteries seldom go farther)."""
LONGEST_STEP = 1 / 8
"""Of the frame's longer side, between neighbouring frames."""
NEARBY = 0.75
"""Other paths count as the same lesion up to this many box sides away."""
CLEAR_LEAD = 0.5
"""The lead in likeness over every other path that leaves no doubt."""
CHANCE_LIKENESS, CLEAR_LIKENESS = 0.3, 0.8
"""What some place or other of any frame reaches, and what leaves no doubt."""


@dataclass(frozen=True, kw_only=True)
class _Resolution:
    """A size of pictures in which a path is sought.

    ``pixels`` is their longer side, ``window`` the standard deviation of a template's window as a
    share of the box's sides.
    """

    pixels: int
    window: float


@dataclass(frozen=True, kw_only=True)
class _Position:
    """A lesion's middle in one frame; ``likeness`` there, ``lead`` of its path over all others."""

    middle: Point
    likeness: float
    lead: float


FIRST = _Resolution(pixels=256, window=0.7)
SECOND_OPINION = _Resolution(pixels=128, window=1.1)
RESOLUTIONS = (FIRST, SECOND_OPINION)
REFINEMENT_WINDOW = 0.5
REFINEMENT_REACH = 1 / 128
"""Of the frame's longer side."""
REFINEMENT_COST = 0.03
"""Likeness that a shift by the whole reach costs."""
KEPT_APPEARANCES = 4
"""Key boxes whose likeness maps are kept, at most 20 MB each in a cine of 60 frames."""


class JointTracker(Tracker):
    """The default tracker.

    Confidence is the geometric mean of three numbers from 0 to 1: likeness to the key box,
    the lead of this path over every other one, and overlap with the second opinion's box.
    """

    def __init__(self, frames: NDArray[np.uint8], threads: int = 1):
        super().__init__(frames, threads)
        self._side = max(frames.shape[1:])
        self._pictures = Pictures(frames)
        self._appearances: dict[KeyBox, _Appearance] = {}

    def _through(self, span: Span) -> list[TrackedBox]:
        keys = [
            recalled(self._appearances, key, self._appearance, KEPT_APPEARANCES)
            for key in span.keys
        ]
        with ThreadPoolExecutor(self._threads) as pool:
            maps = [
                list(pool.map(partial(_likeness, keys, resolution=resolution), span.frames))
                for resolution in RESOLUTIONS
            ]
            paths = pool.map(partial(self._path, span), RESOLUTIONS, maps)
            return list(pool.map(partial(self._box, span, keys), span.frames, *paths))

    def _appearance(self, key: KeyBox) -> _Appearance:
        return _Appearance(self._pictures, key, self._side)

    def _path(
        self, span: Span, resolution: _Resolution, likeness: list[Picture]
    ) -> list[_Position]:
        """The lesion in each frame of a span, along the best path."""
        scale = resolution.pixels / self._side
        shape = likeness[0].shape
        through = path.best_through(
            likeness,
            _place(span.before, scale, shape),
            _place(span.after, scale, shape),
            step_cost=STEP_COST * (12 / resolution.pixels) ** 2,
            longest_step=round(LONGEST_STEP * resolution.pixels),
        )
        found = []
        for index, alike, scores in zip(span.frames, likeness, through, strict=True):
            row, column = path.highest(scores)
            width, height = (max(int(NEARBY * side * scale), 2) for side in span.size(index))
            found.append(
                _Position(
                    middle=((column + 0.5) / scale - 0.5, (row + 0.5) / scale - 0.5),
                    likeness=float(alike[row, column]),
                    lead=path.lead(scores, rows=height, columns=width),
                )
            )
        return found

    def _box(
        self,
        span: Span,
        keys: list[_Appearance],
        index: int,
        first: _Position,
        second: _Position,
    ) -> TrackedBox:
        """The box in one frame, refined in the frame itself."""
        # Whole pixels away from the key box: what does not move stays where it was drawn.
        x, y = centre(span.keys[0].box_xyxy)
        starts = [(x + round(p.middle[0] - x), y + round(p.middle[1] - y)) for p in (first, second)]
        refined = {start: self._refined(index, start, keys) for start in set(starts)}
        box, other = (box_around(refined[start], *span.size(index)) for start in starts)
        inside = clipped(box, self._frames)
        assert inside is not None, "a path stays in the frame"
        return TrackedBox(
            frame_index=index,
            box_xyxy=inside,
            confidence=_confidence(first.likeness, first.lead, overlap(box, other)),
        )

    def _refined(self, index: int, start: Point, keys: list[_Appearance]) -> Point:
        """The best place near ``start`` in the frame itself, whole pixels away from it."""
        x, y = start
        reach = max(round(REFINEMENT_REACH * self._side), 1)
        away = np.arange(-reach, reach + 1, dtype=np.float32) / reach
        cost = np.float32(REFINEMENT_COST) * (away[:, None] ** 2 + away[None, :] ** 2)
        frame = self._pictures.as_acquired(index)
        likeness = []
        for template in (key.finest for key in keys):
            columns, rows = (2 * (side + reach) + 1 for side in template.reach)
            near = cv2.getRectSubPix(frame, (columns, rows), start)
            likeness.append(template.likeness_within(np.asarray(near, np.float32)))
        row, column = path.highest(reduce(np.maximum, likeness) - cost)
        height, width = self._frames.shape[1:]
        return (
            min(max(x + column - reach, 1.0), width - 1.0),
            min(max(y + row - reach, 1.0), height - 1.0),
        )


class _Appearance:
    """What a key box looks like, and how much each place of each frame looks like it.

    ``finest`` is its template in the frame as acquired.
    """

    def __init__(self, pictures: Pictures, key: KeyBox, side: int):
        self._pictures = pictures
        self._templates = {
            resolution: Template(
                pictures.local_contrast(key.frame_index, resolution.pixels),
                _scaled(key.box_xyxy, resolution.pixels / side),
                window=resolution.window,
            )
            for resolution in RESOLUTIONS
        }
        self._likeness: dict[tuple[int, _Resolution], Picture] = {}
        self.finest = Template(
            pictures.as_acquired(key.frame_index), key.box_xyxy, window=REFINEMENT_WINDOW
        )

    def likeness(self, index: int, resolution: _Resolution) -> Picture:
        """Of a frame at a resolution (float32[h, w]), kept for the next correction nearby."""
        asked = (index, resolution)
        if asked not in self._likeness:
            picture = self._pictures.local_contrast(index, resolution.pixels)
            self._likeness[asked] = self._templates[resolution].likeness(picture)
        return self._likeness[asked]


def _confidence(likeness: float, lead: float, agreement: float) -> float:
    alike = (likeness - CHANCE_LIKENESS) / (CLEAR_LIKENESS - CHANCE_LIKENESS)
    # Even without agreement a fifth is left: the coarser path may be the one that errs.
    parts = np.clip((alike, lead / CLEAR_LEAD, 0.2 + 0.8 * agreement), 0, 1)
    return float(np.prod(parts) ** (1 / 3))


def _scaled(box_xyxy: BoxXyxy, scale: float) -> BoxXyxy:
    # The middle of pixel 0 lies at 0.5 in both resolutions, and is 0 for OpenCV.
    x1, y1, x2, y2 = ((value + 0.5) * scale - 0.5 for value in box_xyxy)
    return x1, y1, x2, y2


def _place(key: KeyBox | None, scale: float, shape: tuple[int, ...]) -> path.Place | None:
    if key is None:
        return None
    x, y = centre(_scaled(key.box_xyxy, scale))
    return min(max(round(y), 0), shape[0] - 1), min(max(round(x), 0), shape[1] - 1)


def _likeness(keys: list[_Appearance], index: int, resolution: _Resolution) -> Picture:
    return reduce(np.maximum, (key.likeness(index, resolution) for key in keys))
