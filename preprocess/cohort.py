"""The cohort: what preprocessing writes and everything else reads.

A cohort is a folder of three things::

    frames.zarr/      one array per sequence, uint8 or uint16 [T, H, W], lossless as acquired
    annotations.json  COCO in its video dialect: videos, images, annotations, categories
    manifest.csv      one row per source file: accepted or rejected, and why

This module owns that contract: its version, reading, writing and validation.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.atomic import PARTIAL, write_json, write_text
from preprocess.display import Display
from preprocess.shards import SHARD, ArrayWriter, read_array
from preprocess.shards import frames_digest as frames_digest

SCHEMA_VERSION = 2
CATEGORY = {"id": 1, "name": "stenosis", "supercategory": "lesion"}


class Phase(StrEnum):
    """Where a frame lies in the passage of contrast (paper, section 2: intervals a to d)."""

    NO_CONTRAST = "no_contrast"
    INTRODUCING = "introducing"
    OPTIMAL = "optimal"
    VANISHING = "vanishing"


class BoxSource(StrEnum):
    """Who placed a box: the reader, the tracker, or a reader correcting the tracker."""

    REFERENCE = "reference"
    TRACKED = "tracked"
    CORRECTED = "corrected"


class Verdict(StrEnum):
    """How far a tracked box can be trusted; a lost one is never trained on."""

    GOOD = "good"
    CHECK = "check"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """One cine, as its array's attributes hold it. Angles are DICOM's (0018,1510) and (0018,1511).

    Phase bounds are the first frame of each interval, 0-based; ``vanishing_start == length`` says
    that the contrast never vanishes. All three are None where the intervals are unknown.
    """

    sequence_id: str
    patient_id: str
    view: str | None
    length: int
    height: int
    width: int
    bits_stored: int
    display: Display
    frames_digest: str
    primary_angle_deg: float | None = None
    secondary_angle_deg: float | None = None
    frame_time_ms: float | None = None
    imager_pixel_spacing_mm: tuple[float, float] | None = None
    transfer_syntax_uid: str | None = None
    introducing_start: int | None = None
    optimal_start: int | None = None
    vanishing_start: int | None = None
    reference_frame: int | None = None
    ifr: tuple[float, ...] = ()
    no_lesion: bool = False
    phases_proposed: bool = False
    """Whether the bounds were proposed from the pixels, not labelled by a reader; where they are
    None all the same, no contrast was found, or too few frames to tell."""
    reference_proposed: bool = False
    """Whether the reference frame was proposed from the pixels, not chosen by a reader."""

    def phase(self, frame_index: int) -> Phase | None:
        """The interval that a frame lies in, or None where the bounds are unknown."""
        bounds = (self.introducing_start, self.optimal_start, self.vanishing_start)
        if any(bound is None for bound in bounds):
            return None
        passed = sum(frame_index >= bound for bound in bounds if bound is not None)
        return list(Phase)[passed]

    def frames_in(self, phase: Phase) -> range:
        """The 0-based frame indices of one interval; empty where the bounds are unknown."""
        if self.introducing_start is None:
            return range(0)
        assert self.optimal_start is not None and self.vanishing_start is not None
        starts = [0, self.introducing_start, self.optimal_start, self.vanishing_start, self.length]
        position = list(Phase).index(phase)
        return range(starts[position], starts[position + 1])

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Sequence:
        """Rebuild a sequence from its array's attributes; unknown keys are ignored."""
        known = {f.name: attributes[f.name] for f in fields(cls) if f.name in attributes}
        known["display"] = Display.from_attributes(known["display"])
        known["ifr"] = tuple(known.get("ifr") or ())
        if spacing := known.get("imager_pixel_spacing_mm"):
            known["imager_pixel_spacing_mm"] = tuple(spacing)
        return cls(**known)


@dataclass(frozen=True, kw_only=True)
class Box:
    """A stenosis in one frame.

    ``box_xyxy`` is in stored-frame pixels, 0 <= x1 < x2 <= width. ``instance_id`` is the lesion
    through time, unique in the cohort. ``confidence`` runs from 0 to 1; a reader's box has 1.
    """

    sequence_id: str
    frame_index: int
    box_xyxy: tuple[float, float, float, float]
    instance_id: int
    source: BoxSource = BoxSource.REFERENCE
    confidence: float = 1.0
    verdict: Verdict = Verdict.GOOD


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """What became of one source file. It names the file by its digest only."""

    sha256: str
    status: str
    """``accepted`` or ``rejected``."""
    reason: str = ""
    sequence_id: str = ""
    patient_id: str = ""
    view: str = ""
    exclude: str = ""
    """The label's exclusion (implant, pacemaker, ifr_wire, other), for the paper's Table 1."""
    no_lesion: bool = False
    reference_boxes: int = 0
    ifr: str = ""
    """iFR values joined by ``;``."""


