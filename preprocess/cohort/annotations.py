"""``annotations.json``: the sequences, their frames and boxes as COCO in its video dialect."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from preprocess.cohort.records import (
    BOUND,
    NO_LESION,
    Bounds,
    Box,
    BoxSource,
    Polygons,
    Sequence,
    Verdict,
    check_types,
    phase_within,
)
from preprocess.storage.atomic import write_text

ANNOTATIONS = "annotations.json"
SCHEMA_VERSION = 2
CATEGORY = {"id": 1, "name": "stenosis", "supercategory": "lesion"}


def write_annotations(folder: Path, sequences: Iterable[Sequence], boxes: Iterable[Box]) -> None:
    """Write ``annotations.json`` atomically, after checking it as :meth:`Cohort.open` would.

    Raises:
        ValueError: a box lies outside its frame, or names a sequence that is not there.
    """
    by_id = {s.sequence_id: s for s in sorted(sequences, key=lambda s: s.sequence_id)}
    boxes = sorted(boxes, key=lambda b: (b.sequence_id, b.frame_index, b.instance_id))
    if problems := contradictions(by_id, boxes):
        raise ValueError("The annotations cannot be written:\n  " + "\n  ".join(problems[:20]))
    write_text(folder / ANNOTATIONS, _document(by_id, boxes))


def boxes_from_coco(document: Mapping[str, Any]) -> tuple[Box, ...]:
    """The boxes of a document that :func:`write_annotations` wrote.

    Raises:
        KeyError, TypeError, ValueError: it is not what that wrote.
    """
    sequence_ids = {video["id"]: video["sequence_id"] for video in document["videos"]}
    frame_index = {image["id"]: image["frame_index"] for image in document["images"]}
    boxes = tuple(
        Box(
            sequence_id=sequence_ids[annotation["video_id"]],
            frame_index=frame_index[annotation["image_id"]],
            box_xyxy=(x, y, x + w, y + h),
            instance_id=annotation["instance_id"] or NO_LESION,
            source=BoxSource(annotation["source"]),
            confidence=annotation["confidence"],
            verdict=Verdict(annotation["verdict"]),
            ignored=bool(annotation.get("iscrowd")),
            grade=annotation.get("grade"),
            segmentation=polygons(annotation.get("segmentation")),
        )
        for annotation in document["annotations"]
        for x, y, w, h in [annotation["bbox"]]
    )
    for box in boxes:
        check_types(box)
    return boxes


def polygons(segmentation: Any) -> Polygons | None:
    """The polygons of an annotation's ``segmentation``; parts that enclose nothing are left out.

    None where it has none: no mask, one in run lengths, or the box once more, as some tools write.
    """
    parts = segmentation if isinstance(segmentation, list | tuple) else ()
    found = tuple(tuple(part) for part in parts if _is_polygon(part))
    return None if all(_is_upright_rectangle(part) for part in found) else found


def _is_polygon(part: Any) -> bool:
    """Whether it is x1, y1, x2, y2, … of corners that enclose an area."""
    if not isinstance(part, list | tuple) or len(part) < 6 or len(part) % 2:
        return False
    if not all(type(value) in (int, float) and abs(value) < BOUND for value in part):
        return False
    xs, ys = ([value - each[0] for value in each] for each in (part[::2], part[1::2]))
    area: float = sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs))) / 2
    return round(abs(area), 6) > 0


def _is_upright_rectangle(part: tuple[float, ...]) -> bool:
    xs, ys = {*part[::2]}, {*part[1::2]}
    corners = {*zip(part[::2], part[1::2], strict=True)}
    return len(xs) == len(ys) == 2 and len(corners) == 4


def contradictions(sequences: Mapping[str, Sequence], boxes: Iterable[Box]) -> list[str]:
    """Every way in which the boxes and bounds do not fit the sequences, in words."""
    problems = []
    for s in sequences.values():
        known = [bound for bound in s.bounds if bound is not None]
        if known and (len(known) < 3 or [0, *known, s.length] != sorted([0, *known, s.length])):
            problems.append(f"{s.sequence_id}: phase bounds {s.bounds} of {s.length} frames")
        if s.reference_frame is not None and not 0 <= s.reference_frame < s.length:
            problems.append(f"{s.sequence_id}: reference frame {s.reference_frame} of {s.length}")
    for box in boxes:
        sequence = sequences.get(box.sequence_id)
        if sequence is None:
            problems.append(f"a box names the unknown sequence {box.sequence_id}")
            continue
        x1, y1, x2, y2 = box.box_xyxy
        # COCO keeps x and width, and x + width may round past the edge by an ulp.
        inside = (
            x1 >= 0 and y1 >= 0 and x2 <= sequence.width + 1e-6 and y2 <= sequence.height + 1e-6
        )
        if not (0 <= box.frame_index < sequence.length and inside and x1 < x2 and y1 < y2):
            problems.append(
                f"{box.sequence_id}: box {box.box_xyxy} in frame {box.frame_index} does not fit "
                f"{sequence.length} frames of {sequence.width} x {sequence.height}"
            )
    return problems


def first_image_ids(sequences: Iterable[Sequence]) -> dict[str, int]:
    """COCO image id of frame 0 by sequence."""
    first, next_id = {}, 1
    for sequence in sequences:
        first[sequence.sequence_id] = next_id
        next_id += sequence.length
    return first


_plain = json.JSONEncoder(allow_nan=False).encode


def _document(sequences: Mapping[str, Sequence], boxes: Iterable[Box]) -> str:
    """JSON that a person can page through: a record a line.

    Raises:
        ValueError: a number is not finite.
    """
    first = first_image_ids(sequences.values())
    video_id = {sequence_id: i for i, sequence_id in enumerate(sequences, start=1)}
    info = {
        "schema_version": SCHEMA_VERSION,
        "description": "Coronary angiography cohort written by angioray",
    }
    videos = (_video(s, video_id[s.sequence_id]) for s in sequences.values())
    # Most records are images; a review writes the same ones again after each correction.
    images = (
        _image_lines(name, video_id[name], first[name], s.width, s.height, s.length, s.bounds)
        for name, s in sequences.items()
    )
    annotations = (
        _annotation(i, box, first[box.sequence_id], video_id[box.sequence_id])
        for i, box in enumerate(boxes, start=1)
    )
    parts = {
        "info": _plain(info),
        "licenses": "[\n\n]",
        "categories": _list([_plain(CATEGORY)]),
        "videos": _list(map(_plain, videos)),
        "images": _list(images),
        "annotations": _list(map(_plain, annotations)),
    }
    return "{\n" + ",\n".join(f'"{key}": {part}' for key, part in parts.items()) + "\n}\n"


def _list(lines: Iterable[str]) -> str:
    return "[\n" + ",\n".join(lines) + "\n]"


def _video(sequence: Sequence, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "sequence_id": sequence.sequence_id,
        "patient_id": sequence.patient_id,
        "view": sequence.view,
        "width": sequence.width,
        "height": sequence.height,
        "length": sequence.length,
    }


@lru_cache(maxsize=10_000)
def _image_lines(
    sequence_id: str,
    video: int,
    first: int,
    width: int,
    height: int,
    length: int,
    bounds: Bounds,
) -> str:
    return ",\n".join(
        _plain(
            {
                "id": first + t,
                "video_id": video,
                "frame_index": t,
                "phase": phase_within(bounds, t),
                "width": width,
                "height": height,
                "file_name": f"{sequence_id}/{t:06d}.png",
            }
        )
        for t in range(length)
    )


def _annotation(number: int, box: Box, first: int, video: int) -> dict[str, Any]:
    x1, y1, x2, y2 = box.box_xyxy
    return {
        "id": number,
        "image_id": first + box.frame_index,
        "video_id": video,
        "category_id": CATEGORY["id"],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": int(box.ignored),
        "instance_id": None if box.ignored else box.instance_id,
        "source": box.source,
        "confidence": box.confidence,
        "verdict": box.verdict,
        **({} if box.grade is None else {"grade": box.grade}),
        **({} if box.segmentation is None else {"segmentation": box.segmentation}),
    }
