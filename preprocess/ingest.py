"""An archive of DICOM files, labels and regions into a cohort: resumable and parallel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from preprocess.annotations import read_all_regions, region_files
from preprocess.assembly import Assembly, assemble
from preprocess.atomic import remove_partials
from preprocess.cohort import write_annotations, write_manifest
from preprocess.intake import Finder, read_files, walk
from preprocess.journal import Journal, Record, journal_path
from preprocess.labels import Labels, read_labels
from preprocess.mismatches import mismatches_path, write_mismatches
from preprocess.placing import Regions
from preprocess.progress import track
from preprocess.proposals import proposal_remarks, propose_missing
from preprocess.pseudonyms import read_key


@dataclass(frozen=True, kw_only=True)
class IngestSettings:
    """How an archive is read."""

    size: int = 512
    """Rows and columns of the cines that are kept; 0 keeps every size."""
    other_frames: bool = False
    """Keep all regions off the reference frame; corrections and followed lesions stay anyway."""
    processes: int = 0
    """Processes that decode and propose phases; 0 = one per core."""

    def __post_init__(self) -> None:
        if self.size < 0 or self.processes < 0:
            raise ValueError("size and processes must be 0 or more.")


def ingest(
    src: Path,
    *,
    labels: Path,
    out: Path,
    rois: Path | None = None,
    key: Path | None = None,
    settings: IngestSettings,
) -> None:
    """Read an archive of DICOM XA cines into a cohort.

    The same command again continues where it stopped, and takes up corrected labels and regions
    without decoding anything twice. Where labels give no phase bounds or no reference frame, they
    are proposed from the pixels and marked as proposed.

    Args:
        src: the archive: a folder of DICOM files, with any names, at any depth.
        labels: sequences.csv, one row per cine.
        out: the cohort folder to write.
        rois: regions that readers drew (OsiriX, COCO, Pascal VOC or CVAT for video): one file, or
            a folder of them.
        key: reuse the pseudonym key in this file, so that a patient keeps their pseudonym.

    Raises:
        ValueError: the labels contradict themselves, an annotation file cannot be read, or no
            cine could be accepted. A single region that does not fit is told, and stops nothing.

    Examples:
        python -m preprocess ingest archive --labels sequences.csv --rois rois --out cohort
        python -m preprocess ingest archive --labels sequences.csv --out cohort --size 0
    """
    if not src.is_dir():
        raise ValueError(f"{src} is no folder. Give the folder that holds the DICOM files.")
    rows = read_labels(labels)
    annotations = region_files(rois) if rois else []
    drawn = Regions(*read_all_regions(annotations, rois or src), settings.other_frames)
    reused = read_key(key) if key else None
    closed: list[Path] = []
    files = _sources(walk(src, closed), src, out, [labels, *annotations, *([key] if key else [])])
    if not files:
        raise ValueError(f"{src} holds no files. Give the folder that holds the DICOM files.")
    out.mkdir(parents=True, exist_ok=True)
    with Journal(out, reused) as journal:
        remove_partials(out, out / "frames.zarr")
        records = _ingest_files(src, files, rows, out, journal, settings)
        result = assemble(records, rows, drawn, out)
        if closed:
            result.remarks.append(f"{len(closed)} folders of {src} could not be opened")
            result.notes += [f"folder {path} could not be opened" for path in closed]
        for note in result.notes:
            journal.note(note)
        result.remarks += write_mismatches(out, result.mismatches)
        write_manifest(out, result.manifest)
        if not result.sequences:
            raise ValueError(_nothing_accepted(src, result))
        boxed = {box.sequence_id for box in result.boxes}
        result.sequences = propose_missing(
            out, result.sequences, boxed, processes=settings.processes
        )
        result.remarks += proposal_remarks(result.sequences)
        write_annotations(out, result.sequences, result.boxes)
        _tell(result, out, journal.path)


def _sources(found: Iterable[Path], src: Path, out: Path, apart: Iterable[Path]) -> list[Path]:
    """The files of an archive, without the labels, regions and cohort that may lie in it too."""
    known = {path.resolve() for path in [*apart, journal_path(out), mismatches_path(out)]}
    cohort = out.resolve()
    return [
        path
        for path in found
        if (resolved := path.resolve()) not in known and cohort not in resolved.parents
    ]


def _ingest_files(
    src: Path,
    files: list[Path],
    labels: Labels,
    out: Path,
    journal: Journal,
    settings: IngestSettings,
) -> list[Record]:
    """Bring every file into the journal, and return their records in the order of ``files``."""
    names = [path.relative_to(src).as_posix() for path in files]
    finder = Finder(src, labels, journal, out, settings.size)
    pending = [name for name in names if not finder.is_finished(name)]
    if len(pending) < len(names):
        print(f"{len(names) - len(pending)} of {len(names)} files were finished by an earlier run.")
    records = read_files(pending, finder, out, size=settings.size, processes=settings.processes)
    for record in track(records, total=len(pending), label="files"):
        journal.append(record)
    return [journal.records[name] for name in names]


def _rejections(result: Assembly) -> list[str]:
    reasons = Counter(row.reason for row in result.manifest if row.status == "rejected")
    return [f"{count:6} {reason}" for reason, count in reasons.most_common()]


def _nothing_accepted(src: Path, result: Assembly) -> str:
    reasons = "\n".join(_rejections(result))
    return f"no cine in {src} could be accepted; every file was rejected:\n{reasons}"


def _tell(result: Assembly, out: Path, journal: Path) -> None:
    patients = {sequence.patient_id for sequence in result.sequences}
    frames = sum(sequence.length for sequence in result.sequences)
    print(
        f"Accepted {len(result.sequences)} cines of {len(patients)} patients: {frames} frames, "
        f"{len(result.boxes)} boxes."
    )
    if rejections := _rejections(result):
        print("Rejected files:", *rejections, sep="\n")
    for remark in result.remarks:
        print(f"Note: {remark}.")
    print(f"Wrote {out} (frames.zarr, annotations.json, manifest.csv).")
    print(f"Private, to be kept and not to be shared: {journal} (key, files and pseudonyms).")
    print(f"Next: python -m preprocess propagate {out}")
