"""COCO JSON, plain or in its video dialect, as the cohort's own ``annotations.json`` is.

A frame is an entry of ``images``: ``video_id`` with ``frame_index`` (or ``frame_id``) where there
are ``videos``, else ``file_name``. An annotation may say ``source`` (reference, tracked or
corrected) and ``instance_id`` or ``track_id``, the lesion through time; both also under
``attributes``, where CVAT writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.regions import (
    BoxXyxy,
    Place,
    Region,
    from_corners,
    picture_places,
    without_ending,
)
from preprocess.annotations.source_lines import JsonObject, parse_json
from preprocess.cohort import BoxSource

FARTHEST = 1e9
"""Pixels; what is written farther off is no place in any picture, nor is what is no number."""
ENTRY_DEPTH = 3
"""Containers from the document down to an annotation."""


@dataclass(frozen=True, kw_only=True)
class CocoEntry:
    """One annotation, its box read; ``image_id`` may be unknown to the document."""

    image_id: Any
    box_xyxy: BoxXyxy
    inverted: bool
    line: int
    category: str
    said: Mapping[str, Any]

    def region(self, file: str, places: tuple[Place, ...] = ()) -> Region:
        """The annotation as a region of ``places``."""
        return Region(
            places=places,
            box_xyxy=self.box_xyxy,
            file=file,
            line=self.line,
            category=self.category,
            lesion=lesion(self.said, file),
            source=_source(self.said),
            inverted=self.inverted,
        )

    @property
    def is_interpolated(self) -> bool:
        """Whether CVAT drew it, in a straight line between two key frames."""
        return self.said.get("keyframe") is False


def recognises(content: bytes) -> bool:
    """Whether a file's content is of this format."""
    return content.lstrip()[:1] == b"{" and b'"images"' in content and b'"annotations"' in content


def parse(content: bytes, name: str) -> Iterator[Region | Mismatch]:
    """Every annotation; one without a box, or on an image that is not listed, is a mismatch.

    Raises:
        ValueError: it is not well-formed, or no COCO document.
    """
    document = read_document(content)
    videos = {video.get("id"): video for video in document["videos"]}
    places = {image.get("id"): _places(image, videos, name) for image in document["images"]}
    for entry in entries(document, name):
        if isinstance(entry, Mismatch):
            yield entry
        elif entry.image_id not in places:
            yield unlisted(entry, name)
        elif not entry.is_interpolated:
            yield entry.region(name, places[entry.image_id])


def read_document(content: bytes) -> dict[str, list[JsonObject]]:
    """The lists of a COCO document that are used here, empty where one is not given.

    Raises:
        ValueError: it is not well-formed, or no COCO document.
    """
    document = parse_json(content, depth=ENTRY_DEPTH)
    if not isinstance(document, dict):
        raise ValueError("a COCO file that holds no object of images and annotations")
    lists = {}
    for part in ("videos", "images", "annotations", "categories"):
        found = document.get(part) or []
        if not isinstance(found, list) or not all(isinstance(item, JsonObject) for item in found):
            raise ValueError(f"a COCO file whose {part!r} is no list of objects")
        if part != "annotations" and any(isinstance(item.get("id"), list | dict) for item in found):
            raise ValueError(f"a COCO file with an id among {part!r} that is no number")
        lists[part] = found
    return lists


def entries(document: Mapping[str, list[JsonObject]], file: str) -> Iterator[CocoEntry | Mismatch]:
    """Every annotation with its box; corners that a negative size exchanged are put right."""
    category = {item.get("id"): str(item.get("name", "")) for item in document["categories"]}
    for number, item in enumerate(document["annotations"], start=1):
        bbox, image_id = item.get("bbox"), item.get("image_id")
        if not _is_box(bbox) or isinstance(image_id, list | dict):
            said = f"annotation {number}: no bbox of four numbers, or no image_id"
            yield Mismatch(file=file, line=item.line, kind=Kind.NO_BOX, said=said)
            continue
        x, y, width, height = map(float, bbox)  # type: ignore[arg-type] # it is a box
        box, inverted = from_corners((x, x + width), (y, y + height))
        attributes = item.get("attributes")
        category_id = item.get("category_id")
        yield CocoEntry(
            image_id=image_id,
            box_xyxy=box,
            inverted=inverted,
            line=item.line,
            category="" if isinstance(category_id, list | dict) else category.get(category_id, ""),
            said={**(attributes if isinstance(attributes, dict) else {}), **item},
        )


def unlisted(entry: CocoEntry, file: str) -> Mismatch:
    """What is wrong with an annotation on an image that the document does not list."""
    said = f"image_id {entry.image_id!r} is not among the images"
    return Mismatch(file=file, line=entry.line, kind=Kind.UNKNOWN_SEQUENCE, said=said)


def lesion(said: Mapping[str, Any], file: str) -> str:
    """The lesion through time, or an empty string where nothing is said.

    An ``instance_id`` is the cohort's own number of it; a ``track_id`` holds within its file.
    """
    if said.get("instance_id") is not None:
        return str(said["instance_id"])
    return f"{file} {said['track_id']}" if said.get("track_id") is not None else ""


def frame_number(image: Mapping[str, Any]) -> int | None:
    """The frame, 0-based, that an image says it is."""
    known = [image.get(key) for key in ("frame_index", "frame_id")]
    return next((value for value in known if type(value) is int and value >= 0), None)


def _places(
    image: Mapping[str, Any], videos: Mapping[Any, Mapping[str, Any]], name: str
) -> tuple[Place, ...]:
    file_name = str(image.get("file_name") or "")
    frame_index = frame_number(image)
    video_id = image.get("video_id")
    video = None if isinstance(video_id, list | dict) else videos.get(video_id)
    called = [(video or {}).get(key) for key in ("sequence_id", "name", "file_name")]
    names = [without_ending(str(text)) for text in called if text]
    if frame_index is None or not names:
        pictured = picture_places(file_name, name) if file_name else (Place(name, None),)
        if frame_index is None:
            return pictured
        names = [place.name for place in pictured]
    return tuple(Place(known, frame_index) for known in dict.fromkeys(names))


def _source(said: Mapping[str, Any]) -> BoxSource | None:
    source = said.get("source")
    return BoxSource(source) if source in list(BoxSource) else None


def _is_box(bbox: Any) -> bool:
    return (
        isinstance(bbox, list)
        and len(bbox) == 4
        and all(isinstance(value, int | float) and abs(value) <= FARTHEST for value in bbox)
    )
