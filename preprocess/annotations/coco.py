"""COCO JSON, plain or in its video dialect, as the cohort's own ``annotations.json`` is.

A frame is an entry of ``images``: ``video_id`` with ``frame_index`` (or ``frame_id``) where there
are ``videos``, else ``file_name``. An annotation may say ``source`` (reference, tracked or
corrected; a tracked one its ``confidence`` and ``verdict``), ``instance_id`` or ``track_id``, the
lesion through time, and ``rotation``, degrees about the box's centre; all of them also under
``attributes``, where CVAT writes them. Of entries that share an id nobody knows which one is meant,
so regions that need one of them are left out. A ``segmentation`` of polygons outlines the lumen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from preprocess.annotations import values
from preprocess.annotations.categories import knows_lesions, plain_name
from preprocess.annotations.marks import with_marks
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.regions import (
    BoxXyxy,
    Place,
    Region,
    around_turned,
    from_corners,
    picture_places,
    without_ending,
)
from preprocess.annotations.source_lines import JsonObject, parse_json
from preprocess.annotations.values import EntryError
from preprocess.cohort import polygons

ENTRY_DEPTH = 3
"""Containers from the document down to an annotation."""
XYWH = ("XYWH_ABS", "xywh", 1)
"""How some tools say that a box is COCO's own kind."""
MEANT = (
    *("sequence_id", "name", "file_name", "video_id", "frame_index", "frame_id"),
    *("width", "height", "patient_id", "view"),
)
"""What two entries of one id must share to mean one image or video."""
OTHER_ROTATIONS = ("angle", "theta")
"""Rotations whose unit and centre nobody says."""


class Document:
    """A COCO document, its entries found by id.

    Attributes:
        images: as they are listed.
        annotations: as they are listed.
        knows_lesions: whether a class is a lesion by its name; None where no class is listed.
    """

    def __init__(self, lists: Mapping[str, list[JsonObject]]):
        self.images = lists["images"]
        self.annotations = lists["annotations"]
        self.knows_lesions = knows_lesions([*map(_category_name, lists["categories"])])
        self._videos = _by_id(lists["videos"], _picture)
        self._images = _by_id(lists["images"], _picture)
        self._categories = _by_id(lists["categories"], _category)

    def image(self, image_id: Any) -> JsonObject:
        """The image of that id.

        Raises:
            EntryError: there is none, or nobody can say which one is meant.
        """
        if image_id is None:
            raise EntryError(Kind.NO_BOX, "no image_id")
        if (found := _found(self._images, image_id, "image_id", "images")) is None:
            said = f"image_id {image_id!r} is not among the images"
            raise EntryError(Kind.UNKNOWN_SEQUENCE, said)
        return found

    def video(self, image: Mapping[str, Any]) -> JsonObject:
        """The video of an image; an empty one where there is none.

        Raises:
            EntryError: nobody can say which one is meant.
        """
        if image.get("video_id") is None:
            return JsonObject()
        return _found(self._videos, image["video_id"], "video_id", "videos") or JsonObject()

    def category(self, category_id: Any) -> str:
        """The name of a class, or its id where it has none; empty where no class is listed.

        An annotation without an id is of the one class that is listed.

        Raises:
            EntryError: the id cannot be read, or nobody can say which class is meant.
        """
        if category_id is None:
            if len(self._categories) > 1:
                said = "no category_id, and the file lists several categories"
                raise EntryError(Kind.UNREADABLE_VALUE, said)
            found = next(iter(self._categories.values()), None)
            return _category_name(found) if found else ""
        found = _found(self._categories, category_id, "category_id", "categories")
        if found is not None:
            return _category_name(found)
        return values.identifier(category_id, "category_id") if self._categories else ""


@dataclass(frozen=True, kw_only=True)
class CocoEntry:
    """One annotation that can be used, and the image that it is drawn on."""

    image: JsonObject
    region: Region
    """Without a place: what it is drawn on, the reader of the document decides."""
    is_interpolated: bool
    """Whether CVAT drew it, in a straight line between two key frames."""


def recognises(content: bytes) -> bool:
    """Whether a file's content is of this format."""
    return content.lstrip()[:1] == b"{" and b'"images"' in content and b'"annotations"' in content


def parse(content: bytes, name: str) -> Iterator[Region | Mismatch]:
    """Every annotation; one that says no box or no image that is listed is a mismatch.

    Raises:
        ValueError: it is not well-formed, or no COCO document.
    """
    document = read_document(content)
    for entry in entries(document, name):
        if isinstance(entry, Mismatch):
            yield entry
        elif not entry.is_interpolated:
            try:
                yield replace(entry.region, places=_places(entry.image, document, name))
            except EntryError as problem:
                yield unusable(problem, name, entry.region)


def shown(content: bytes, name: str) -> Iterator[tuple[Place, ...]]:
    """Every picture that is listed, in each of its readings; none where no class is a lesion.

    Raises:
        ValueError: it is not well-formed, or no COCO document.
    """
    document = read_document(content)
    for image in document.images if document.knows_lesions is not False else []:
        with suppress(EntryError):
            yield _places(image, document, name)