class Cohort:
    """A cohort on disk, opened for reading.

    Attributes:
        folder: where it lies.
        sequences: every sequence by its id, in the order of ``annotations.json``.
        boxes: every box, lost ones included.
    """

    def __init__(self, folder: Path, sequences: dict[str, Sequence], boxes: tuple[Box, ...]):
        self.folder = folder
        self.sequences = sequences
        self.boxes = boxes

    @classmethod
    def open(cls, folder: Path | str) -> Cohort:
        """Open and validate a cohort.

        Raises:
            ValueError: there is no cohort, it has another schema version, or its parts disagree;
                every disagreement is listed.
        """
        folder = Path(folder)
        path = folder / "annotations.json"
        if not path.is_file():
            raise ValueError(
                f"{folder} is no cohort: it has no annotations.json. Make one with "
                f"`python -m preprocess ingest SRC --labels sequences.csv --out {folder}`."
            )
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as problem:  # no JSON, or no text
            raise ValueError(
                f"{path} is damaged ({problem}). Copy the cohort again, or remove that file and "
                "run ingest again: it keeps what is read and writes this file anew."
            ) from problem
        info = document.get("info") if isinstance(document, dict) else None
        version = info.get("schema_version") if isinstance(info, dict) else None
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"{path} has schema version {version!r}; this version reads {SCHEMA_VERSION}. "
                "Ingest the archive again with this version."
            )
        try:
            listed = [video["sequence_id"] for video in document["videos"]]
            boxes = _boxes_from_coco(document)
        except (KeyError, TypeError, ValueError) as problem:
            raise ValueError(
                f"{path} is no longer what was written ({problem!r}). Copy the cohort again, or "
                "remove that file and make the cohort again: the frames are kept."
            ) from problem
        if missing := [s for s in listed if not cine_is_stored(folder, s)]:
            raise ValueError(
                f"{path} lists {len(missing)} sequences that frames.zarr does not hold "
                f"(the first is {missing[0]}). Copy the cohort again, whole."
            )
        sequences = {s: stored_sequence(folder, s) for s in listed}
        if problems := _problems(sequences, boxes):
            raise ValueError(f"{path} contradicts itself:\n  " + "\n  ".join(problems[:20]))
        return cls(folder, sequences, boxes)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the annotations and every cine's own digest: what a study was run on."""
        digest = hashlib.sha256((self.folder / "annotations.json").read_bytes())
        for sequence in self.sequences.values():
            digest.update(sequence.frames_digest.encode())
        return digest.hexdigest()

    @cached_property
    def first_image_id(self) -> dict[str, int]:
        """COCO image id of frame 0 by sequence; a frame's id is this plus its index."""
        return _first_image_ids(self.sequences.values())

    def image_id(self, sequence_id: str, frame_index: int) -> int:
        """COCO image id of one frame."""
        return self.first_image_id[sequence_id] + frame_index

    @cached_property
    def boxes_by_frame(self) -> dict[tuple[str, int], list[Box]]:
        """The boxes of each frame that has any, lost ones left out."""
        by_frame: dict[tuple[str, int], list[Box]] = {}
        for box in self.boxes:
            if box.verdict is not Verdict.LOST:
                by_frame.setdefault((box.sequence_id, box.frame_index), []).append(box)
        return by_frame

    def cine(self, sequence_id: str) -> NDArray[np.unsignedinteger[Any]]:
        """All frames of a sequence as acquired (uint8 or uint16 [T, H, W]), in one read.

        Raises:
            ValueError: its frames are damaged or gone.
        """
        path = _store_path(self.folder) / sequence_id
        try:
            return _read_frames(path, self.sequences[sequence_id].frames_digest)
        except FileNotFoundError as problem:
            raise _damaged_cine(path, f"{SHARD} is not there") from problem
        except (ValueError, RuntimeError) as problem:
            raise _damaged_cine(path, str(problem)) from problem

    def cine_8bit(self, sequence_id: str) -> NDArray[np.uint8]:
        """All frames of a sequence as a reader sees them (uint8[T, H, W])."""
        return self.sequences[sequence_id].display.apply(self.cine(sequence_id))


