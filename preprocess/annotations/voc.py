"""Pascal VOC XML: one file per picture, ``<filename>`` and ``<object><name><bndbox>``.

The corners are taken as they are written: edges in pixels, from 0. The original challenge counted
whole pixels from 1 and to the last one; nearly every tool since writes edges, and the difference
is at most a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import PurePosixPath

from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.regions import Place, Region, from_corners, picture_places
from preprocess.annotations.source_lines import XmlElement, parse_xml

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def recognises(content: bytes) -> bool:
    """Whether a file's content is of this format."""
    return b"<annotation>" in content[:4096] or b"<annotation " in content[:4096]


def parse(content: bytes, name: str) -> Iterator[Region | Mismatch]:
    """Every object; one whose corners are no numbers is a mismatch.

    Raises:
        ValueError: it is not well-formed, or no VOC file.
    """
    root = parse_xml(content)
    if root.tag != "annotation":
        raise ValueError(f"a VOC file whose root is {root.tag!r}, not 'annotation'")
    places = file_places(root.text_of("filename"), name)
    for number, found in enumerate(root.all("object"), start=1):
        corners = _corners(found)
        if corners is None:
            said = f"object {number}: bndbox holds no numbers {', '.join(CORNERS)}"
            yield Mismatch(file=name, line=found.line, kind=Kind.NO_BOX, said=said)
            continue
        x1, y1, x2, y2 = corners
        box, inverted = from_corners((x1, x2), (y1, y2))
        yield Region(
            places=places,
            box_xyxy=box,
            line=found.line,
            category=found.text_of("name"),
            inverted=inverted,
        )


def file_places(file_name: str, name: str) -> tuple[Place, ...]:
    """What a VOC file describes: its ``<filename>``, or, where that says nothing, its own name.

    A bare frame number belongs to the folder that the VOC file lies in (``cine7/000012.xml``).
    """
    folder = str(PurePosixPath(name).parent)
    return picture_places(file_name or name, folder if folder != "." else name)


def _corners(found: XmlElement) -> tuple[float, float, float, float] | None:
    try:
        x1, y1, x2, y2 = (float(found.text_of("bndbox", corner)) for corner in CORNERS)
    except ValueError:
        return None
    return (x1, y1, x2, y2) if all(map(math.isfinite, (x1, y1, x2, y2))) else None
