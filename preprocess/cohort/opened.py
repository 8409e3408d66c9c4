"""A cohort opened for reading."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.cohort.annotations import (
    ANNOTATIONS,
    SCHEMA_VERSION,
    boxes_from_coco,
    contradictions,
    first_image_ids,
)
from preprocess.cohort.cines import (
    STORE,
    CineReader,
    cine_is_stored,
    read_cine_frames,
    stored_sequence,
)
from preprocess.cohort.contents import Contents, contents_of, describe_changes, facts_of
from preprocess.cohort.manifest import MANIFEST, read_manifest
from preprocess.cohort.records import Box, Sequence, Verdict
from preprocess.storage import LocalCopy, Location, open_storage
from preprocess.storage.names import check_name

LOCATION = "ANGIORAY_COHORT"
"""Names the cohort of commands that are given none; without it, it is ``cohort``."""


def cohort_location(given: str | None) -> str:
    """Where a command looks for its cohort."""
    return given or os.environ.get(LOCATION) or "cohort"


class Cohort:
    """A cohort opened for reading.

    Attributes:
        folder: where it lies on this machine; of one in an object store, a copy that grows as its
            cines are read.
        copy: of what.
        sequences: every sequence by its id, in the order of ``annotations.json``.
        boxes: every box of a lesion, lost ones included.
        ignored: the areas to ignore, which are no lesions.
    """

    def __init__(
        self,
        folder: Path,
        sequences: dict[str, Sequence],
        boxes: tuple[Box, ...],
        copy: LocalCopy | None = None,
    ):
        self.folder = folder
        self.copy = copy or LocalCopy(folder, str(folder))
        self.sequences = sequences
        self.boxes = tuple(box for box in boxes if not box.ignored)
        self.ignored = tuple(box for box in boxes if box.ignored)
        self._readers: dict[str, CineReader] = {}

    @classmethod
    def open(cls, location: Location) -> Cohort:
        """Open and validate a cohort.

        Raises:
            ValueError: there is no cohort, it has another schema version, or its parts disagree;
                every disagreement is listed.
            StorageError: its store cannot be reached or used.
        """
        copy = open_storage(location).local_copy(ANNOTATIONS, MANIFEST, f"{STORE}/")
        copy.need(ANNOTATIONS, MANIFEST)
        folder = copy.path
        path = folder / ANNOTATIONS
        if not path.is_file():
            out = "cohort` and copy it there" if "://" in str(location) else f"{location}`"
            raise ValueError(
                f"{location} is no cohort: it has no annotations.json. Make one with "
                f"`python -m preprocess ingest SRC --labels sequences.csv --out {out}, or see the "
                "whole road on a synthetic one with `python -m angioray.demo`."
            )
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as problem:  # no JSON, or no text
            raise ValueError(
                f"{path} is damaged ({problem}). Copy the cohort again, or remove that file and "
                "run ingest again: it keeps what is read and writes this file anew."
            ) from problem
        info = document.get("info") if isinstance(document, dict) else None
        version = info.get("schema_version") if isinstance(info, dict) else None
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"{path} has schema version {version!r}; this version reads {SCHEMA_VERSION}. "
                "Ingest the archive again with this version, into another folder."
            )
        try:
            listed = [check_name(v["sequence_id"], "a sequence") for v in document["videos"]]
            boxes = boxes_from_coco(document)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise ValueError(
                f"{path} is no longer what was written ({problem}). Copy the cohort again, or "
                "remove that file and make the cohort again: the frames are kept."
            ) from problem
        copy.need(*(f"{STORE}/{s}/zarr.json" for s in listed))
        if missing := [s for s in listed if not cine_is_stored(folder, s)]:
            raise ValueError(
                f"{path} lists {len(missing)} sequences that frames.zarr does not hold "
                f"(the first is {missing[0]}). Copy the cohort again, whole."
            )
        sequences = {s: stored_sequence(folder, s) for s in listed}
        problems = [f"{s} is listed {n} times" for s, n in Counter(listed).items() if n > 1]
        if problems := problems + contradictions(sequences, boxes):
            raise ValueError(f"{path} contradicts itself:\n  " + "\n  ".join(problems[:20]))
        return cls(folder, sequences, boxes, copy)

    def only(self, sequence_ids: Iterable[str]) -> Cohort:
        """The same cohort without every other sequence: nothing can be learned of those.

        Frames keep the image ids of the whole.
        """
        kept = set(sequence_ids)
        part = Cohort(
            self.folder,
            {name: sequence for name, sequence in self.sequences.items() if name in kept},
            tuple(b for b in (*self.boxes, *self.ignored) if b.sequence_id in kept),
            self.copy,
        )
        part.first_image_id = {name: self.first_image_id[name] for name in part.sequences}
        return part

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides a number: what a study was run on."""
        return self._digested[0]

    @property
    def contents(self) -> Contents:
        """Digests of its parts, by which a study tells what has changed."""
        return self._digested[1]

    @cached_property
    def _digested(self) -> tuple[str, Contents]:
        boxes = (*self.boxes, *self.ignored)
        facts = facts_of(self.sequences, boxes, read_manifest(self.folder))
        return contents_of(self.sequences, facts)

    def changes(self, digest: str, contents: Contents | None) -> str:
        """What is not as it was when a study or a sweep was begun; empty if all is.

        Args:
            digest: the cohort's, as that recorded it.
            contents: likewise; None where it was begun by a version that compared annotations and
                pixels alone, and had another digest.
        """
        if contents is not None:
            if digest == self.digest:
                return ""
            try:
                return describe_changes(contents, self.contents)
            except (AttributeError, KeyError, TypeError):  # it is not what was recorded
                return "other contents"
        earlier = hashlib.sha256((self.folder / ANNOTATIONS).read_bytes())
        for sequence in self.sequences.values():
            earlier.update(sequence.frames_digest.encode())
        return "" if digest == earlier.hexdigest() else "other annotations or pixels"

    @cached_property
    def first_image_id(self) -> dict[str, int]:
        """COCO image id of frame 0 by sequence; a frame's id is this plus its index."""
        return first_image_ids(self.sequences.values())

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

    @cached_property
    def grades(self) -> dict[str, dict[int, set[str]]]:
        """What readers wrote of each lesion's degree, by sequence; nothing where none is known."""
        found: dict[str, dict[int, set[str]]] = {}
        for box in self.boxes:
            known = found.setdefault(box.sequence_id, {}).setdefault(box.instance_id, set())
            known |= set() if box.grade is None else {box.grade}
        return found

    @cached_property
    def ignored_by_frame(self) -> dict[tuple[str, int], list[Box]]:
        """The areas to ignore of each frame that has any."""
        by_frame: dict[tuple[str, int], list[Box]] = {}
        for box in self.ignored:
            by_frame.setdefault((box.sequence_id, box.frame_index), []).append(box)
        return by_frame

    def bring(self, sequence_ids: Iterable[str]) -> None:
        """Have the frames of sequences on this machine, many at a time, before they are read.

        Raises:
            StorageError: the cohort's store cannot be reached or used.
        """
        self.copy.need(*(f"{STORE}/{sequence_id}/" for sequence_id in sequence_ids))

    def cine(self, sequence_id: str) -> NDArray[np.unsignedinteger[Any]]:
        """All frames of a sequence as acquired (uint8 or uint16 [T, H, W]), in one read.

        Raises:
            ValueError: its frames are damaged or gone.
        """
        self.bring([sequence_id])
        return read_cine_frames(self.folder, self.sequences[sequence_id])

    def cine_8bit(self, sequence_id: str) -> NDArray[np.uint8]:
        """All frames of a sequence as a reader sees them (uint8[T, H, W])."""
        return self.sequences[sequence_id].display.apply(self.cine(sequence_id))

    def frame_8bit(self, sequence_id: str, frame_index: int) -> NDArray[np.uint8]:
        """One frame of a sequence as a reader sees it (uint8[H, W]), read alone.

        The first of a sequence reads all of them, to compare their digest. Of each sequence some
        10 kB are kept in memory.

        Raises:
            ValueError: it is damaged or gone.
        """
        reader = self._readers.get(sequence_id)
        if reader is None:
            self.bring([sequence_id])
            reader = CineReader(self.folder, self.sequences[sequence_id])
            self._readers[sequence_id] = reader
        return self.sequences[sequence_id].display.apply(reader.read(frame_index))
