"""A cine, or a still, from image files: read, checked, described and stored."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess import cohort
from preprocess.annotations.lesions import follow
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.region_matching import fitted, mismatch, place_key
from preprocess.annotations.regions import BoxXyxy, Region
from preprocess.cohort import Box, ManifestRow
from preprocess.cohort.display import Display
from preprocess.dicom.burned_in_text import holds_text
from preprocess.dicom.grayscale import sample_of
from preprocess.dicom.pseudonyms import Pseudonyms

NO_IMAGE = "the annotations name it, but there is no such image"
UNREADABLE = "not readable as an 8-bit image"
OTHER_SIZE = "another size than the frames before it"
CRASHED = "damaged: the decoder crashed on it"
PUBLIC = Pseudonyms(b"")
"""Of sets that everybody has, and that need no key: nobody's file is to be hidden."""
UPRIGHT = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One image file, and the boxes that readers drew on it."""

    path: Path
    regions: tuple[Region, ...] = ()
    optimal: bool = True
    """Whether the vessels are filled with contrast, so that every stenosis in view is drawn."""


@dataclass(frozen=True, kw_only=True)
class ImageCine:
    """Frames in order of time; a still is a cine of one."""

    sequence_id: str
    patient_id: str
    frames: tuple[Frame, ...]
    view: str | None = None
    no_lesion: bool = False
    part: str | None = None
    """Of the set as it was published: train, val or test."""
    stored_files: tuple[str, ...] = ()
    """The files that an earlier run stored, as the manifest names them; empty where it came not far
    enough to say so."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of a cine; ``sequence`` is None where no frame of it could be read."""

    rows: tuple[ManifestRow, ...]
    sequence: cohort.Sequence | None = None
    boxes: tuple[Box, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()


def import_cine(cine: ImageCine, *, out: Path, pseudonyms: Pseudonyms) -> Imported:
    """Store one cine, in a worker. One that is stored already is not decoded again.

    Args:
        cine: what its set says of it.
        out: the cohort folder.
        pseudonyms: by which the manifest names files.
    """
    cv2.setNumThreads(1)
    stored = _stored(cine, out, pseudonyms)
    rows: list[ManifestRow] = []
    kept: list[Frame] = []
    pictures: list[NDArray[np.uint8]] = []
    turned: list[Mismatch] = []
    for frame in cine.frames:
        content = frame.path.read_bytes() if frame.path.is_file() else None
        picture = None if content is None or stored else _grey(content)
        reason = _refusal(content, picture, pictures) if stored is None else ""
        sha256 = "" if content is None else hashlib.sha256(content).hexdigest()
        row = _row(cine, frame, name=pseudonyms.file(sha256), reason=reason)
        public = frame.path.name if pseudonyms == PUBLIC else ""
        rows.append(replace(row, published_name=public))
        if not reason:
            kept.append(frame)
            if content is not None and _turned(content):
                turned.append(Mismatch(file=str(frame.path), line=0, kind=Kind.TURNED_IMAGE))
            pictures += [picture] if picture is not None else []
    if not kept:
        return Imported(rows=tuple(rows))
    frames = np.stack(pictures) if pictures else None
    sequence = stored if frames is None else _new_sequence(cine, frames)
    assert sequence is not None, "a cine that is not stored was decoded"
    sequence = _described(sequence, cine, kept)
    boxes, mismatches = _boxes(kept, sequence)
    mismatches += turned
    sequence = replace(sequence, reference_frame=_reference_frame(sequence, boxes))
    if frames is not None:
        cohort.store_cine(out, sequence, frames)
    elif sequence != stored:
        cohort.update_attributes(out, sequence)
    drawn, t = Counter(box.frame_index for box in boxes if not box.ignored), count()
    counted = (r if r.reason else replace(r, reference_boxes=drawn[next(t)]) for r in rows)
    return Imported(
        rows=tuple(counted), sequence=sequence, boxes=tuple(boxes), mismatches=tuple(mismatches)
    )


def _stored(cine: ImageCine, out: Path, pseudonyms: Pseudonyms) -> cohort.Sequence | None:
    """The cine as an earlier run stored it, if that took every frame as it is now."""
    if not cohort.cine_is_stored(out, cine.sequence_id):
        return None
    sequence = cohort.stored_sequence(out, cine.sequence_id)
    paths = [frame.path for frame in cine.frames]
    if sequence.length != len(paths) or not all(path.is_file() for path in paths):
        return None
    files = (pseudonyms.file(_sha256(path)) for path in paths)
    changed = cine.stored_files and cine.stored_files != tuple(files)
    return None if changed else sequence


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refusal(
    content: bytes | None, picture: NDArray[np.uint8] | None, before: Sequence[NDArray[np.uint8]]
) -> str:
    """Why a frame stays out, or an empty string."""
    if content is None:
        return NO_IMAGE
    if picture is None:
        return UNREADABLE
    return OTHER_SIZE if before and picture.shape != before[0].shape else ""


def _grey(content: bytes) -> NDArray[np.uint8] | None:
    """An image as uint8[H, W]; colour, where some files have it, by its luminance.

    An image is turned as it says (EXIF), for the tools that people draw with show it so.
    """
    picture = _decoded(content, UPRIGHT if _says_orientation(content) else cv2.IMREAD_UNCHANGED)
    if picture is None or picture.dtype != np.uint8:
        return None
    if picture.ndim == 2:
        return picture
    colour = picture[..., :3]
    if picture.shape[2] < 3 or (colour == colour[..., :1]).all():
        return np.ascontiguousarray(picture[..., 0])
    return np.asarray(cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY), np.uint8)


