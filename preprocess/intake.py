"""Source files on their way into a cohort: which are finished, and reading those that are not."""

from __future__ import annotations

import hashlib
import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from preprocess.assembly import labelled, objection
from preprocess.cohort import CineWriter, Sequence, cine_is_stored
from preprocess.dicom import Header, Identity, Rejection, read_header, read_identity
from preprocess.grayscale import sample_of
from preprocess.journal import Journal, Record
from preprocess.labels import Label, Labels
from preprocess.pseudonyms import Pseudonyms
from preprocess.workers import map_unordered

DUPLICATE = "duplicate: the same SOPInstanceUID as another file"
READER = 2
"""Raise it when files are accepted that were not before: rejected ones are then read again."""
CRASHED = "damaged: the decoder crashed on it"
UNREADABLE = "cannot be read"
TOO_LARGE = "too large for this machine's memory"
LOOK_AGAIN = (DUPLICATE, CRASHED, UNREADABLE, TOO_LARGE)
"""Reasons that another run may not find again."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One source file on its way, without the patient's identifier and without the key.

    ``skip`` is a reason that is known before it is decoded; the pseudonyms are empty where the
    file names no patient or instance.
    """

    path: Path = field(repr=False)
    relative: str = field(repr=False)
    size_bytes: int
    mtime_ns: int
    sop_instance_uid: str = field(repr=False)
    sequence_id: str
    patient_id: str
    label: Label | None
    skip: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Where files are read from and stored to, and which size is kept; absolute paths."""

    src: Path
    out: Path
    size: int


def read_files(
    names: Iterable[str], finder: Finder, reading: Reading, *, processes: int, cluster: str | None
) -> Iterator[Record]:
    """Decode the named files. A second file of one instance waits until the first is judged."""
    work = partial(_ingest_file, reading=reading)
    died = partial(_record, size=reading.size, reason=CRASHED)
    waiting: Iterable[str] = names
    while waiting:
        later: list[str] = []
        found = finder.first_of_each(waiting, later)
        for record in map_unordered(work, found, processes=processes, died=died, cluster=cluster):
            finder.accept(record)
            yield record
        waiting = later


class Finder:
    """Knows which files are finished, and finds out what the others are.

    Attributes:
        journal: what earlier runs found.
        finished: how many files earlier runs have finished, of those asked for so far.
    """

    def __init__(self, reading: Reading, labels: Labels, journal: Journal):
        self.journal = journal
        self.finished = 0
        self._reading = reading
        self._labels = labels
        self._pseudonyms = Pseudonyms(journal.key)
        self._accepted: dict[str, str] = {}
        self._earlier: dict[str, list[str]] = defaultdict(list)
        for record in journal.records.values():
            if record.accepted:
                self._earlier[record.sop_instance_uid].append(record.path)

    def pending(self, names: Iterable[str]) -> Iterator[str]:
        """Those of the files that no earlier run has finished."""
        for name in names:
            if self.is_finished(name):
                self.finished += 1
            else:
                yield name

    def is_finished(self, name: str) -> bool:
        """Whether an earlier run judged this very file by the same setting and label."""
        record = self.journal.records.get(name)
        if record is None or record.size != self._reading.size or record.reason in LOOK_AGAIN:
            return False
        if _state(self._reading.src / name) != (record.size_bytes, record.mtime_ns):
            return False
        if record.accepted:
            if not cine_is_stored(self._reading.out, record.sequence_id):
                return False
            # Two may each have been the only file of their instance in a run of their own.
            return self._accepted.setdefault(record.sop_instance_uid, name) == name
        label = self._labels.of(name, record.sop_instance_uid or None)
        return (record.skip, record.reader) == (objection(label), READER)

    def first_of_each(self, names: Iterable[str], later: list[str]) -> Iterator[SourceFile]:
        """The files to work on now; those whose instance is already being read go ``later``."""
        claimed: set[str] = set()
        for name in names:
            path = self._reading.src / name
            size_bytes, mtime_ns = _state(path)
            identity = _identity(path)
            instance = identity.sop_instance_uid if identity else ""
            if instance in claimed:
                later.append(name)
                continue
            if instance:
                claimed.add(instance)
            label = self._labels.of(name, instance or None)
            yield SourceFile(
                path=path,
                relative=name,
                size_bytes=size_bytes,
                mtime_ns=mtime_ns,
                sop_instance_uid=instance,
                sequence_id=self._pseudonyms.sequence(instance) if identity else "",
                patient_id=self._pseudonyms.patient(identity.patient_id) if identity else "",
                label=label,
                skip=DUPLICATE if self._is_stored(instance) else objection(label),
            )

    def accept(self, record: Record) -> None:
        """Remember that an instance is stored: other files of it are duplicates."""
        if record.accepted:
            self._accepted[record.sop_instance_uid] = record.path

    def _is_stored(self, instance: str) -> bool:
        """Whether a file of that instance is in the cohort, by this run or an earlier one."""
        return instance in self._accepted or any(map(self.is_finished, self._earlier[instance]))


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


def _ingest_file(file: SourceFile, *, reading: Reading) -> Record:
    """Check, decode and store one file, in a worker."""
    rejected = partial(_record, file, size=reading.size)
    sha256 = ""
    try:
        header = read_header(file.path, size=reading.size)
        if file.skip:
            return rejected(reason=file.skip, sha256=_digest(file.path))
        content = file.path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if not file.sequence_id:  # the finder could not read what the worker could
            return rejected(reason=UNREADABLE, sha256=sha256)
        _store(header, content, file, reading)
    except Rejection as problem:
        return rejected(reason=str(problem), sha256=sha256 or _digest(file.path))
    except OSError as problem:
        _check_folders(reading)
        if problem.filename != str(file.path):
            raise  # the cohort's disk, not the archive's
        return rejected(reason=UNREADABLE, sha256=sha256)
    except MemoryError:
        return rejected(reason=TOO_LARGE, sha256=sha256)
    return replace(rejected(reason="", sha256=sha256), status="accepted")


def _store(header: Header, content: bytes, file: SourceFile, reading: Reading) -> None:
    """Decode a cine into the cohort, one frame in memory."""
    _check_folders(reading)
    length, height, width = header.shape
    samples = []
    with CineWriter(reading.out, file.sequence_id, (height, width), header.dtype) as cine:
        for frame in header.frames(content):
            cine.append(frame)
            samples.append(sample_of(frame))
        sequence = Sequence(
            sequence_id=file.sequence_id,
            patient_id=file.patient_id,
            view=None,
            length=length,
            height=height,
            width=width,
            frames_sha256=cine.digest,
            **vars(header.acquisition(np.stack(samples))),
        )
        assert file.label is not None
        cine.finish(labelled(sequence, file.label))


def _digest(path: Path) -> str:
    """SHA-256 of a file of any size; empty where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def _check_folders(reading: Reading) -> None:
    """Both are shared by every process that reads, on whatever machine."""
    for folder in (reading.src, reading.out):
        if not folder.is_dir():
            raise ValueError(
                f"{folder} is not there on {socket.gethostname()}. Every machine that takes part "
                "must see the archive and the cohort under the same paths; mount them, and give "
                "the same command again."
            )


def _record(file: SourceFile, *, size: int, reason: str, sha256: str = "") -> Record:
    """A rejected file's record."""
    return Record(
        path=file.relative,
        size_bytes=file.size_bytes,
        mtime_ns=file.mtime_ns,
        size=size,
        skip=objection(file.label),
        reader=READER,
        sha256=sha256,
        reason=reason,
        sop_instance_uid=file.sop_instance_uid,
        sequence_id=file.sequence_id,
        patient_id=file.patient_id,
    )
