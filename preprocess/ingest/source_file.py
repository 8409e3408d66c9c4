"""One source file from the archive into the cohort, in a worker."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from preprocess.annotations.labels import Label
from preprocess.cohort import Sequence, frames_digest, store_cine
from preprocess.cohort.frames import Frames
from preprocess.dicom.acceptance import Rejection
from preprocess.dicom.reader import Header, read_header
from preprocess.ingest.assembly import labelled, rejection_reason
from preprocess.ingest.journal import Record

READER = 3
"""Raise it when files are accepted that were not before: rejected ones are then read again."""
CLEARING_READER = 3
"""The first that clears bits beyond Bits Stored; what an earlier one stored is read again."""
UNREADABLE = "cannot be read"
TOO_LARGE = "too large for this machine's memory"


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
    patient_digest: str
    label: Label | None
    skip: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Where files are read from and stored to, and which size is kept; absolute paths."""

    src: Path
    out: Path
    size: int


def ingest_file(file: SourceFile, *, reading: Reading) -> Record:
    """Check, decode and store one file, in a worker."""
    rejected = partial(rejected_record, file, size=reading.size)
    try:
        header = read_header(file.path, size=reading.size)
        if file.skip:
            return rejected(reason=file.skip, sha256=_digest(file.path))
        content = file.path.read_bytes()
    except Rejection as problem:
        return rejected(reason=str(problem), sha256=_digest(file.path))
    except OSError:
        _check_folders(reading)
        return rejected(reason=UNREADABLE)
    except MemoryError:
        return rejected(reason=TOO_LARGE)
    sha256 = hashlib.sha256(content).hexdigest()
    if not file.sequence_id:  # the finder could not read what the worker could
        return rejected(reason=UNREADABLE, sha256=sha256)
    try:  # what the disk of the cohort raises ends the run: no other file would fare better
        _store(header, content, file, reading)
    except Rejection as problem:
        return rejected(reason=str(problem), sha256=sha256)
    except MemoryError:
        return rejected(reason=TOO_LARGE, sha256=sha256)
    return replace(rejected(reason="", sha256=sha256), status="accepted")


def _store(header: Header, content: bytes, file: SourceFile, reading: Reading) -> None:
    """Decode a cine into the cohort."""
    _check_folders(reading)
    sequence, frames = decoded(
        header, content, sequence_id=file.sequence_id, patient_id=file.patient_id
    )
    assert file.label is not None
    store_cine(reading.out, labelled(sequence, file.label), frames)


def decoded(
    header: Header, content: bytes, *, sequence_id: str, patient_id: str
) -> tuple[Sequence, Frames]:
    """A cine without a label, and its frames as acquired (uint8 or uint16 [T, H, W]).

    Raises:
        Rejection: the pixel data cannot be decoded.
    """
    length, height, width = header.shape
    frames = np.empty(header.shape, header.dtype)
    for stored, frame in zip(frames, header.frames(content), strict=True):
        stored[:] = frame
    sequence = Sequence(
        sequence_id=sequence_id,
        patient_id=patient_id,
        view=None,
        length=length,
        height=height,
        width=width,
        frames_digest=frames_digest(frames),
        **vars(header.acquisition(frames)),
    )
    return sequence, frames


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


def rejected_record(file: SourceFile, *, size: int, reason: str, sha256: str = "") -> Record:
    """A rejected file's record."""
    return Record(
        path=file.relative,
        size_bytes=file.size_bytes,
        mtime_ns=file.mtime_ns,
        size=size,
        skip=rejection_reason(file.label),
        reader=READER,
        sha256=sha256,
        reason=reason,
        sop_instance_uid=file.sop_instance_uid,
        sequence_id=file.sequence_id,
        patient_id=file.patient_id,
        patient_digest=file.patient_digest,
    )