def cine_is_stored(folder: Path, sequence_id: str) -> bool:
    """Whether a whole cine lies in the cohort (a half-written one never has this name)."""
    return (_store_path(folder) / sequence_id / "zarr.json").is_file()


class CineWriter:
    """One cine on its way into a cohort: it appears whole or not at all. Safe from many processes.

    Leaving the ``with`` block without :meth:`finish` leaves nothing behind.
    """

    def __init__(self, folder: Path, sequence_id: str, frame_shape: tuple[int, int], dtype: Any):
        """Begin a cine of uint8 or uint16 frames [H, W]."""
        store = _store_path(folder)
        store.mkdir(parents=True, exist_ok=True)
        if not (store / "zarr.json").exists():
            group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
            write_json(store / "zarr.json", group)
        self._final = store / sequence_id
        self._partial = store / f".{sequence_id}.{os.getpid()}{PARTIAL}"
        shutil.rmtree(self._partial, ignore_errors=True)
        self._array = ArrayWriter(self._partial, frame_shape, np.dtype(dtype))

    def __enter__(self) -> CineWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._array.close()
        shutil.rmtree(self._partial, ignore_errors=True)

    def append(self, frame: NDArray[np.unsignedinteger[Any]]) -> None:
        """Add the next frame."""
        self._array.append(frame)

    @property
    def digest(self) -> str:
        """The :func:`frames_digest` of the frames so far."""
        return self._array.digest

    def finish(self, sequence: Sequence) -> None:
        """Put it into place with its attributes."""
        self._array.finish(asdict(sequence))
        shutil.rmtree(self._final, ignore_errors=True)
        self._partial.rename(self._final)


def store_cine(folder: Path, sequence: Sequence, frames: NDArray[np.unsignedinteger[Any]]) -> None:
    """Write one cine at once (uint8 or uint16 [T, H, W]), as :class:`CineWriter` does."""
    assert frames.shape == (sequence.length, sequence.height, sequence.width)
    shape = (sequence.height, sequence.width)
    with CineWriter(folder, sequence.sequence_id, shape, frames.dtype) as cine:
        for frame in frames:
            cine.append(frame)
        cine.finish(sequence)


def update_attributes(folder: Path, sequence: Sequence) -> None:
    """Give a stored cine other attributes (a corrected label), atomically; its frames stay."""
    path = _store_path(folder) / sequence.sequence_id / "zarr.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**document, "attributes": asdict(sequence)})


def stored_sequence(folder: Path, sequence_id: str) -> Sequence:
    """The attributes of one stored cine."""
    # Where Zarr v3 keeps them; opening the array for them costs a millisecond per sequence.
    document = json.loads((_store_path(folder) / sequence_id / "zarr.json").read_bytes())
    return Sequence.from_attributes(document["attributes"])


def write_annotations(folder: Path, sequences: Iterable[Sequence], boxes: Iterable[Box]) -> None:
    """Write ``annotations.json`` atomically, after checking it as :meth:`Cohort.open` would.

    Raises:
        ValueError: a box lies outside its frame, or names a sequence that is not there.
    """
    by_id = {s.sequence_id: s for s in sorted(sequences, key=lambda s: s.sequence_id)}
    boxes = sorted(boxes, key=lambda b: (b.sequence_id, b.frame_index, b.instance_id))
    if problems := _problems(by_id, boxes):
        raise ValueError("The annotations cannot be written:\n  " + "\n  ".join(problems[:20]))
    write_text(folder / "annotations.json", _one_record_a_line(_coco(by_id, boxes)))


