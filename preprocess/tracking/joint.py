"""A tracker that takes the best path through all frames between two key boxes at once.

Arteries beat, foreshorten and cross. A tracker that goes from frame to frame loses a lesion in
one bad frame and never finds it again; a path over all frames skips the bad frame and finds
the lesion again in the next heartbeat. The first path is the one that looks most like the key
boxes. The mean picture along it shows what moves with the lesion: the background and the vessels
that cross it differ from frame to frame. So a path that looks most like this mean is better. The
place is refined in the frame itself, by the key boxes.
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
    recalled,
)
from preprocess.tracking.pictures import Picture, Pictures
from preprocess.tracking.template import ANGLES_DEG, Template

PIXELS = 256
"""The longer side of the pictures in which a path is sought."""
WINDOW = 0.7
"""A template's window: its standard deviation as a share of the box's sides."""
LONGEST_STEP = 1 / 8
"""Of the frame's longer side, between neighbouring frames."""
NEARBY = 0.75
"""Other paths count as the same lesion up to this many box sides away."""
REFINEMENT_WINDOW = 0.5
REFINEMENT_REACH = 1 / 128
"""Of the frame's longer side."""
REFINEMENT_COST = 0.03
"""Likeness that a shift by the whole reach costs."""
KEPT_APPEARANCES = 4
"""Key boxes whose likeness maps are kept, at most 16 MB each in a cine of 60 frames."""


@dataclass(frozen=True, kw_only=True)
class Constants:
    """What ``benchmarks/propagate.py`` chooses on cines with a reader's box on every frame."""

    least_window: float = 0.04
    """The least standard deviation of a template's window, as a share of the frame's longer side:
    small boxes are seen with what is around them."""
    step_cost: float = 0.2
    """Likeness that a step by 1/12 of the frame costs."""
    weights: tuple[float, float, float] = (-4.85, 4.20, 6.91)
    """Of the confidence: the constant, and the weights of likeness and lead."""


@dataclass(frozen=True, kw_only=True)
class _Position:
    """A lesion's middle in one frame; ``likeness`` there, ``lead`` of its path over all others."""

    middle: Point
    likeness: float
    lead: float