def _turned(content: bytes) -> bool:
    """Whether an image says that it is to be turned."""
    if not _says_orientation(content):
        return False
    one, other = (_decoded(content, how) for how in (UPRIGHT, UPRIGHT | AS_STORED))
    return not np.array_equal(one, other)  # type: ignore[arg-type]


def _says_orientation(content: bytes) -> bool:
    return b"Exif\0" in content or b"eXIf" in content


def _decoded(content: bytes, how: int) -> NDArray[Any] | None:
    try:
        picture: NDArray[Any] | None = cv2.imdecode(np.frombuffer(content, np.uint8), how)
    except cv2.error:  # nothing at all, or a header that promises more pixels than it will take
        return None
    return picture


def _new_sequence(cine: ImageCine, frames: NDArray[np.uint8]) -> cohort.Sequence:
    length, height, width = frames.shape
    display = Display(lower=0, upper=255)
    return cohort.Sequence(
        sequence_id=cine.sequence_id,
        patient_id=cine.patient_id,
        view=None,
        length=length,
        height=height,
        width=width,
        bits_stored=8,
        display=display,
        frames_digest=cohort.frames_digest(frames),
        grey_range=display.grey_range(sample_of(frames)),
        may_hold_text=holds_text(frames, display),
    )


def _described(
    sequence: cohort.Sequence, cine: ImageCine, kept: Sequence[Frame]
) -> cohort.Sequence:
    """The sequence with what the set says of it now."""
    optimal = [t for t, frame in enumerate(kept) if frame.optimal]
    return replace(
        sequence,
        patient_id=cine.patient_id,
        view=cine.view,
        no_lesion=cine.no_lesion,
        part=cine.part,
        # What comes before may hold some contrast already: nobody said that it holds none.
        introducing_start=0 if optimal else None,
        optimal_start=optimal[0] if optimal else None,
        vanishing_start=optimal[-1] + 1 if optimal else None,
    )


def _reference_frame(sequence: cohort.Sequence, boxes: Sequence[Box]) -> int | None:
    """The middle one of the optimal frames that bear boxes; of a still, the one that there is."""
    if sequence.length == 1:
        return 0
    optimal = sequence.frames_in(cohort.Phase.OPTIMAL)
    bearing = sorted({b.frame_index for b in boxes if b.frame_index in optimal and not b.ignored})
    return bearing[len(bearing) // 2] if bearing else None


def _boxes(kept: Sequence[Frame], sequence: cohort.Sequence) -> tuple[list[Box], list[Mismatch]]:
    """The boxes of a cine, their lesions numbered within it, and what did not fit."""
    drawn: list[list[tuple[Region, BoxXyxy]]] = []
    ignored: list[Box] = []
    mismatches: list[Mismatch] = []
    for t, frame in enumerate(kept):
        found: dict[tuple[float, ...], tuple[Region, BoxXyxy]] = {}
        for region in frame.regions:
            box, said = fitted(region, width=sequence.width, height=sequence.height)
            mismatches += said
            if box is None:
                continue
            if region.ignored:
                mismatches.append(mismatch(region, Kind.IGNORED))
                ignored.append(_box(sequence, t, box, cohort.NO_LESION, ignored=True))
            elif found.setdefault(place_key(t, box), (region, box))[0] is not region:
                mismatches.append(mismatch(region, Kind.TWICE))
        drawn.append(list(found.values()))
    followed = follow([[box for _, box in boxes] for boxes in drawn])
    # A set's own name of a lesion goes before what its boxes look like.
    names: dict[str | int, int] = {}
    boxes = [
        replace(
            _box(sequence, t, box, names.setdefault(region.lesion or number, len(names) + 1)),
            grade=region.grade,
            segmentation=region.segmentation_on(width=sequence.width, height=sequence.height),
        )
        for t, (regions, numbers) in enumerate(zip(drawn, followed, strict=True))
        for (region, box), number in zip(regions, numbers, strict=True)
    ]
    return boxes + ignored, mismatches


def _box(
    sequence: cohort.Sequence, t: int, box: BoxXyxy, instance_id: int, *, ignored: bool = False
) -> Box:
    return Box(
        sequence_id=sequence.sequence_id,
        frame_index=t,
        box_xyxy=box,
        instance_id=instance_id,
        ignored=ignored,
    )


def _row(cine: ImageCine, frame: Frame, *, name: str, reason: str) -> ManifestRow:
    return ManifestRow(
        hmac_sha256=name,
        status="rejected" if reason else "accepted",
        reason=reason,
        sequence_id=cine.sequence_id,
        patient_id=cine.patient_id,
        view=cine.view or "",
        no_lesion=cine.no_lesion,
        reference_boxes=sum(not region.ignored for region in frame.regions),
    )


def crashed(cine: ImageCine) -> Imported:
    """What becomes of a cine whose worker died."""
    return Imported(rows=tuple(_row(cine, frame, name="", reason=CRASHED) for frame in cine.frames))
