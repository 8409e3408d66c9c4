"""A region, as every annotation format gives it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from preprocess.annotations.mismatches import Kind
from preprocess.annotations.names import comparable_name
from preprocess.annotations.values import FARTHEST, EntryError
from preprocess.cohort import BoxSource, Polygons, Verdict, polygons

BoxXyxy = tuple[float, float, float, float]

LAST_NUMBER = re.compile(r"[0-9]+\Z")
SEPARATORS = " _-"
BEFORE_NUMBER = SEPARATORS + "/\\"
FRAME = "frame"
MOST_DIGITS = 9
"""Of a frame's number; longer ones are dates or ids."""
ROUNDING_PX = 0.011
"""How far a corner moves where a tool rounds x, y, width and height to two decimals."""


@dataclass(frozen=True)
class Place:
    """A cine by one of its names, and a frame of it, 0-based (None where nobody says which).

    A name is a SOPInstanceUID, a pseudonym of the cohort, or a file name without its ending,
    with as many of its folders as are known.
    """

    name: str
    frame_index: int | None


@dataclass(frozen=True, kw_only=True)
class Region:
    """A box that somebody drew on one frame, before it is fitted into the frame.

    ``box_xyxy`` is in frame pixels and ordered (x1 <= x2, y1 <= y2). ``places`` holds every
    reading of what the file calls the frame; which of them is meant, the archive decides.
    """

    places: tuple[Place, ...]
    box_xyxy: BoxXyxy
    file: str = ""
    """The annotation file, as the user knows it."""
    line: int = 0
    """Where in the file it is written, counted from 1."""
    category: str = ""
    """The class, in the formats that have such."""
    lesion: str = ""
    """What the file calls the lesion through time: regions of one name are one lesion. A number
    alone is the cohort's own ``instance_id``."""
    source: BoxSource | None = None
    """Who placed it, where the file says so."""
    moved: bool = False
    """Whether it was elsewhere when it was exported, where the file says so."""
    confidence: float = 1.0
    """Of a tracked box, where the file says so."""
    verdict: Verdict = Verdict.GOOD
    """Likewise."""
    grade: str | None = None
    """The degree of stenosis, as :attr:`Box.grade` has it."""
    segmentation: Polygons | None = None
    """The outline of the lumen, as :attr:`Box.segmentation` has it, on the picture as drawn."""
    inverted: bool = False
    """Whether the corners came in the wrong order and were exchanged."""
    entry: str = ""
    """Which entry of its file it is, where entries have names."""
    picture_size: tuple[float, float] | None = None
    """Width and height of the picture that it was drawn on, where the file says so."""
    rotation_deg: float = 0.0
    """By how much the drawn box was turned; ``box_xyxy`` is the upright box around it."""
    ignored: bool = False
    """Whether it marks an area to ignore, not a lesion: COCO's ``iscrowd``."""
    file_knows_lesions: bool | None = None
    """Whether one of the classes that the file lists, drawn or not, is a lesion by its name; None
    where it lists none."""

    def scaled_to(self, *, width: int, height: int) -> Region | None:
        """The region on a frame of that size, or None where the drawn picture had another shape.

        A shape is the same if one side, scaled as the other one, differs by rounding alone.
        """
        if self.picture_size in (None, (width, height)):
            return self
        assert self.picture_size is not None
        drawn_width, drawn_height = self.picture_size
        rounding = min(
            abs(drawn_width - width * drawn_height / height),
            abs(drawn_height - height * drawn_width / width),
        )
        if rounding > 0.5:
            return None
        x, y = width / drawn_width, height / drawn_height
        x1, y1, x2, y2 = self.box_xyxy
        return replace(
            self, box_xyxy=(x1 * x, y1 * y, x2 * x, y2 * y), picture_size=(width, height)
        )

    def segmentation_on(self, *, width: int, height: int) -> Polygons | None:
        """The outline of the lumen on a frame of that size."""
        if self.segmentation is None or self.picture_size is None:
            return self.segmentation
        scale = width / self.picture_size[0], height / self.picture_size[1]
        return polygons(
            tuple(
                tuple(value * scale[i % 2] for i, value in enumerate(polygon))
                for polygon in self.segmentation
            )
        )

    def within(self, *, width: int, height: int) -> BoxXyxy | None:
        """The part that lies in the frame, or None where nothing of it does."""
        x1, y1, x2, y2 = self.box_xyxy
        clipped = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        # One pixel is the least that a box can mean; thinner ones are clicks, not drags.
        return clipped if clipped[2] - clipped[0] >= 1 and clipped[3] - clipped[1] >= 1 else None

    @property
    def is_thin(self) -> bool:
        """Whether it is less than a pixel wide or high, wherever it lies."""
        x1, y1, x2, y2 = self.box_xyxy
        return x2 - x1 < 1 or y2 - y1 < 1


