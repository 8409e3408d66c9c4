"""CVAT for video 1.1 XML: ``<track>`` elements of ``<box>`` elements, one file per cine.

The cine is named by the task's ``<source>`` (the file that was loaded into CVAT), its ``<name>``
or the XML file. Boxes that are ``outside`` are not there; those that are no key frames were
interpolated by CVAT in a straight line, drawn by nobody, and are not taken either. A track is one
lesion through time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.regions import Place, Region, from_corners, without_ending
from preprocess.annotations.source_lines import XmlElement, parse_xml

CORNERS = ("xtl", "ytl", "xbr", "ybr")
FRAME = re.compile(r"\d{1,9}")
SHAPES = ("polygon", "polyline", "points", "ellipse", "mask", "skeleton", "cuboid")


def recognises(content: bytes) -> bool:
    """Whether a file's content is of this format."""
    return b"<annotations" in content[:4096]


def parse(content: bytes, name: str) -> Iterator[Region | Mismatch]:
    """Every key frame of every track; a shape that is no box is a mismatch.

    Raises:
        ValueError: it is not well-formed, or of another of CVAT's formats.
    """
    root = parse_xml(content)
    if root.find("image"):
        raise ValueError(
            "exported as 'CVAT for images'; export it as 'CVAT for video 1.1' or as COCO"
        )
    names = _names(root, name)
    for track in root.all("track"):
        label = track.attributes.get("label", "")
        for shape in track.children:
            where = f"track {track.attributes.get('id')}, frame {shape.attributes.get('frame')}"
            if shape.attributes.get("outside") == "1" or shape.attributes.get("keyframe") == "0":
                continue
            corners = _corners(shape)
            frame = shape.attributes.get("frame", "")
            if shape.tag in SHAPES or (shape.tag == "box" and corners is None):
                said = f"{where}: {shape.tag} without {', '.join(CORNERS)}"
                yield Mismatch(file=name, line=shape.line, kind=Kind.NO_BOX, said=said)
            elif shape.tag == "box" and corners and not FRAME.fullmatch(frame):
                yield Mismatch(file=name, line=shape.line, kind=Kind.NO_FRAME_NUMBER, said=where)
            elif corners:
                x1, y1, x2, y2 = corners
                box, inverted = from_corners((x1, x2), (y1, y2))
                yield Region(
                    places=tuple(Place(known, int(frame)) for known in names),
                    box_xyxy=box,
                    line=shape.line,
                    category=label,
                    lesion=f"{name} {track.attributes.get('id')}",
                    inverted=inverted,
                )


def _names(root: XmlElement, name: str) -> list[str]:
    """What the cine may be called; the names in ``<meta>`` lie below ``task`` or ``job``."""
    written = [
        parent.text_of(tag)
        for meta in root.all("meta")
        for parent in (meta, *meta.children)
        for tag in ("source", "name")
    ]
    return list(dict.fromkeys([*(without_ending(text) for text in written if text), name]))


def _corners(shape: XmlElement) -> tuple[float, float, float, float] | None:
    try:
        x1, y1, x2, y2 = (float(shape.attributes[corner]) for corner in CORNERS)
    except (KeyError, ValueError):
        return None
    return (x1, y1, x2, y2) if all(map(math.isfinite, (x1, y1, x2, y2))) else None
