"""OsiriX and Horos ROI exports: an XML property list, or JSON of the same shape.

``Images[]`` holds ``ImageIndex`` (the frame, from 0) and ``ROIs[]``; a ROI has
``SOPInstanceUID`` and ``Point_px``, corner points written as ``"(x, y)"``. A cine without its
instance is named by the annotation file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from preprocess.annotations import values
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.regions import Place, Region, from_corners
from preprocess.annotations.source_lines import JsonObject, XmlElement, parse_json, parse_xml
from preprocess.annotations.values import EntryError

POINT = re.compile(r"[({\[]\s*([-+.\deE]+)\s*[,;]\s*([-+.\deE]+)\s*[)}\]]")
NO_POINTS = "Point_px holds no two points written as (x, y)"
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
        for number, roi in enumerate(image.get("ROIs") or [], start=1):
            yield _of_roi(image, roi, f"image {image.get('ImageIndex')}, ROI {number}", name)


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
