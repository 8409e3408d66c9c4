"""A tracker that takes the best path through all frames between two key boxes at once.

Arteries beat, foreshorten and cross. A tracker that goes from frame to frame loses a lesion in
one bad frame and never finds it again; a path over all frames skips the bad frame and finds
the lesion again in the next heartbeat. The path is found in coarse pictures and refined in the
frame itself. A second path, in pictures half as fine and with a wider window, checks the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    box_around,
    centre,
    clipped,
    overlap,
    spans,
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
REFINEMENT_WINDOW = 0.5
REFINEMENT_REACH = 1 / 128
"""Of the frame's longer side."""
REFINEMENT_COST = 0.03
"""Likeness that a shift by the whole reach costs."""


class JointTracker:
    """The default tracker."""

    def __init__(self, frames: NDArray[np.uint8]):
        """``frames`` is uint8[T, H, W] as a reader sees them."""
        self._frames = frames
        self._side = max(frames.shape[1:])
        self._pictures = Pictures(frames)

    def track(self, keys: Sequence[KeyBox], wanted: range) -> list[TrackedBox]:
        """See :class:`preprocess.tracking.boxes.Tracker`.

        Confidence is the geometric mean of three numbers from 0 to 1: likeness to the key box,
        the lead of this path over every other one, and overlap with the second opinion's box.
        """
        found = [box for span in spans(keys, wanted) for box in self._through(span)]
        return [box for box in found if box.frame_index in wanted]

    def _through(self, span: Span) -> list[TrackedBox]:
        finest = [
            Template(
                self._pictures.as_acquired(key.frame_index), key.box_xyxy, window=REFINEMENT_WINDOW
            )
            for key in span.keys
        ]
        tracked = []
        for index, first, second in zip(
            span.frames,
            self._path(span, FIRST, finest),
            self._path(span, SECOND_OPINION, finest),
            strict=True,
        ):
            box, other = (box_around(p.middle, *span.size(index)) for p in (first, second))
            inside = clipped(box, self._frames)
            assert inside is not None, "a path stays in the frame"
            tracked.append(
                TrackedBox(
                    frame_index=index,
                    box_xyxy=inside,
                    confidence=_confidence(first.likeness, first.lead, overlap(box, other)),
                )
            )
        return tracked

    def _path(
        self, span: Span, resolution: _Resolution, finest: list[Template]
    ) -> Iterator[_Position]:
        """The lesion in each frame of a span: along the best path, refined in the frame itself."""
        scale = resolution.pixels / self._side

        def picture(index: int) -> Picture:
            return self._pictures.local_contrast(index, resolution.pixels)

        templates = [
            Template(
                picture(key.frame_index), _scaled(key.box_xyxy, scale), window=resolution.window
            )
            for key in span.keys
        ]
        likeness = [_likeness(templates, picture(index)) for index in span.frames]
        shape = likeness[0].shape
        through = path.best_through(
            likeness,
            _place(span.before, scale, shape),
            _place(span.after, scale, shape),
            step_cost=STEP_COST * (12 / resolution.pixels) ** 2,
            longest_step=round(LONGEST_STEP * resolution.pixels),
        )
        for index, alike, scores in zip(span.frames, likeness, through, strict=True):
            row, column = path.highest(scores)
            width, height = (max(int(NEARBY * side * scale), 2) for side in span.size(index))
            middle = self._refined(
                index,
                ((column + 0.5) / scale - 0.5, (row + 0.5) / scale - 0.5),
                finest,
                centre(span.keys[0].box_xyxy),
            )
            yield _Position(
                middle=middle,
                likeness=float(alike[row, column]),
                lead=path.lead(scores, rows=height, columns=width),
            )

    def _refined(
        self, index: int, middle: Point, templates: list[Template], anchor: Point
    ) -> Point:
        """The best place near ``middle`` in the frame itself.

        It is whole pixels away from the anchor: what does not move stays where it was drawn.
        """
        x, y = (a + round(m - a) for m, a in zip(middle, anchor, strict=True))
        reach = max(round(REFINEMENT_REACH * self._side), 1)
        away = np.arange(-reach, reach + 1, dtype=np.float32) / reach
        cost = np.float32(REFINEMENT_COST) * (away[:, None] ** 2 + away[None, :] ** 2)
        likeness = None
        for template in templates:
            columns, rows = (2 * (side + reach) + 1 for side in template.reach)
            near = cv2.getRectSubPix(self._pictures.as_acquired(index), (columns, rows), (x, y))
            found = template.likeness_within(np.asarray(near, np.float32))
            likeness = found if likeness is None else np.maximum(likeness, found)
        assert likeness is not None
        row, column = path.highest(likeness - cost)
        height, width = self._frames.shape[1:]
        return (
            min(max(x + column - reach, 1.0), width - 1.0),
            min(max(y + row - reach, 1.0), height - 1.0),
        )


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


def _likeness(templates: list[Template], picture: Picture) -> Picture:
    likeness = templates[0].likeness(picture)
    for template in templates[1:]:
        likeness = np.maximum(likeness, template.likeness(picture))
    return likeness