def read_document(content: bytes) -> Document:
    """A COCO document; of the parts that it does not have there is nothing in it.

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
    return Document(lists)


def entries(document: Document, file: str) -> Iterator[CocoEntry | Mismatch]:
    """Every annotation with its image; corners that a negative size exchanged are put right."""
    for position, item in enumerate(document.annotations, start=1):
        called = item.get("id", f"number {position}")
        at = Region(
            places=(),
            box_xyxy=(0, 0, 0, 0),
            file=file,
            line=item.line,
            entry=f"annotation {called} of image {item.get('image_id')}"[:80],
        )
        try:
            image = document.image(item.get("image_id"))
            said = _said(item)
            box, inverted, rotation = _box(item, said)
            region = replace(
                at,
                box_xyxy=box,
                inverted=inverted,
                rotation_deg=rotation,
                category=document.category(item.get("category_id")),
                file_knows_lesions=document.knows_lesions,
                lesion=_lesion(said, file),
                picture_size=_picture_size(image, document),
                ignored=values.is_ignored(said),
                segmentation=polygons(item.get("segmentation")),
            )
            yield CocoEntry(
                image=image,
                region=with_marks(region, said, _marked_frame(image, said)),
                is_interpolated=said.get("keyframe") is not None
                and not values.flag(said["keyframe"], "keyframe"),
            )
        except EntryError as problem:
            yield unusable(problem, file, at)


def unusable(problem: EntryError, file: str, at: Region) -> Mismatch:
    """What is wrong with a region, by file, line and entry."""
    return Mismatch(file=file, line=at.line, kind=problem.kind, said=str(problem), entry=at.entry)


def frame_number(image: Mapping[str, Any]) -> int | None:
    """The frame, 0-based, that an image says it is; None where it says nothing of it.

    Raises:
        EntryError: what it says is no frame number, or two of them.
    """
    said = ("frame_index", "frame_id")
    numbers = {values.frame_number(image[k], k) for k in said if image.get(k) is not None}
    if len(numbers) > 1:
        raise EntryError(Kind.NO_FRAME_NUMBER, "frame_index and frame_id are not the same")
    return numbers.pop() if numbers else None


def _marked_frame(image: Mapping[str, Any], said: Mapping[str, Any]) -> int | None:
    return frame_number(image) if said.get("exported") else None


def _by_id(
    items: Iterable[JsonObject], meaning: Callable[[JsonObject], object]
) -> dict[str, JsonObject | None]:
    """The entries of a list by their id; None where two that mean different things share it."""
    found: dict[str, JsonObject | None] = {}
    for item in items:
        try:
            key = values.identifier(item.get("id"), "id")
        except EntryError:  # nothing can refer to it, and what tries to is reported
            continue
        known = found.setdefault(key, item)
        if known is not None and meaning(known) != meaning(item):
            found[key] = None
    return found


def _picture(item: JsonObject) -> object:
    return [item.get(key) for key in MEANT]


def _category(item: JsonObject) -> object:
    return plain_name(_category_name(item))


def _category_name(item: JsonObject) -> str:
    name = item.get("name")
    return str(item.get("id") if name in (None, "") else name)


def _found(
    items: Mapping[str, JsonObject | None], written: Any, called: str, among: str
) -> JsonObject | None:
    key = values.identifier(written, called)
    if key in items and items[key] is None:
        raise EntryError(Kind.SAME_ID, f"{called} {key} is that of several {among}")
    return items.get(key)


def _said(item: JsonObject) -> dict[str, Any]:
    attributes = item.get("attributes")
    return {**(attributes if isinstance(attributes, dict) else {}), **item}


def _box(item: JsonObject, said: Mapping[str, Any]) -> tuple[BoxXyxy, bool, float]:
    """The upright box, whether its corners were exchanged, and by how much it was turned."""
    bbox = item.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise EntryError(Kind.NO_BOX, "no bbox of four numbers")
    if said.get("bbox_mode", XYWH[0]) not in XYWH:
        raise EntryError(Kind.NO_BOX, f"bbox_mode {said['bbox_mode']!r} is not COCO's x, y, w, h")
    for other in OTHER_ROTATIONS:
        if said.get(other) is not None and values.number(said[other], other) != 0:
            raise EntryError(Kind.NO_BOX, f"{other}: only rotation, in degrees, is known here")
    x, y, width, height = (values.number(value, "bbox", Kind.NO_BOX) for value in bbox)
    box, inverted = from_corners((x, x + width), (y, y + height))
    turned = said.get("rotation")
    rotation = values.number(0 if turned in (None, "") else turned, "rotation")
    return around_turned(box, rotation), inverted, rotation


def _picture_size(image: Mapping[str, Any], document: Document) -> tuple[float, float] | None:
    own = values.size(image.get("width"), image.get("height"))
    video = document.video(image)
    return own or values.size(video.get("width"), video.get("height"))


def _lesion(said: Mapping[str, Any], file: str) -> str:
    """The lesion through time, or an empty string where nothing is said.

    An ``instance_id`` is the cohort's own number of it; a ``track_id`` holds within its file.
    """
    if said.get("instance_id") not in (None, ""):
        return values.identifier(said["instance_id"], "instance_id")
    if said.get("track_id") is not None:
        return f"{file} {values.identifier(said['track_id'], 'track_id')}"
    return ""


def _places(image: Mapping[str, Any], document: Document, name: str) -> tuple[Place, ...]:
    file_name = str(image.get("file_name") or "")
    frame_index = frame_number(image)
    video = document.video(image)
    called = [video.get(key) for key in ("sequence_id", "name", "file_name")]
    names = [without_ending(str(text)) for text in called if text]
    if not names and not file_name and image.get("video_id") is not None:
        said = f"video_id {image['video_id']!r} is not among the videos, or has no name"
        raise EntryError(Kind.UNKNOWN_SEQUENCE, said)
    if frame_index is None or not names:
        pictured = picture_places(file_name, name) if file_name else (Place(name, None),)
        if frame_index is None:
            return pictured
        names = [place.name for place in pictured]
    return tuple(Place(known, frame_index) for known in dict.fromkeys(names))
