"""OsiriX and Horos ROI exports: an XML property list, or JSON of the same shape.

``Images[]`` holds ``ImageIndex`` (the frame, from 0) and ``ROIs[]``; a ROI has ``Name``,
``SOPInstanceUID`` and ``Point_px``, corner points written as ``"(x, y)"``.
"""

from __future__ import annotations

import json
import plistlib
import re
from collections.abc import Iterator
from typing import Any

from preprocess.annotations.regions import Region, from_corners

POINT = re.compile(r"[({\[]\s*([-+.\deE]+)\s*[,;]\s*([-+.\deE]+)\s*[)}\]]")


def recognises(content: bytes) -> bool:
    """Whether a file's content is of this format."""
    head = content[:4096].lstrip()
    if head.startswith((b"<?xml", b"<!DOCTYPE plist", b"<plist")):
        return b"<plist" in head
    return head.startswith(b"{") and b'"Images"' in content and b'"ROIs"' in content


def parse(content: bytes, file_stem: str) -> list[Region]:
    """Every ROI of an export.

    Raises:
        ValueError: it is not well-formed, or a ROI says neither where nor on which frame it is.
    """
    try:
        if content.lstrip().startswith(b"{"):
            document = json.loads(content)
        else:
            document = plistlib.loads(content)
    except Exception as problem:  # expat, json and plistlib each have their own
        raise ValueError(f"not well-formed ({problem})") from problem
    if not isinstance(document, dict) or not isinstance(document.get("Images"), list):
        raise ValueError("an OsiriX export without Images")
    return [region for image in document["Images"] for region in _of_image(image, file_stem)]


def _of_image(image: dict[str, Any], file_stem: str) -> Iterator[Region]:
    for number, roi in enumerate(image.get("ROIs") or [], start=1):
        where = f"image {image.get('ImageIndex')}, ROI {number}"
        points = [POINT.fullmatch(str(text).strip()) for text in roi.get("Point_px") or []]
        if len(points) < 2 or any(point is None for point in points):
            raise ValueError(f"{where}: Point_px holds no two points written as (x, y)")
        if not isinstance(image.get("ImageIndex"), int) or image["ImageIndex"] < 0:
            raise ValueError(f"{where}: ImageIndex is no frame number")
        box, inverted = from_corners(
            [float(point[1]) for point in points if point],
            [float(point[2]) for point in points if point],
        )
        yield Region(
            frame_index=image["ImageIndex"],
            box_xyxy=box,
            name=str(roi.get("Name") or ""),
            sop_instance_uid=str(roi.get("SOPInstanceUID") or "").strip() or None,
            file_stem=file_stem,
            inverted=inverted,
        )
