"""CVAT for video 1.1: a folder of each cine, with ``annotations.xml`` and ``images``.

A lesion is a track. Every box is a key frame, a tracked one too, for CVAT reads key frames alone
and draws straight lines between them. Who placed a box is among its marks (``annotations/marks``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from preprocess.annotations.marks import NAMES, marks_of
from preprocess.cohort import CATEGORY, Box, Cohort
from preprocess.cohort import Sequence as Cine
from preprocess.exporters.pictures import Pictures, write_pictures
from preprocess.storage.atomic import write_json

LABEL = str(CATEGORY["name"])
LABELS = "labels.txt"
"""Of JSON; another ending would make it an annotation file."""
IGNORE = "ignore"
ATTRIBUTES: list[dict[str, Any]] = [
    {"name": name, "mutable": name != "instance_id", "input_type": "text", "default_value": ""}
    for name in NAMES
] + [{"name": IGNORE, "mutable": False, "input_type": "checkbox", "default_value": "false"}]


def write_cine(folder: Path, sequence: Cine, pictures: Pictures, boxes: Sequence[Box]) -> None:
    """Write ``SEQUENCE/images/frame_000012.PNG`` and so on, and ``SEQUENCE/annotations.xml``."""
    cine = folder / sequence.sequence_id
    write_pictures(cine / "images", pictures, "frame_{:06d}.PNG")
    (cine / "annotations.xml").write_bytes(annotations_xml(sequence, boxes))


def finish(folder: Path, cohort: Cohort) -> None:
    """Write the label and its attributes, as CVAT's label constructor reads them."""
    attributes = [{**each, "values": [each["default_value"]]} for each in ATTRIBUTES]
    label = {"name": LABEL, "type": "rectangle", "attributes": attributes}
    write_json(folder / LABELS, [label])


def annotations_xml(sequence: Cine, boxes: Iterable[Box]) -> bytes:
    """The boxes of one cine, each corner with all the digits that it needs."""
    root = ElementTree.Element("annotations")
    _text(root, "version", "1.1")
    _describe(ElementTree.SubElement(root, "meta"), sequence)
    tracks: dict[object, list[Box]] = defaultdict(list)
    for position, box in enumerate(boxes):
        tracks[("area", position) if box.ignored else box.instance_id].append(box)
    for number, found in enumerate(tracks.values()):
        track = ElementTree.SubElement(
            root, "track", {"id": str(number), "label": LABEL, "source": "manual"}
        )
        _draw(track, sorted(found, key=lambda box: box.frame_index), sequence.length)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _describe(meta: ElementTree.Element, sequence: Cine) -> None:
    task = ElementTree.SubElement(meta, "task")
    _text(task, "name", sequence.sequence_id)
    _text(task, "size", sequence.length)
    _text(task, "mode", "interpolation")
    _text(task, "start_frame", 0)
    _text(task, "stop_frame", sequence.length - 1)
    label = ElementTree.SubElement(ElementTree.SubElement(task, "labels"), "label")
    _text(label, "name", LABEL)
    _text(label, "type", "rectangle")
    attributes = ElementTree.SubElement(label, "attributes")
    for each in ATTRIBUTES:
        attribute = ElementTree.SubElement(attributes, "attribute")
        for tag, value in {**each, "values": each["default_value"]}.items():
            _text(attribute, tag, value)
    size = ElementTree.SubElement(task, "original_size")
    _text(size, "width", sequence.width)
    _text(size, "height", sequence.height)


def _draw(track: ElementTree.Element, boxes: Sequence[Box], length: int) -> None:
    """A lesion's boxes; where none follows, it is outside from the next frame on."""
    for box, following in zip(boxes, [*boxes[1:], None], strict=True):
        _shape(track, box, box.frame_index, outside=False)
        after = box.frame_index + 1
        if after < (following.frame_index if following else length):
            _shape(track, box, after, outside=True)


def _shape(track: ElementTree.Element, box: Box, frame_index: int, *, outside: bool) -> None:
    """A key frame, with its marks where it is outside too: CVAT takes a track's from the last."""
    written = (repr(float(corner)) for corner in box.box_xyxy)
    corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), written, strict=True))
    state = {"keyframe": "1", "outside": str(int(outside)), "occluded": "0"}
    drawn = {"frame": str(frame_index), **state, **corners, "z_order": "0"}
    shape = ElementTree.SubElement(track, "box", drawn)
    for name, value in {**marks_of(box), IGNORE: str(box.ignored).lower()}.items():
        ElementTree.SubElement(shape, "attribute", {"name": name}).text = value


def _text(parent: ElementTree.Element, tag: str, value: object) -> None:
    ElementTree.SubElement(parent, tag).text = str(value)
