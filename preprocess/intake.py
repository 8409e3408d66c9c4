"""Source files on their way into a cohort: which are finished, and reading those that are not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from preprocess.assembly import labelled, objection
from preprocess.cohort import Sequence, cine_is_stored, frames_digest, store_cine
from preprocess.dicom import Cine, Identity, Rejection, read_header, read_identity
from preprocess.journal import Journal, Record
from preprocess.labels import Label, Labels
from preprocess.pseudonyms import Pseudonyms
from preprocess.workers import map_unordered

DUPLICATE = "duplicate: the same SOPInstanceUID as another file"
READER = 1
"""Raise it when files are accepted that were not before: rejected ones are then read again."""
CRASHED = "damaged: the decoder crashed on it"
UNREADABLE = "cannot be read"
TOO_LARGE = "too large for this machine's memory"
LOOK_AGAIN = (DUPLICATE, CRASHED, UNREADABLE, TOO_LARGE)
"""Reasons that another run may not find again."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One source file on its way; ``skip`` is a reason that is known before it is decoded."""

    path: Path = field(repr=False)
    relative: str = field(repr=False)
    size_bytes: int
    mtime_ns: int
    identity: Identity | None
    label: Label | None
    skip: str = ""


def walk(folder: Path, closed: list[Path]) -> Iterator[Path]:
    """Every file below a folder, in a fixed order, links to folders not followed.

    Folders that cannot be opened are added to ``closed``.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        closed.append(folder)
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path), closed)
        elif entry.is_file():
            yield Path(entry.path)


def read_files(
    pending: list[str], finder: Finder, out: Path, *, size: int, processes: int
) -> Iterator[Record]:
    """Decode what is pending. A second file of one instance waits until the first is judged."""
    pseudonyms = Pseudonyms(finder.journal.key)
    work = partial(_ingest_file, pseudonyms=pseudonyms, out=out, size=size)
    died = partial(_record, pseudonyms=pseudonyms, size=size, reason=CRASHED)
    while pending:
        later: list[str] = []
        found = finder.first_of_each(pending, later)
        for record in map_unordered(work, found, processes=processes, died=died):
            if record.accepted:
                finder.accept(record)
            yield record
        pending = later


class Finder:
    """Knows which files are finished, and finds out what the others are."""

    def __init__(self, src: Path, labels: Labels, journal: Journal, out: Path, size: int):
        self.journal = journal
        self._src = src
        self._labels = labels
        self._out = out
        self._size = size
        self._accepted: set[str] = set()

    def is_finished(self, name: str) -> bool:
        """Whether an earlier run judged this very file by the same setting and label."""
        record = self.journal.records.get(name)
        if record is None or record.size != self._size or record.reason in LOOK_AGAIN:
            return False
        if _state(self._src / name) != (record.size_bytes, record.mtime_ns):
            return False
        if record.accepted and record.sop_instance_uid in self._accepted:
            return False  # each was the only file of its instance in a run of its own
        if record.accepted and cine_is_stored(self._out, record.sequence_id):
            self._accepted.add(record.sop_instance_uid)
            return True
        label = self._labels.of(name, record.sop_instance_uid or None)
        judged_by = (record.skip, record.reader)
        return not record.accepted and judged_by == (objection(label), READER)

    def first_of_each(self, names: Iterable[str], later: list[str]) -> Iterator[SourceFile]:
        """The files to work on now; those whose instance is already being read go ``later``."""
        claimed: set[str] = set()
        for name in names:
            path = self._src / name
            size_bytes, mtime_ns = _state(path)
            identity = _identity(path)
            instance = identity.sop_instance_uid if identity else None
            if instance in claimed:
                later.append(name)
                continue
            if instance:
                claimed.add(instance)
            label = self._labels.of(name, instance)
            yield SourceFile(
                path=path,
                relative=name,
                size_bytes=size_bytes,
                mtime_ns=mtime_ns,
                identity=identity,
                label=label,
                skip=DUPLICATE if instance in self._accepted else objection(label),
            )

    def accept(self, record: Record) -> None:
        """Remember that an instance is stored: other files of it are duplicates."""
        self._accepted.add(record.sop_instance_uid)


def _state(path: Path) -> tuple[int, int]:
    """Size and time of change; of a file that vanished or cannot be reached, none."""
    try:
        stat = path.stat()
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def _identity(path: Path) -> Identity | None:
    try:
        return read_identity(path)
    except OSError:  # the worker meets it again, and says why
        return None


def _ingest_file(file: SourceFile, *, pseudonyms: Pseudonyms, out: Path, size: int) -> Record:
    """Check, decode and store one file, in a worker."""
    rejected = partial(_record, file, pseudonyms=pseudonyms, size=size)
    sha256 = ""
    try:
        with file.path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        header = read_header(file.path, size=size)
        if file.skip:
            return rejected(reason=file.skip, sha256=sha256)
        cine = header.cine()
    except Rejection as problem:
        return rejected(reason=str(problem), sha256=sha256)
    except OSError:
        return rejected(reason=UNREADABLE, sha256=sha256)
    except MemoryError:
        return rejected(reason=TOO_LARGE, sha256=sha256)
    assert file.label is not None
    sequence = labelled(_sequence(cine, pseudonyms), file.label)
    store_cine(out, sequence, cine.frames)
    return replace(rejected(reason="", sha256=sha256), status="accepted")


def _record(
    file: SourceFile, *, pseudonyms: Pseudonyms, size: int, reason: str, sha256: str = ""
) -> Record:
    """A rejected file's record."""
    known = file.identity
    return Record(
        path=file.relative,
        size_bytes=file.size_bytes,
        mtime_ns=file.mtime_ns,
        size=size,
        skip=objection(file.label),
        reader=READER,
        sha256=sha256,
        reason=reason,
        sop_instance_uid=known.sop_instance_uid if known else "",
        sequence_id=pseudonyms.sequence(known.sop_instance_uid) if known else "",
        patient_id=pseudonyms.patient(known.patient_id) if known else "",
    )


def _sequence(cine: Cine, pseudonyms: Pseudonyms) -> Sequence:
    length, height, width = cine.frames.shape
    return Sequence(
        sequence_id=pseudonyms.sequence(cine.identity.sop_instance_uid),
        patient_id=pseudonyms.patient(cine.identity.patient_id),
        view=None,
        length=length,
        height=height,
        width=width,
        bits_stored=cine.bits_stored,
        display=cine.display,
        frames_sha256=frames_digest(cine.frames),
        primary_angle_deg=cine.primary_angle_deg,
        secondary_angle_deg=cine.secondary_angle_deg,
        frame_time_ms=cine.frame_time_ms,
        imager_pixel_spacing_mm=cine.imager_pixel_spacing_mm,
        transfer_syntax_uid=cine.transfer_syntax_uid,
    )
