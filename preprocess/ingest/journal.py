"""The private journal of an ingest: the key, and which source file became which sequence.

It lies beside the cohort, never in it, readable by its owner only. One line is added when a file
is finished, so an interrupted ingest continues where it stopped.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from preprocess.annotations.regions import without_ending
from preprocess.cohort.records import check_types
from preprocess.dicom.pseudonyms import new_key
from preprocess.storage.atomic import sync_folder
from preprocess.storage.names import beside

OWNER_ONLY = 0o600


@dataclass(frozen=True, kw_only=True)
class Record:
    """The outcome of one source file.

    ``size``, ``skip`` and ``reader`` decided it: the setting, the label's reason to reject, and the
    reader's version. Where one changes, a rejected file is read again.
    """

    path: str
    """Relative to the archive, with forward slashes."""
    size_bytes: int
    mtime_ns: int
    size: int
    skip: str
    reader: int
    sha256: str = ""
    status: str = "rejected"
    reason: str = ""
    sop_instance_uid: str = ""
    sequence_id: str = ""
    patient_id: str = ""
    """The pseudonym."""
    patient_digest: str = ""
    """The whole keyed hash whose beginning the pseudonym is; by it two patients of one pseudonym
    are told apart. Journals of earlier versions do not have it."""

    @property
    def accepted(self) -> bool:
        """Whether the cine was decoded and stored."""
        return self.status == "accepted"

    @property
    def names(self) -> set[str]:
        """What a region's file may call the cine: instance, pseudonym, or name of the file."""
        names = {self.sop_instance_uid, self.sequence_id, self.path, without_ending(self.path)}
        return names - {""}


def journal_path(cohort: Path) -> Path:
    """Where the private journal of a cohort lies: beside it, never in it."""
    return beside(cohort, ".private.jsonl")


class Journal:
    """An append-only file, locked while it is open.

    Attributes:
        path: where it lies.
        key: the pseudonyms' key.
        records: the last record of each path.
    """

    def __init__(self, cohort: Path, key: bytes | None):
        """Open the journal of ``cohort``, or begin it with ``key`` (a new one if None).

        Raises:
            ValueError: another ingest holds it, it has another key, or it is no journal.
        """
        self.path = journal_path(cohort)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, OWNER_ONLY)
        os.fchmod(self._descriptor, OWNER_ONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise ValueError(
                f"another ingest is writing {cohort}. Wait until it is done, or stop it."
            ) from None
        self.key, self.records = self._load(cohort, key)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)

    def append(self, record: Record) -> None:
        """Add one finished file."""
        self.records[record.path] = record
        self._write(asdict(record))

    def note(self, text: str) -> None:
        """Add a remark that may name files, for the person who looks into it."""
        self._write({"note": text})

    def _load(self, cohort: Path, key: bytes | None) -> tuple[bytes, dict[str, Record]]:
        content = self.path.read_bytes()
        whole, _, torn = content.rpartition(b"\n")
        if torn:  # killed while writing: that file is not finished
            os.ftruncate(self._descriptor, len(content) - len(torn))
        lines = whole.splitlines()
        if not lines:
            key = key or new_key()
            self._write({"key": key.hex()})
            os.fsync(self._descriptor)  # with another key, every patient would have another name
            sync_folder(self.path.parent)
            return key, {}
        try:
            known = bytes.fromhex(json.loads(lines[0])["key"])
            entries: list[dict[str, Any]] = [json.loads(line) for line in lines[1:]]
            names = {f.name for f in fields(Record)}
            records = [Record(**e) for e in entries if names.issuperset(e)]
            for record in records:
                check_types(record)
        except (ValueError, KeyError, TypeError) as problem:
            raise ValueError(
                f"{self.path} is damaged. Restore it from a backup, or remove it and {cohort} "
                "to begin anew (pseudonyms will change unless you give --key)."
            ) from problem
        if key is not None and key != known:
            raise ValueError(
                f"{cohort} was begun with another key than the one given. Leave --key out, or "
                "choose another --out."
            )
        return known, {record.path: record for record in records}

    def _write(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry).encode() + b"\n"
        if os.write(self._descriptor, line) != len(line):
            raise OSError(28, os.strerror(28), str(self.path))


def source_files(cohort: Path) -> dict[str, str]:
    """The source file of each sequence, for whoever may read the cohort's private journal.

    Paths are relative to the archive. Nothing where there is no journal, or it is not the caller's
    to read.
    """
    try:
        lines = journal_path(cohort).read_bytes().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        with suppress(ValueError, AttributeError, KeyError, TypeError):  # a line of another kind
            entry = json.loads(line)
            if entry.get("sequence_id"):
                found[entry["sequence_id"]] = entry["path"]
    return found
