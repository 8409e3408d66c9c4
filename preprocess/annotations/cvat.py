"""CVAT for video 1.1 XML: ``<track>`` elements of ``<box>`` elements, one file per cine.

The cine is named by the task's ``<source>`` (the file that was loaded into CVAT), its ``<name>``
or the XML file. Boxes that are ``outside`` are not there; those that are no key frames were
interpolated by CVAT in a straight line, drawn by nobody, and are not taken either. A track is one
lesion through time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

from preprocess.annotations import values
from preprocess.annotations.categories import knows_lesions
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.regions import (
    Place,
    Region,
    around_turned,
    from_corners,
    without_ending,
)
from preprocess.annotations.source_lines import XmlElement, parse_xml
from preprocess.annotations.values import EntryError

CORNERS = ("xtl", "ytl", "xbr", "ybr")
PARENTS = ("task", "job", "project")
"""Below ``<meta>``: what the cine is called, its size and the labels."""
SHAPES = ("polygon", "polyline", "points", "ellipse", "mask", "skeleton", "cuboid")


def recognises(content: bytes) -> bool:
    """Whether a file's content is of this format."""
    return b"<annotations" in content


def parse(content: bytes, name: str) -> Iterator[Region | Mismatch]:
    """Every key frame of every track; a shape that is no box is a mismatch.

    Raises:
        ValueError: it is not well-formed, or of another of CVAT's formats.
    """
    root = parse_xml(content)
    if any(root.all("image")):
        raise ValueError(
            "exported as 'CVAT for images'; export it as 'CVAT for video 1.1' or as COCO"
        )
    meta = _meta(root)
    written = [parent.text_of(tag) for parent in meta for tag in ("source", "name")]
    names = list(dict.fromkeys([*(without_ending(text) for text in written if text), name]))
    labels = [labels for parent in meta if (labels := parent.find("labels"))]
    knows = knows_lesions([label.text_of("name") for each in labels for label in each.children])
    sizes = [size for parent in meta if (size := parent.find("original_size"))]
    if len(sizes) > 1:
        raise ValueError("of several tasks; export each of them by itself")
    times = Counter(track.attributes.get("id") for track in root.all("track"))
    for number, track in enumerate(root.all("track"), start=1):
        called = track.attributes.get("id")
        # Two tracks of one id are two lesions all the same.
        lesion = called if called and times[called] == 1 else f"number {number}"
        region = partial(
            Region,
            category=track.attributes.get("label", ""),
            file_knows_lesions=knows,
            lesion=f"{name} {lesion}",
        )
        for shape in track.children:
            if shape.tag != "box" and shape.tag not in SHAPES:
                continue
            entry = f"track {called}, frame {shape.attributes.get('frame')}"[:80]
            try:
                if not _is_drawn(shape):
                    continue
                if shape.tag != "box":
                    raise EntryError(Kind.NO_BOX, "only boxes are read")
                frame_index = values.frame_number(shape.attributes.get("frame"), "frame")
                corners = [values.number(shape.attributes.get(c), c, Kind.NO_BOX) for c in CORNERS]
                box, inverted = from_corners(corners[::2], corners[1::2])
                rotation = values.number(shape.attributes.get("rotation", 0), "rotation")
                yield region(
                    places=tuple(Place(known, frame_index) for known in names),
                    box_xyxy=around_turned(box, rotation),
                    line=shape.line,
                    inverted=inverted,
                    entry=entry,
                    rotation_deg=rotation,
                    picture_size=_size(sizes),
                    ignored=values.is_ignored(
                        {a.attributes.get("name", ""): a.text for a in shape.all("attribute")}
                    ),
                )
            except EntryError as problem:
                said = f"{shape.tag}: {problem}"
                yield Mismatch(
                    file=name, line=shape.line, kind=problem.kind, said=said, entry=entry
                )


def _meta(root: XmlElement) -> list[XmlElement]:
    """The elements that describe the cine: ``<meta>`` and the task, job or project in it."""
    meta = root.find("meta")
    return [meta, *(p for tag in PARENTS if (p := meta.find(tag)))] if meta else []


def _is_drawn(shape: XmlElement) -> bool:
    """Whether somebody drew it, and the lesion is there."""
    keyframe = shape.attributes.get("keyframe", "1")
    outside = shape.attributes.get("outside")
    return values.flag(keyframe, "keyframe") and not values.flag(outside, "outside")


def _size(sizes: list[XmlElement]) -> tuple[float, float] | None:
    return next((values.size(s.text_of("width"), s.text_of("height")) for s in sizes), None)
