"""Pascal VOC XML: one file per picture, ``<filename>`` and ``<object><name><bndbox>``.

The corners are taken as they are written: edges in pixels, from 0. The original challenge counted
whole pixels from 1 and to the last one; nearly every tool since writes edges, and the difference
is at most a pixel.

A turned box is roLabelImg's ``<robndbox>`` (centre, size and an ``<angle>`` in radians), or a
``<bndbox>`` with CVAT's attribute ``rotation`` in degrees. Objects that are ``<difficult>`` are
areas to ignore, as the challenge has it; ``iscrowd`` and ``ignore`` mean the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from preprocess.annotations import values
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.regions import (
    BoxXyxy,
    Place,
    Region,
    around_turned,
    from_corners,
    picture_places,
)
from preprocess.annotations.source_lines import XmlElement, parse_xml
from preprocess.annotations.values import EntryError

CORNERS = ("xmin", "ymin", "xmax", "ymax")
CENTRE_AND_SIZE = ("cx", "cy", "w", "h")
ROTATIONS = ("angle", "rotation")


def recognises(content: bytes) -> bool:
    """Whether a file's content is of this format."""
    return re.search(rb"<annotation[\s>]", content) is not None


def parse(content: bytes, name: str) -> Iterator[Region | Mismatch]:
    """Every object; one whose box cannot be read is a mismatch.

    Raises:
        ValueError: it is not well-formed, or no VOC file.
    """
    root = parse_xml(content)
    if root.tag != "annotation":
        raise ValueError(f"a VOC file whose root is {root.tag!r}, not 'annotation'")
    places = file_places(root.text_of("filename"), name)
    width, height = (root.text_of("size", side) for side in ("width", "height"))
    for number, found in enumerate(root.all("object"), start=1):
        entry = f"object {number}"
        try:
            attributes = _attributes(found)
            box, inverted, rotation = _box(found, attributes)
            yield Region(
                places=places,
                box_xyxy=box,
                line=found.line,
                category=found.text_of("name"),
                inverted=inverted,
                entry=entry,
                picture_size=values.size(width, height),
                rotation_deg=rotation,
                ignored=values.is_ignored(attributes),
            )
        except ValueError as problem:
            kind = problem.kind if isinstance(problem, EntryError) else Kind.NO_BOX
            said = str(problem)
            yield Mismatch(file=name, line=found.line, kind=kind, said=said, entry=entry)


def shown(content: bytes, name: str) -> Iterator[tuple[Place, ...]]:
    """The one picture, in each of its readings.

    Raises:
        ValueError: it is not well-formed.
    """
    yield file_places(parse_xml(content).text_of("filename"), name)


def file_places(file_name: str, name: str) -> tuple[Place, ...]:
    """What a VOC file describes: its ``<filename>``, or, where that says nothing, its own name.

    A bare frame number belongs to the folder that the VOC file lies in (``cine7/000012.xml``).
    """
    folder = str(PurePosixPath(name).parent)
    return picture_places(file_name or name, folder if folder != "." else name)


def _attributes(found: XmlElement) -> dict[str, str]:
    """What an object says of itself: the flags of VOC, and the attributes of CVAT."""
    said = {flag: found.text_of(flag) for flag in values.IGNORED}
    attributes = found.find("attributes")
    for attribute in attributes.children if attributes else []:
        name = attribute.text_of("name")
        if said.get(name):
            raise EntryError(Kind.UNREADABLE_VALUE, "an object with one attribute twice")
        said[name] = attribute.text_of("value")
    return said


def _box(found: XmlElement, said: Mapping[str, str]) -> tuple[BoxXyxy, bool, float]:
    """The upright box, whether its corners were exchanged, and by how much it was turned."""
    upright, turned = found.find("bndbox"), found.find("robndbox")
    if (upright is None) == (turned is None):
        raise EntryError(Kind.NO_BOX, "no bndbox, or a robndbox as well")
    if turned:
        x, y, width, height = _numbers(turned, CENTRE_AND_SIZE)
        xs, ys = (x - width / 2, x + width / 2), (y - height / 2, y + height / 2)
        angle = _rotation(turned, "angle")
        if abs(angle) > 2 * math.pi:
            raise EntryError(Kind.NO_BOX, f"robndbox: an angle of {angle:g} is not in radians")
        rotation = math.degrees(angle)
    else:
        assert upright is not None
        x1, y1, x2, y2 = _numbers(upright, CORNERS)
        xs, ys = (x1, x2), (y1, y2)
        if any(_rotation(element, tag) for element in (upright, found) for tag in ROTATIONS):
            raise EntryError(Kind.NO_BOX, "a bndbox that is turned: nobody says by which unit")
        rotation = values.number(said.get("rotation") or 0, "rotation")
    box, inverted = from_corners(xs, ys)
    return around_turned(box, rotation), inverted, rotation


def _numbers(element: XmlElement, tags: tuple[str, ...]) -> list[float]:
    return [values.number(element.text_of(tag), tag, Kind.NO_BOX) for tag in tags]


def _rotation(element: XmlElement, tag: str) -> float:
    return values.number(element.text_of(tag) or 0, "its rotation")
