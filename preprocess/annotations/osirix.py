"""OsiriX and Horos ROI exports: an XML property list, or JSON of the same shape.

``Images[]`` holds ``ImageIndex`` (the frame, from 0) and ``ROIs[]``; a ROI has
``SOPInstanceUID`` and ``Point_px``, corner points written as ``"(x, y)"``. A cine without its
instance is named by the annotation file. A closed polygon in a rectangle of the same name
(or where neither has one) is the outline of that lesion's lumen, and no other lesion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from preprocess.annotations import values
from preprocess.annotations.lesions import overlap
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.regions import BoxXyxy, Place, Region, from_corners
from preprocess.annotations.source_lines import JsonObject, XmlElement, parse_json, parse_xml
from preprocess.annotations.values import EntryError
from preprocess.cohort import polygons

POINT = re.compile(r"[({\[]\s*([-+.\deE]+)\s*[,;]\s*([-+.\deE]+)\s*[)}\]]")
NO_POINTS = "Point_px holds no two points written as (x, y)"
RECTANGLE, CLOSED_POLYGON = "6", "11"
"""Tools of OsiriX, as a ROI's ``Type`` has them."""
ROI_DEPTH = 5
"""Containers from the document down to a ROI: document, Images, image, ROIs, ROI."""


def recognises(content: bytes) -> bool:
    """Whether a file's content is of this format."""
    head = content[:4096].lstrip()
    if head.startswith((b"<?xml", b"<!DOCTYPE plist", b"<plist")):
        return b"<plist" in head
    return head.startswith(b"{") and b'"Images"' in content and b'"ROIs"' in content


def parse(content: bytes, name: str) -> Iterator[Region | Mismatch]:
    """Every ROI of an export; one that says neither where nor on which frame is a mismatch.

    Raises:
        ValueError: it is not well-formed, or no export.
    """
    document: Any
    if content.lstrip().startswith(b"{"):
        document = parse_json(content, depth=ROI_DEPTH)
    else:
        try:
            document = _plist(parse_xml(content))
        except RecursionError as problem:
            raise ValueError("nested too deep for an export") from problem
    if not isinstance(document, dict) or not isinstance(document.get("Images"), list):
        raise ValueError("an OsiriX export without Images")
    for image in document["Images"]:
        if not isinstance(image, JsonObject) or not isinstance(image.get("ROIs") or [], list):
            raise ValueError("an OsiriX export with an image that holds no ROIs")
        rois = image.get("ROIs") or []
        found = [
            _of_roi(image, roi, f"image {image.get('ImageIndex')}, ROI {number}", name)
            for number, roi in enumerate(rois, start=1)
        ]
        yield from _with_outlines(rois, found)


def shown(content: bytes, name: str) -> Iterator[tuple[Place, ...]]:
    """Nothing: an export lists the frames that bear a ROI alone."""
    return iter(())


def _of_roi(image: JsonObject, roi: Any, entry: str, name: str) -> Region | Mismatch:
    line = roi.line if isinstance(roi, JsonObject) else image.line
    try:
        if not isinstance(roi, JsonObject):
            raise EntryError(Kind.NO_BOX, "it is no object")
        frame_index = values.frame_number(image.get("ImageIndex"), "ImageIndex")
        written = roi.get("Point_px")
        points = [_point(text) for text in (written if isinstance(written, list) else [])]
        if len(points) < 2:
            raise EntryError(Kind.NO_BOX, NO_POINTS)
        box, inverted = from_corners([x for x, _ in points], [y for _, y in points])
    except EntryError as problem:
        return Mismatch(file=name, line=line, kind=problem.kind, said=str(problem), entry=entry)
    instance = str(roi.get("SOPInstanceUID") or "").strip()
    return Region(
        places=(Place(instance or name, frame_index),),
        box_xyxy=box,
        line=line,
        entry=entry,
        inverted=inverted,
        segmentation=polygons([[value for point in points for value in point]]),
    )


def _with_outlines(rois: list[Any], found: list[Region | Mismatch]) -> Iterator[Region | Mismatch]:
    """What was drawn on one frame; an outline is given to the rectangle that it was drawn in.

    A closed polygon that has no such rectangle may be a loop around a lesion, and no outline.
    """
    drawn: dict[str, list[tuple[str, Region]]] = {RECTANGLE: [], CLOSED_POLYGON: []}
    for roi, region in zip(rois, found, strict=True):
        if isinstance(region, Region) and (tool := str(roi.get("Type"))) in drawn:
            drawn[tool].append((str(roi.get("Name") or ""), region))
    pairs = [
        (rectangle, polygon)
        for name, rectangle in drawn[RECTANGLE]
        for other_name, polygon in drawn[CLOSED_POLYGON]
        if name == other_name
        and polygon.segmentation
        and _lies_in(polygon.box_xyxy, rectangle.box_xyxy)
    ]
    outlines: dict[int, Region] = {}
    given: set[int] = set()
    for rectangle, polygon in sorted(
        pairs, key=lambda pair: -overlap(pair[0].box_xyxy, pair[1].box_xyxy)
    ):
        if id(rectangle) not in outlines and id(polygon) not in given:
            outlines[id(rectangle)] = polygon
            given.add(id(polygon))
    for region in found:
        if isinstance(region, Mismatch):
            yield region
        elif id(region) not in given:
            outline = outlines.get(id(region))
            yield replace(region, segmentation=outline.segmentation if outline else None)


def _lies_in(polygon: BoxXyxy, rectangle: BoxXyxy) -> bool:
    """Whether a polygon's middle is in a rectangle, and it spans most of the longer side there."""
    sides = [(polygon[i], polygon[i + 2], rectangle[i], rectangle[i + 2]) for i in (0, 1)]
    return all(low <= (start + end) / 2 <= high for start, end, low, high in sides) and (
        2 * max(min(end, high) - max(start, low) for start, end, low, high in sides)
        > max(high - low for _, _, low, high in sides)
    )


def _point(text: Any) -> tuple[float, float]:
    found = POINT.fullmatch(str(text).strip())
    if not found:
        raise EntryError(Kind.NO_BOX, NO_POINTS)
    x, y = (values.number(coordinate, "Point_px", Kind.NO_BOX) for coordinate in found.groups())
    return x, y


def _plist(element: XmlElement) -> Any:
    """An element of a property list as JSON would hold it; scalars are text."""
    if element.tag == "plist":
        return _plist(element.children[0]) if element.children else None
    if element.tag == "array":
        return [_plist(child) for child in element.children]
    if element.tag == "dict":
        found = JsonObject()
        found.line = element.line
        for key, value in zip(element.children[::2], element.children[1::2], strict=False):
            if key.text in found:
                raise ValueError(f"line {key.line}: a dict with one key twice")
            found[key.text] = _plist(value)
        return found
    return element.text
