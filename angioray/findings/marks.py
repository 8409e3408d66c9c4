"""What is drawn over a frame: the boxes of lesions, and their words where they can be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from angioray.inference.findings import FoundBox, Lesion

TEXT_SHARE = 1 / 19
"""The height of words as a share of the picture's longer side."""
LETTER_WIDTH = 0.6
"""The width of a bold digit, as a share of its height."""

Area = tuple[float, float, float, float]
"""x1, y1, x2, y2."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A lesion's box in a frame; ``x`` and ``y`` are where its words begin, at their lower edge."""

    lesion: Lesion
    box: FoundBox
    x: float
    y: float

    @property
    def score(self) -> str:
        """What the words say after the lesion's number."""
        return "–" if self.box.carried else f"{self.box.score:.2f}"


def text_height(width: int, height: int) -> float:
    """The height of words over a picture of that size, in its pixels."""
    return round(max(width, height) * TEXT_SHARE, 1)


def marks_in(lesions: Iterable[Lesion], frame_index: int, *, width: int, height: int) -> list[Mark]:
    """The lesions' boxes in a frame of that size, no words over those of a lesion before."""
    found = [(x, box) for x in lesions for box in x.boxes if box.frame_index == frame_index]
    text, taken, marks = text_height(width, height), list[Area](), list[Mark]()
    for lesion, box in found:
        wide = LETTER_WIDTH * text * len(f"{lesion.number} 0.00")
        areas = [(x, y - text, x + wide, y) for x, y in _places(box, wide, text)]
        inside = [a for a in areas if a[0] >= 0 and a[1] >= 0 and a[2] <= width and a[3] <= height]
        free = [a for a in inside if not any(_overlap(a, other) for other in taken)]
        area = (free or inside or areas)[0]
        taken.append(area)
        marks.append(Mark(lesion=lesion, box=box, x=round(area[0], 1), y=round(area[3], 1)))
    return marks


def _places(box: FoundBox, wide: float, text: float) -> Iterator[tuple[float, float]]:
    """Where the words may begin: above the box, below it, then beside it."""
    x1, y1, x2, y2 = box.box_xyxy
    above, below, beside = y1 - text / 4, y2 + text, (y1 + y2 + text) / 2
    yield from ((x1, above), (x2 - wide, above), (x1, below), (x2 - wide, below))
    yield from ((x2 + text / 4, beside), (x1 - wide - text / 4, beside))


def _overlap(a: Area, b: Area) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