def write_manifest(folder: Path, rows: Iterable[ManifestRow]) -> None:
    """Write ``manifest.csv`` atomically, one row per source file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(ManifestRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_text(folder / "manifest.csv", text.getvalue())


def read_manifest(folder: Path) -> list[ManifestRow]:
    """Read ``manifest.csv``; a cohort without one (written by hand) has no rows."""
    path = folder / "manifest.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [_manifest_row(row) for row in csv.DictReader(file)]


def _manifest_row(cells: Mapping[str, str]) -> ManifestRow:
    values: dict[str, Any] = dict(cells)
    values["no_lesion"] = cells["no_lesion"] == "True"
    values["reference_boxes"] = int(cells["reference_boxes"])
    return ManifestRow(**values)


def _damaged_cine(path: Path, problem: str) -> ValueError:
    return ValueError(
        f"The frames in {path} are damaged ({problem}). Copy that folder again from a sound copy "
        "of the cohort, or remove it and ingest the archive again into the same cohort."
    )


def _read_frames(path: Path, digest: str) -> NDArray[np.unsignedinteger[Any]]:
    """The frames of an array, whatever Zarr codecs it was written with."""
    if (frames := read_array(path)) is not None:
        return frames
    import zarr

    frames = np.asarray(zarr.open_array(path, mode="r")[:])
    # Zarr takes an absent shard for one that is all 0, and so it may be.
    if not (path / SHARD).is_file() and frames_digest(frames) != digest:
        raise FileNotFoundError(path / SHARD)
    return frames


def _store_path(folder: Path) -> Path:
    return folder / "frames.zarr"


def _first_image_ids(sequences: Iterable[Sequence]) -> dict[str, int]:
    first, next_id = {}, 1
    for sequence in sequences:
        first[sequence.sequence_id] = next_id
        next_id += sequence.length
    return first


def _one_record_a_line(document: Mapping[str, Any]) -> str:
    """JSON that a person can page through; indented, it would take the encoder four times as long.

    Raises:
        ValueError: a number is not finite.
    """
    plain = json.JSONEncoder(allow_nan=False).encode
    parts = [
        f"{plain(key)}: [\n" + ",\n".join(map(plain, value)) + "\n]"
        if isinstance(value, list)
        else f"{plain(key)}: {plain(value)}"
        for key, value in document.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _coco(sequences: Mapping[str, Sequence], boxes: Iterable[Box]) -> dict[str, Any]:
    first = _first_image_ids(sequences.values())
    video_id = {sequence_id: i for i, sequence_id in enumerate(sequences, start=1)}
    return {
        "info": {
            "schema_version": SCHEMA_VERSION,
            "description": "Coronary angiography cohort written by angioray",
        },
        "licenses": [],
        "categories": [CATEGORY],
        "videos": [
            {
                "id": video_id[s.sequence_id],
                "sequence_id": s.sequence_id,
                "patient_id": s.patient_id,
                "view": s.view,
                "width": s.width,
                "height": s.height,
                "length": s.length,
            }
            for s in sequences.values()
        ],
        "images": [
            {
                "id": first[s.sequence_id] + t,
                "video_id": video_id[s.sequence_id],
                "frame_index": t,
                "phase": s.phase(t),
                "width": s.width,
                "height": s.height,
                "file_name": f"{s.sequence_id}/{t:06d}.png",
            }
            for s in sequences.values()
            for t in range(s.length)
        ],
        "annotations": [
            {
                "id": i,
                "image_id": first[box.sequence_id] + box.frame_index,
                "video_id": video_id[box.sequence_id],
                "category_id": CATEGORY["id"],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
                "instance_id": box.instance_id,
                "source": box.source,
                "confidence": box.confidence,
                "verdict": box.verdict,
            }
            for i, box in enumerate(boxes, start=1)
            for x1, y1, x2, y2 in [box.box_xyxy]
        ],
    }


def _boxes_from_coco(document: Mapping[str, Any]) -> tuple[Box, ...]:
    sequence_ids = {video["id"]: video["sequence_id"] for video in document["videos"]}
    frame_index = {image["id"]: image["frame_index"] for image in document["images"]}
    return tuple(
        Box(
            sequence_id=sequence_ids[annotation["video_id"]],
            frame_index=frame_index[annotation["image_id"]],
            box_xyxy=(x, y, x + w, y + h),
            instance_id=annotation["instance_id"],
            source=BoxSource(annotation["source"]),
            confidence=annotation["confidence"],
            verdict=Verdict(annotation["verdict"]),
        )
        for annotation in document["annotations"]
        for x, y, w, h in [annotation["bbox"]]
    )


def _problems(sequences: Mapping[str, Sequence], boxes: Iterable[Box]) -> list[str]:
    """Every way in which the boxes and bounds do not fit the sequences, in words."""
    problems = []
    for s in sequences.values():
        bounds = (s.introducing_start, s.optimal_start, s.vanishing_start)
        known = [bound for bound in bounds if bound is not None]
        if known and (len(known) < 3 or [0, *known, s.length] != sorted([0, *known, s.length])):
            problems.append(f"{s.sequence_id}: phase bounds {bounds} of {s.length} frames")
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