def same_place(a: BoxXyxy, b: BoxXyxy) -> bool:
    """Whether two boxes of one frame differ by no more than the rounding of a tool."""
    return all(abs(one - other) <= ROUNDING_PX for one, other in zip(a, b, strict=True))


def from_corners(xs: Sequence[float], ys: Sequence[float]) -> tuple[BoxXyxy, bool]:
    """The box around drawn points, and whether two drag corners came in the wrong order.

    Raises:
        EntryError: a point is nowhere.
    """
    if not all(abs(value) <= FARTHEST for value in (*xs, *ys)):
        raise EntryError(Kind.NO_BOX, "a corner is no place in a picture")
    box = (min(xs), min(ys), max(xs), max(ys))
    return box, len(xs) == 2 and (xs[0] > xs[1] or ys[0] > ys[1])


def around_turned(box_xyxy: BoxXyxy, rotation_deg: float) -> BoxXyxy:
    """The upright box around a box that is turned about its centre."""
    if rotation_deg % 180 == 0:
        return box_xyxy
    x1, y1, x2, y2 = box_xyxy
    angle = math.radians(rotation_deg)
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    if rotation_deg % 90 == 0:
        cos, sin = 0.0, 1.0
    half_width = ((x2 - x1) * cos + (y2 - y1) * sin) / 2
    half_height = ((x2 - x1) * sin + (y2 - y1) * cos) / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def without_ending(file_name: str) -> str:
    """A file name with its folders but without its ending; the last part of a UID is none."""
    stem, _, ending = file_name.rpartition(".")
    hidden = not stem or stem[-1] in "/\\"  # .name is a name without an ending
    none = not ending or ending.isdigit() or "/" in ending or "\\" in ending
    return file_name if hidden or none else stem


def numbered_name(name: str) -> tuple[str, int] | None:
    """The cine and frame that a picture's name without ending may say, or None where it has none.

    The cine is empty where the name is a number alone, or that and the word ``frame``.
    """
    # By hand: a pattern that may split the separators in several ways tries all of them.
    digits = LAST_NUMBER.search(name[-MOST_DIGITS - 1 :])
    if digits is None or len(digits[0]) > MOST_DIGITS:
        return None
    before = name[: len(name) - len(digits[0])]
    word = before.rstrip(SEPARATORS)
    if word[-len(FRAME) :].casefold() == FRAME:
        outside = word[: -len(FRAME)]
        before = outside if outside.rstrip(BEFORE_NUMBER) != outside or not outside else before
    cine = before.rstrip(BEFORE_NUMBER)
    # A number that follows letters is a part of the name: case7 is no frame of a cine `case`.
    return (cine, int(digits[0])) if cine != before or not before else None


def picture_places(file_name: str, annotations: str) -> tuple[Place, ...]:
    """How the file name of a single picture may be read.

    ``cine7.png`` is the cine of that name; ``cine7_000012.png``, ``cine7/000012.png`` and
    ``cine7/frame_12.png`` may also be its frame 12, from 0. A bare ``000012.png`` is frame 12 of
    the cine that the annotation file is named after.

    Args:
        file_name: what the annotation file calls the picture.
        annotations: the annotation file's own name without its ending.
    """
    name = without_ending(file_name)
    places = [Place(name, None)]
    if numbered := numbered_name(name) or numbered_name(comparable_name(name)):
        places.append(Place(numbered[0] or annotations, numbered[1]))
    return tuple(places)
