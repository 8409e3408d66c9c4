"""Key boxes, tracked boxes, and the interface of a tracker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

BoxXyxy = tuple[float, float, float, float]
Point = tuple[float, float]
"""x and y in frame pixels."""
KEPT_SPANS = 256
"""What was found in so many spans is kept."""

Question = TypeVar("Question")
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class KeyBox:
    """A box of a lesion that a reader placed; ``box_xyxy`` is in frame pixels."""

    frame_index: int
    box_xyxy: BoxXyxy


@dataclass(frozen=True, kw_only=True)
class TrackedBox:
    """Where a lesion is in one frame; ``confidence`` runs from 0 to 1, made of ``evidence``."""

    frame_index: int
    box_xyxy: BoxXyxy
    confidence: float
    evidence: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Span:
    """Neighbouring frames without a key box, and the key boxes that bound them."""

    before: KeyBox | None
    frames: range
    after: KeyBox | None

    @property
    def keys(self) -> list[KeyBox]:
        """The one or two key boxes."""
        return [key for key in (self.before, self.after) if key]

    def size(self, frame_index: int) -> tuple[float, float]:
        """Width and height of the lesion's box, between two key boxes in proportion to time."""
        keys = self.keys
        times = [key.frame_index for key in keys]
        widths = [key.box_xyxy[2] - key.box_xyxy[0] for key in keys]
        heights = [key.box_xyxy[3] - key.box_xyxy[1] for key in keys]
        width, height = (float(np.interp(frame_index, times, v)) for v in (widths, heights))
        return width, height


def spans(keys: Sequence[KeyBox], wanted: range) -> list[Span]:
    """The stretches between key boxes that hold any wanted frame, reaching to those boxes.

    A change of one key box changes the spans on either side of it and no other.
    """
    found = []
    for before, after in zip([None, *keys], [*keys, None], strict=True):
        first = before.frame_index + 1 if before else wanted.start
        last = after.frame_index if after else wanted.stop
        frames = range(first, last)
        if frames and frames.start < wanted.stop and frames.stop > wanted.start:
            found.append(Span(before=before, frames=frames, after=after))
    return found


class Tracker(ABC):
    """Follows lesions through the frames of a cine, and keeps what it found.

    After a change of one key box it follows the lesion through the spans beside that box alone.
    Call it from one thread at a time.

    Args:
        frames: uint8[T, H, W] as a reader sees them.
        threads: so many of its own work at the same time; they change no box.
    """

    def __init__(self, frames: NDArray[np.uint8], threads: int = 1):
        self._frames = frames
        self._threads = threads
        self._found: dict[Span, list[TrackedBox]] = {}

    def track(self, keys: Sequence[KeyBox], wanted: range) -> list[TrackedBox]:
        """One box for each frame of ``wanted`` that has no key box, inside the frame.

        Args:
            keys: the boxes of one lesion, in the order of their frames, at least one.
            wanted: frame indices, rising by one.
        """
        found = (box for span in spans(keys, wanted) for box in self.through(span))
        return [box for box in found if box.frame_index in wanted]

    def through(self, span: Span) -> list[TrackedBox]:
        """One box for each frame of a span, in their order."""
        return recalled(self._found, span, self._through, KEPT_SPANS)

    @abstractmethod
    def _through(self, span: Span) -> list[TrackedBox]:
        """As :meth:`through`, anew."""


def recalled(
    memory: dict[Question, Answer], key: Question, find: Callable[[Question], Answer], most: int
) -> Answer:
    """``memory[key]``, found where it is missing; of more than ``most``, the oldest are dropped."""
    memory[key] = memory.pop(key) if key in memory else find(key)
    while len(memory) > most:
        del memory[next(iter(memory))]
    return memory[key]


def centre(box_xyxy: BoxXyxy) -> Point:
    """The middle of a box."""
    x1, y1, x2, y2 = box_xyxy
    return (x1 + x2) / 2, (y1 + y2) / 2


def box_around(middle: Point, width: float, height: float) -> BoxXyxy:
    """The box of a size with this middle."""
    x, y = middle
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def area(box_xyxy: BoxXyxy) -> float:
    """In square pixels; 0 for a box with nothing inside."""
    x1, y1, x2, y2 = box_xyxy
    return max(x2 - x1, 0.0) * max(y2 - y1, 0.0)


def overlap(a: BoxXyxy, b: BoxXyxy) -> float:
    """Intersection over union."""
    shared = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return shared / max(area(a) + area(b) - shared, 1e-9)


def clipped(box_xyxy: BoxXyxy, frames: NDArray[np.uint8]) -> BoxXyxy | None:
    """The part of a box in the frame, or None where less than a pixel of it is."""
    height, width = frames.shape[1:]
    x1, y1, x2, y2 = box_xyxy
    inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    # A box of one pixel may have lost a rounding error on its way.
    least = min(inside[2] - inside[0], inside[3] - inside[1])
    return inside if least >= 1 - 1e-6 else None
