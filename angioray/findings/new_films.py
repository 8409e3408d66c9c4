"""New films: a folder of DICOM files is read into a cohort before anybody looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

from angioray.findings.output_folder import alone_in_output
from angioray.findings.tables import Source, private_table
from angioray.study.study import Study, read_study
from preprocess.cohort import Cohort
from preprocess.cohort.pictures import picture_remarks
from preprocess.console.words import counted
from preprocess.dicom.pseudonyms import read_key
from preprocess.ingest.assembly import Assembly, rejection_counts
from preprocess.ingest.command import IngestSettings, ingest_archive
from preprocess.ingest.journal import journal_path
from preprocess.storage import FolderStorage, Storage, open_storage


@dataclass(frozen=True, kw_only=True)
class Films:
    """Cines to look at.

    Attributes:
        cohort: that they are in.
        sources: the DICOM file of each of its sequences; none where a cohort was given.
        dicom: of each sequence that gets DICOM findings, its file and what their names begin with.
        key: of the cohort's pseudonyms, where it can be read.
    """

    cohort: Cohort
    sources: Mapping[str, Source]
    dicom: Mapping[str, tuple[Path, Path]]
    key: bytes | None = field(repr=False)


@contextmanager
def open_films(
    src: str,
    out: Path,
    study: Study,
    *,
    key: Path | None,
    dicom: Path | None,
    processes: int,
    ray: str | None,
) -> Iterator[Films]:
    """Open a cohort; or read DICOM into one within the output folder, and print what was read.

    The output is this process's alone meanwhile. What links cines to patients stays beside it, for
    it is there to be shared.

    Args:
        src: a cohort, or a folder of DICOM files.
        out: the output folder.
        study: by whose key patients get their pseudonyms, where it can be read.
        key: the file of another key.
        dicom: the folder for DICOM findings, in which they are where the films are in theirs.
        processes: that decode; 0 = one per core.
        ray: the address of a cluster that does instead.

    Raises:
        ValueError: there are no cines; the output has another key, or is in use; a key is given for
            a cohort, or cannot be read; or DICOM findings, which name patients, are
            wanted of a cohort, within the output, or where nothing can be written.
    """
    given = open_storage(src)
    is_cohort = not isinstance(given, FolderStorage) or given.exists("annotations.json")
    if dicom is not None and is_cohort:
        raise ValueError(
            "--dicom writes findings that refer to DICOM files, but a cohort was given. Give the "
            "folder of the files."
        )
    if dicom is not None and dicom.resolve().is_relative_to(out.resolve()):
        raise ValueError(
            f"{dicom} is within {out}, which is there to be shared, but DICOM findings name "
            "patients. Give --dicom another folder, such as that of the films."
        )
    if key is not None and is_cohort:
        raise ValueError(
            "--key is for the pseudonyms of DICOM files, but a cohort was given, which has its own."
        )
    if not is_cohort and not Path(src).is_dir():
        raise ValueError(f"{src} is no folder. Give a folder of DICOM files, or a cohort.")
    if dicom is not None:
        _check_writable(dicom)
    if key is not None:
        _check_key(key)
    with alone_in_output(out):
        if is_cohort:
            yield Films(cohort=Cohort.open(src), sources={}, dicom={}, key=_cohort_key(given))
        else:
            yield _read_dicom(src, out, study, key, dicom, processes, ray)


def unrecognised(study: Study, trained_on: Cohort | None, films: Films) -> str:
    """Why a patient of the study may not be recognised among the films, as a warning; else empty.

    Args:
        study: whose networks look.
        trained_on: its cohort, or None if that is gone.
        films: to look at.
    """
    if films.cohort.digest == read_study(study.folder)["cohort"]["digest"]:
        return ""
    theirs = _study_key(study)
    if trained_on is None:
        why = "its cohort is gone or was changed"
    elif theirs is None:
        why = "the key of its cohort's pseudonyms is not here"
    elif films.key != read_key(theirs):
        why = "these pseudonyms are by another key than those of its cohort"
    else:
        return ""
    return (
        f"Patients of the study cannot be recognised ({why}): a patient of the study may be judged "
        "by models that were trained on them."
    )


def _read_dicom(
    src: str,
    out: Path,
    study: Study,
    key: Path | None,
    dicom: Path | None,
    processes: int,
    ray: str | None,
) -> Films:
    folder, private = Path(src).absolute(), out.absolute()
    ours = journal_path(private)
    if key is None and not (ours.exists() and ours.stat().st_size):  # else it has a key already
        key = _study_key(study)
    result = ingest_archive(
        Path(src),
        out=out / "cohort",
        key=key,
        private=private,
        apart=[private_table(out)],
        settings=IngestSettings(size=0, processes=processes, ray=ray),
    )
    for line in _describe(result, src, private):
        print(line)
    sources = {
        record.sequence_id: Source(file=record.path, sop_instance_uid=record.sop_instance_uid)
        for record in result.records
    }
    return Films(
        cohort=Cohort.open(out / "cohort"),
        sources=sources,
        dicom={
            sequence: (folder / source.file, dicom.absolute() / source.file)
            for sequence, source in sources.items()
            if dicom is not None
        },
        key=read_key(ours),
    )


def _check_writable(folder: Path) -> None:
    """Before anything is read: a later error would be about the folder of one patient."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        raise ValueError(
            f"DICOM findings cannot be written in {folder} ({problem.strerror}). Give --dicom "
            "another folder."
        ) from None


def _check_key(key: Path) -> None:
    try:
        read_key(key)
    except OSError as problem:
        raise ValueError(
            f"--key {key} cannot be read ({problem.strerror}). Give a file of at least 32 "
            "hexadecimal digits, or the private journal of the study's cohort."
        ) from None


def _study_key(study: Study) -> Path | None:
    """The private journal of a study's cohort, where it was or beside the runs, if readable."""
    recorded = open_storage(study.cohort_folder)
    for folder in (recorded, open_storage(study.folder).parent / recorded.name):
        if isinstance(folder, FolderStorage) and _cohort_key(folder) is not None:
            return journal_path(folder.path)
    return None


def _cohort_key(cohort: Storage) -> bytes | None:
    """The key in a cohort's private journal, if readable."""
    if isinstance(cohort, FolderStorage):
        with suppress(OSError, ValueError):
            return read_key(journal_path(cohort.path))
    return None


def _describe(result: Assembly, src: str, private: Path) -> Iterator[str]:
    """What was read, for a person who wants to know what is in these films."""
    kept = result.sequences
    files, patients = len(result.manifest), len({cine.patient_id for cine in kept})
    yield (
        f"Read {counted(files, 'file')} of {src}: {counted(len(kept), 'cine')} of "
        f"{counted(patients, 'patient')}."
    )
    if reasons := [row.reason for row in result.manifest if row.status == "rejected"]:
        yield f"Not cines that can be looked at: {counted(len(reasons), 'file')}:"
        yield rejection_counts(reasons)
    without = sum(cine.shows_no_filling for cine in kept)
    if without:
        yield (
            f"Note: in {counted(without, 'cine')} no filling of the arteries with contrast was "
            "found: perhaps it never came. All frames are looked at."
        )
    for remark in [*result.remarks, *picture_remarks(kept)]:
        yield f"Note: {remark}."
    yield (
        f"Private, to be kept and not to be shared: {journal_path(private)} (which file is which "
        "cine, and the key)."
    )
