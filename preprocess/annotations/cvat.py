"""CVAT for video 1.1 XML: ``<track>`` elements of ``<box>`` elements, one file per cine.

The cine is named by the task's ``<source>`` (the file that was loaded into CVAT), its ``<name>``
or the XML file. Boxes that are ``outside`` are not there; those that are no key frames were
interpolated by CVAT in a straight line, drawn by nobody, and are not taken either. A track is one
lesion through time. A box that was exported from a cohort has marks among its attributes (see
``marks.py``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from preprocess.annotations import values
from preprocess.annotations.categories import knows_lesions
from preprocess.annotations.marks import with_marks
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
PARENTS = ("task", "job")
"""Below ``<meta>``: what the cine is called, its size and the labels."""
MOST_FRAMES = 100_000
"""Of one job; what claims more is no cine."""
SHAPES = ("polygon", "polyline", "points", "ellipse", "mask", "skeleton", "cuboid")


def recognises(content: bytes) -> bool:
    """Whether a file's content is of this format."""
    return b"<annotations" in content


def parse(content: bytes, name: str) -> Iterator[Region | Mismatch]:
    """Every key frame of every track; a shape that is no box is a mismatch.

    Raises:
        ValueError: it is not well-formed, or of another of CVAT's formats.
    """
    root, meta = _document(content)
    names = _names(meta, name)
    knows = _knows_lesions(meta)
    sizes = [size for parent in meta if (size := parent.find("original_size"))]
    if len(sizes) > 1:
        raise ValueError("of several tasks; export each of them by itself")
    times = Counter(track.attributes.get("id") for track in root.all("track"))
    frames_of: dict[str, set[str | None]] = defaultdict(set)
    for number, track in enumerate(root.all("track"), start=1):
        called = track.attributes.get("id")
        # Two tracks of one id are two lesions all the same.
        lesion = f"{name} {called if called and times[called] == 1 else f'number {number}'}"
        if known := _instance(track):
            # A track that was copied has the number of its original, on the same frames.
            frames = {shape.attributes.get("frame") for shape in track.all("box")}
            if not frames & frames_of[known]:
                lesion = known
            frames_of[known] |= frames
        region = partial(
            Region,
            category=track.attributes.get("label", ""),
            file_knows_lesions=knows,
            lesion=lesion,
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
                said = _attributes(shape)
                drawn = region(
                    places=tuple(Place(known, frame_index) for known in names),
                    box_xyxy=around_turned(box, rotation),
                    line=shape.line,
                    inverted=inverted,
                    entry=entry,
                    rotation_deg=rotation,
                    picture_size=_size(sizes),
                    ignored=values.is_ignored(said),
                )
                yield with_marks(drawn, said, frame_index)
            except EntryError as problem:
                said_of_it = f"{shape.tag}: {problem}"
                yield Mismatch(
                    file=name, line=shape.line, kind=problem.kind, said=said_of_it, entry=entry
                )


def shown(content: bytes, name: str) -> Iterator[tuple[Place, ...]]:
    """The cine, or the frames of it that a job has; none where no label is a lesion.

    Raises:
        ValueError: it is not well-formed, or of another of CVAT's formats.
    """
    _, meta = _document(content)
    names = _names(meta, name)
    if _knows_lesions(meta) is False or any(each.text_of("frame_filter") for each in meta):
        return
    bounds = [(each.text_of("start_frame"), each.text_of("stop_frame")) for each in meta]
    job = next((found for found in bounds if all(found)), None)
    if job is None:
        yield tuple(Place(known, None) for known in names)
        return
    with suppress(EntryError):
        first, last = (values.frame_number(text, "frame") for text in job)
        for frame_index in range(first, min(last, first + MOST_FRAMES) + 1):
            yield tuple(Place(known, frame_index) for known in names)


def _document(content: bytes) -> tuple[XmlElement, list[XmlElement]]:
    """The root, and the elements that describe the cine: ``<meta>``, and task or job in it."""
    root = parse_xml(content)
    if any(root.all("image")):
        raise ValueError(
            "exported as 'CVAT for images'; export it as 'CVAT for video 1.1' or as COCO"
        )
    meta = root.find("meta")
    tasks = {track.attributes.get("task_id") for track in root.all("track")}
    # CVAT counts the frames of a project on from task to task, some versions otherwise than others.
    if len(tasks) > 1 or (meta and meta.find("project")):
        raise ValueError("of a whole CVAT project; export each of its tasks by itself")
    return root, [meta, *(p for tag in PARENTS if (p := meta.find(tag)))] if meta else []


def _names(meta: list[XmlElement], name: str) -> list[str]:
    written = [parent.text_of(tag) for parent in meta for tag in ("source", "name")]
    folder, _, file = name.rpartition("/")
    # CVAT calls each of its files annotations.xml, and people name the folder that it lies in.
    files = [folder or name, name] if file == "annotations" else [name]
    return list(dict.fromkeys([*(without_ending(text) for text in written if text), *files]))


def _knows_lesions(meta: list[XmlElement]) -> bool | None:
    labels = [labels for parent in meta if (labels := parent.find("labels"))]
    return knows_lesions([label.text_of("name") for each in labels for label in each.children])


def _attributes(shape: XmlElement) -> dict[str, str]:
    return {a.attributes.get("name", ""): a.text for a in shape.all("attribute")}


def _instance(track: XmlElement) -> str:
    """The cohort's number of the lesion, where one of its boxes has it."""
    return next((n for box in track.all("box") if (n := _attributes(box).get("instance_id"))), "")


def _is_drawn(shape: XmlElement) -> bool:
    """Whether somebody drew it, and the lesion is there."""
    keyframe = shape.attributes.get("keyframe", "1")
    outside = shape.attributes.get("outside")
    return values.flag(keyframe, "keyframe") and not values.flag(outside, "outside")


def _size(sizes: list[XmlElement]) -> tuple[float, float] | None:
    return next((values.size(s.text_of("width"), s.text_of("height")) for s in sizes), None)
