"""New films: a folder of DICOM files is read into a cohort before anybody looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from angioray.findings.tables import Source, private_table
from angioray.study.study import Study
from preprocess.cohort import Cohort, Phase
from preprocess.cohort.pictures import picture_remarks
from preprocess.dicom.pseudonyms import read_key
from preprocess.ingest.assembly import Assembly, rejection_counts
from preprocess.ingest.command import IngestSettings, ingest_archive
from preprocess.ingest.journal import journal_path
from preprocess.storage import FolderStorage, Location, open_storage


@dataclass(frozen=True, kw_only=True)
class Films:
    """Cines to look at.

    Attributes:
        cohort: that they are in.
        sources: the DICOM file of each of its sequences; none where a cohort was given.
        dicom: of each sequence that gets DICOM findings, its file and what their names begin with.
    """

    cohort: Cohort
    sources: Mapping[str, Source]
    dicom: Mapping[str, tuple[Path, Path]]


def open_films(
    src: str,
    out: Path,
    study: Study,
    *,
    key: Path | None,
    dicom: Path | None,
    processes: int,
    ray: str | None,
) -> Films:
    """Open a cohort; or read DICOM into one within the output folder, and print what was read.

    What links cines to patients stays beside the output, which is there to be shared.

    Args:
        src: a cohort, or a folder of DICOM files.
        out: the output folder.
        study: by whose key patients get their pseudonyms, where it can be read.
        key: the file of another key.
        dicom: the folder for DICOM findings, in which they are where the films are in theirs.
        processes: that decode; 0 = one per core.
        ray: the address of a cluster that does instead.

    Raises:
        ValueError: there are no cines; the output has another key; or DICOM findings, which name
            patients, are wanted of a cohort, within the output, or where nothing can be written.
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
    if is_cohort:
        return Films(cohort=Cohort.open(src), sources={}, dicom={})
    folder = Path(src).absolute()
    if not folder.is_dir():
        raise ValueError(f"{src} is no folder. Give a folder of DICOM files, or a cohort.")
    if dicom is not None:
        _check_writable(dicom)
    private = out.absolute()
    result = ingest_archive(
        Path(src),
        out=out / "cohort",
        key=_key(study, private, key),
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


def _key(study: Study, private: Path, key: Path | None) -> Path | None:
    """The file of the pseudonyms' key: the one given, or the study's own; says which."""
    if key is not None:
        return key
    theirs, ours = _study_key(study.cohort_folder, study.folder), journal_path(private)
    begun = ours.exists() and ours.stat().st_size > 0
    if theirs is None or (begun and read_key(ours) != read_key(theirs)):
        print(
            "Note: the key of the study's pseudonyms is not here, or these films were begun with "
            "another. A patient of the study is recognised only by a cine that the study has too; "
            "give the private journal of its cohort by --key, and a new --out."
        )
        return None
    print("Patients of the study are recognised: pseudonyms are by the key of its cohort.")
    return theirs


def _study_key(cohort: str, runs: Location) -> Path | None:
    """The private journal of a study's cohort, where it was or beside the runs, if readable."""
    folders = open_storage(cohort), open_storage(runs).parent / open_storage(cohort).name
    for folder in folders:
        if isinstance(folder, FolderStorage):
            journal = journal_path(folder.path)
            try:
                read_key(journal)
            except (OSError, ValueError):
                continue
            return journal
    return None


def _describe(result: Assembly, src: str, private: Path) -> Iterator[str]:
    """What was read, for a person who wants to know what is in these films."""
    kept = result.sequences
    files, patients = len(result.manifest), len({cine.patient_id for cine in kept})
    yield f"Read {files} files of {src}: {len(kept)} cines of {patients} patients."
    if reasons := [row.reason for row in result.manifest if row.status == "rejected"]:
        yield f"{len(reasons)} files are no cine that can be looked at:"
        yield rejection_counts(reasons)
    without = sum(not cine.frames_in(Phase.OPTIMAL) for cine in kept)
    if without:
        yield (
            f"Note: in {without} cines no filling of the arteries with contrast was found; all "
            "their frames are looked at."
        )
    for remark in [*result.remarks, *picture_remarks(kept)]:
        yield f"Note: {remark}."
    yield (
        f"Private, to be kept and not to be shared: {journal_path(private)} (which file is which "
        "cine, and the key)."
    )
