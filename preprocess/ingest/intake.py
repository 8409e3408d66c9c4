"""The intake of source files: which are finished, and the reading of the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from preprocess.annotations.labels import Labels
from preprocess.cohort import cine_is_stored
from preprocess.console.workers import map_unordered
from preprocess.dicom.pseudonyms import Pseudonyms
from preprocess.dicom.reader import Identity, read_identity
from preprocess.ingest.assembly import rejection_reason
from preprocess.ingest.journal import Journal, Record
from preprocess.ingest.source_file import (
    CLEARING_READER,
    READER,
    TOO_LARGE,
    UNREADABLE,
    Reading,
    SourceFile,
    ingest_file,
    rejected_record,
)

DUPLICATE = "duplicate: the same SOPInstanceUID as another file"
CRASHED = "damaged: the decoder crashed on it"
LOOK_AGAIN = (DUPLICATE, CRASHED, UNREADABLE, TOO_LARGE)
"""Reasons that another run may not find again."""


def read_files(
    names: Iterable[str], finder: Finder, reading: Reading, *, processes: int, cluster: str | None
) -> Iterator[Record]:
    """Decode the named files. A second file of one instance waits until the first is judged."""
    work = partial(ingest_file, reading=reading)
    died = partial(rejected_record, size=reading.size, reason=CRASHED)
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
            if record.sop_instance_uid:
                self._pseudonyms.sequence(record.sop_instance_uid)
            if record.patient_digest:
                self._pseudonyms.remember("P", record.patient_digest)
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
            stored = cine_is_stored(self._reading.out, record.sequence_id)
            if not stored or record.reader < CLEARING_READER:
                return False
            # Two may each have been the only file of their instance in a run of their own.
            return self._accepted.setdefault(record.sop_instance_uid, name) == name
        label = self._labels.of(name, record.sop_instance_uid or None)
        return (record.skip, record.reader) == (rejection_reason(label), READER)

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
            patient = self._pseudonyms.patient_digest(identity.patient_id) if identity else ""
            yield SourceFile(
                path=path,
                relative=name,
                size_bytes=size_bytes,
                mtime_ns=mtime_ns,
                sop_instance_uid=instance,
                sequence_id=self._pseudonyms.sequence(instance) if identity else "",
                patient_id=self._pseudonyms.remember("P", patient) if identity else "",
                patient_digest=patient,
                label=label,
                skip=DUPLICATE if self._is_stored(instance) else rejection_reason(label),
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