class JointTracker(Tracker):
    """The default tracker.

    Confidence is a logistic function of the likeness to the mean picture and of the lead of the
    path over every other one, which counts no more than the likeness.
    """

    def __init__(
        self,
        frames: NDArray[np.uint8],
        threads: int = 1,
        constants: Constants = Constants(),
    ):
        super().__init__(frames, threads)
        self._constants = constants
        self._scale = PIXELS / max(frames.shape[1:])
        self._pictures = Pictures(frames)
        self._appearances: dict[KeyBox, _Appearance] = {}

    def _through(self, span: Span) -> list[TrackedBox]:
        keys = [
            recalled(self._appearances, key, self._appearance, KEPT_APPEARANCES)
            for key in span.keys
        ]
        with ThreadPoolExecutor(self._threads) as pool:
            flows = list(pool.map(partial(self._flows, span), range(len(span.frames) + 1)))
            maps = pool.map(partial(_likeness, keys), span.frames)
            mean = self._mean(span, self._path(span, list(maps), flows))
            maps = pool.map(lambda index: mean.likeness(self._picture(index)), span.frames)
            found = self._path(span, list(maps), flows)
            return list(pool.map(partial(self._box, span, keys), span.frames, found))

    def _picture(self, index: int) -> Picture:
        return self._pictures.local_contrast(index, PIXELS)

    def _template(
        self, picture: Picture, box_xyxy: BoxXyxy, angles_deg: tuple[float, ...]
    ) -> Template:
        return Template(
            picture,
            box_xyxy,
            window=WINDOW,
            least=self._constants.least_window * PIXELS,
            angles_deg=angles_deg,
        )

    def _appearance(self, key: KeyBox) -> _Appearance:
        place = _scaled(key.box_xyxy, self._scale)
        coarse = self._template(self._picture(key.frame_index), place, ANGLES_DEG)
        return _Appearance(self._pictures, key, coarse)

    def _flows(self, span: Span, step: int) -> tuple[path.Flow, path.Flow]:
        """Of the step to a frame of the span, and out of its last one: back, and forth."""
        last = len(self._frames) - 1
        after = min(span.frames.start + step, last)
        before = max(span.frames.start + step - 1, 0)
        flow = self._pictures.flow
        return flow(after, before, PIXELS), flow(before, after, PIXELS)

    def _path(
        self, span: Span, likeness: list[Picture], flows: list[tuple[path.Flow, path.Flow]]
    ) -> list[_Position]:
        """The lesion in each frame of a span, along the best path."""
        shape = likeness[0].shape
        through = path.best_through(
            likeness,
            _place(span.before, self._scale, shape),
            _place(span.after, self._scale, shape),
            step_cost=self._constants.step_cost * (12 / PIXELS) ** 2,
            longest_step=round(LONGEST_STEP * PIXELS),
            flows=flows,
        )
        found = []
        for index, alike, scores in zip(span.frames, likeness, through, strict=True):
            row, column = path.highest(scores)
            width, height = (max(int(NEARBY * side * self._scale), 2) for side in span.size(index))
            found.append(
                _Position(
                    middle=((column + 0.5) / self._scale - 0.5, (row + 0.5) / self._scale - 0.5),
                    likeness=float(alike[row, column]),
                    lead=path.lead(scores, rows=height, columns=width),
                )
            )
        return found

    def _mean(self, span: Span, positions: list[_Position]) -> Template:
        """What the lesion looks like in the mean of all frames, each as far as it is trusted."""
        shown = [(key.frame_index, centre(key.box_xyxy), 1.0) for key in span.keys]
        for index, position in zip(span.frames, positions, strict=True):
            trust = np.clip((position.likeness, position.lead), 0, 1).prod()
            shown.append((index, position.middle, float(trust)))
        height, width = self._picture(span.frames[0]).shape
        middle = width / 2, height / 2
        mean = np.zeros((height, width), np.float32)
        for index, (x, y), trust in shown:
            at = (x + 0.5) * self._scale - 0.5, (y + 0.5) * self._scale - 0.5
            shift = np.asarray([[1, 0, at[0] - middle[0]], [0, 1, at[1] - middle[1]]])
            mean += np.float32(trust) * cv2.warpAffine(
                self._picture(index),
                shift,
                (width, height),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
        mean /= np.float32(sum(trust for *_, trust in shown))
        size = span.size(span.frames[len(span.frames) // 2])
        return self._template(mean, box_around(middle, *(self._scale * s for s in size)), ())

    def _box(self, span: Span, keys: list[_Appearance], index: int, found: _Position) -> TrackedBox:
        """The box in one frame, refined in the frame itself."""
        # Whole pixels away from the key box: what does not move stays where it was drawn.
        x, y = centre(span.keys[0].box_xyxy)
        start = x + round(found.middle[0] - x), y + round(found.middle[1] - y)
        size = span.size(index)
        inside = clipped(box_around(self._refined(index, start, keys), *size), self._frames)
        assert inside is not None, "a path stays in the frame"
        # What resembles nothing leads nothing, however far the steps to other places are.
        evidence = found.likeness, min(found.lead, found.likeness)
        return TrackedBox(
            frame_index=index,
            box_xyxy=inside,
            confidence=confidence(self._constants.weights, evidence),
            evidence=evidence,
        )

    def _refined(self, index: int, start: Point, keys: list[_Appearance]) -> Point:
        """The best place near ``start`` in the frame itself, whole pixels away from it."""
        x, y = start
        height, width = self._frames.shape[1:]
        reach = max(round(REFINEMENT_REACH * max(height, width)), 1)
        away = np.arange(-reach, reach + 1, dtype=np.float32) / reach
        cost = np.float32(REFINEMENT_COST) * (away[:, None] ** 2 + away[None, :] ** 2)
        frame = self._pictures.as_acquired(index)
        likeness = []
        for template in (key.finest for key in keys):
            columns, rows = (2 * (side + reach) + 1 for side in template.reach)
            near = cv2.getRectSubPix(frame, (columns, rows), start)
            likeness.append(template.likeness_within(np.asarray(near, np.float32)))
        row, column = path.highest(reduce(np.maximum, likeness) - cost)
        return (
            min(max(x + column - reach, 1.0), width - 1.0),
            min(max(y + row - reach, 1.0), height - 1.0),
        )


class _Appearance:
    """What a key box looks like, and how much each place of each frame looks like it.

    ``finest`` is its template in the frame as acquired.
    """

    def __init__(self, pictures: Pictures, key: KeyBox, coarse: Template):
        self._pictures = pictures
        self._coarse = coarse
        self._likeness: dict[int, Picture] = {}
        self.finest = Template(
            pictures.as_acquired(key.frame_index), key.box_xyxy, window=REFINEMENT_WINDOW
        )

    def likeness(self, index: int) -> Picture:
        """Of a frame (float32[h, w]), kept for the next correction nearby."""
        if index not in self._likeness:
            picture = self._pictures.local_contrast(index, PIXELS)
            self._likeness[index] = self._coarse.likeness(picture)
        return self._likeness[index]


def confidence(weights: tuple[float, float, float], evidence: tuple[float, ...]) -> float:
    """0 to 1 by likeness and lead, a logistic function of their weighted sum."""
    constant, *slopes = weights
    return 1 / (1 + float(np.exp(-constant - np.dot(slopes, evidence))))


def _scaled(box_xyxy: BoxXyxy, scale: float) -> BoxXyxy:
    # The middle of pixel 0 lies at 0.5 in both resolutions, and is 0 for OpenCV.
    x1, y1, x2, y2 = ((value + 0.5) * scale - 0.5 for value in box_xyxy)
    return x1, y1, x2, y2


def _place(key: KeyBox | None, scale: float, shape: tuple[int, ...]) -> path.Place | None:
    if key is None:
        return None
    x, y = centre(_scaled(key.box_xyxy, scale))
    return min(max(round(y), 0), shape[0] - 1), min(max(round(x), 0), shape[1] - 1)


def _likeness(keys: list[_Appearance], index: int) -> Picture:
    return reduce(np.maximum, (key.likeness(index) for key in keys))
