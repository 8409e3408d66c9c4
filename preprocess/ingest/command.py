"""``python -m preprocess ingest``: an archive into a cohort, resumable and parallel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from preprocess.annotations.label_sheet import read_labels
from preprocess.annotations.labels import NO_LABELS, Labels
from preprocess.annotations.mismatches import mismatches_path, write_mismatches
from preprocess.annotations.region_files import read_all_regions, region_files
from preprocess.annotations.region_matching import Regions
from preprocess.cohort import (
    cine_is_stored,
    stored_sequence,
    write_annotations,
    write_manifest,
)
from preprocess.cohort.pictures import picture_remarks
from preprocess.cohort.reviews import changing, read_reviews, with_reviews
from preprocess.console.progress import track
from preprocess.console.settings import CountOrZero, Settings
from preprocess.contrast.proposals import proposal_remarks, propose_missing
from preprocess.dicom.pseudonyms import Pseudonyms, read_key
from preprocess.ingest.assembly import NOTHING_ACCEPTED, Assembly, assemble, rejection_counts
from preprocess.ingest.file_discovery import FileDiscovery, discovered
from preprocess.ingest.intake import Finder, read_files
from preprocess.ingest.journal import Journal, Record, journal_path
from preprocess.ingest.source_file import Reading
from preprocess.storage.atomic import remove_partials
from preprocess.views import view_counts, view_remarks

UNLABELLED = (
    "without --labels no cine has a view, an iFR value or a reason to be left out; "
    "`python -m preprocess sheet {src} --out sequences.csv` writes the sheet to fill in"
)
REVIEWED = (
    "what a reader decided about {n} sequences in the browser stays (review.jsonl), "
    "whatever labels and regions say"
)


@dataclass(frozen=True, kw_only=True)
class IngestSettings(Settings):
    """How an archive is read."""

    size: CountOrZero = 512
    """Rows and columns of the cines that are kept; 0 keeps every size."""
    other_frames: bool = False
    """Keep all regions off the reference frame; corrections and followed lesions stay anyway."""
    processes: CountOrZero = 0
    """Processes that decode and propose phases; 0 = one per core."""
    ray: str | None = None
    """Address of a Ray cluster that decodes instead of this machine, such as `auto`; all its nodes
    must see the archive and the cohort under the same paths."""


def ingest(
    src: Path,
    *,
    out: Path,
    labels: Path | None = None,
    rois: Path | None = None,
    key: Path | None = None,
    settings: IngestSettings,
) -> None:
    """Read an archive of DICOM XA cines into a cohort.

    The same command again continues where it stopped, and takes up corrected labels and regions
    without decoding anything twice. Where labels give no phase bounds or no reference frame, they
    are proposed from the pixels and marked as proposed. Without labels every cine is taken, for a
    first look; the same command with labels then gives the cines their views.

    Args:
        src: the archive: a folder of DICOM files, with any names, at any depth.
        out: the cohort folder to write.
        labels: sequences.csv or .xlsx, one row per cine; `preprocess sheet` writes one to fill in.
        rois: regions that readers drew (OsiriX, COCO, Pascal VOC or CVAT for video): one file, or
            a folder of them.
        key: reuse the pseudonym key in this file, so that a patient keeps their pseudonym.

    Raises:
        ValueError: the labels contradict themselves, no annotation file can be read, or no
            cine could be accepted, or none of the regions became a box. A single region that does
            not fit is told, and stops nothing.

    Examples:
        python -m preprocess ingest archive --labels sequences.csv --rois rois --out cohort
        python -m preprocess ingest archive --labels sequences.csv --out cohort --size 0
        python -m preprocess ingest archive --labels sequences.csv --out cohort --ray auto
        python -m preprocess ingest archive --out cohort
    """
    result = ingest_archive(src, out=out, labels=labels, rois=rois, key=key, settings=settings)
    told = [f"the views are {view_counts(result.sequences)}", *view_remarks(result.sequences)]
    told += [] if labels else [UNLABELLED.format(src=src)]
    told += [*result.remarks, *proposal_remarks(result.sequences)]
    _print_outcome(result, out, [*told, *picture_remarks(result.sequences)])
    print(f"Next: python -m preprocess propagate {out}")


def ingest_archive(
    src: Path,
    *,
    out: Path,
    labels: Path | None = None,
    rois: Path | None = None,
    key: Path | None = None,
    private: Path | None = None,
    apart: Iterable[Path] = (),
    settings: IngestSettings,
) -> Assembly:
    """Read an archive into a cohort; takes and raises what ``ingest`` does.

    Args:
        private: where the private files lie, the key among them: PRIVATE.private.jsonl and so on;
            without it beside the cohort. For a cohort in a folder that is shared as a whole.
        apart: what else may be in the archive and is no part of it.

    Returns:
        What was written, and what a person should know about it.
    """
    private = private or out
    annotations = region_files(rois) if rois else []
    ours = [out, private, journal_path(private), mismatches_path(private), *annotations, *apart]
    listing = discovered(src, [*ours, *(path for path in (labels, key) if path)])
    rows = read_labels(labels, src, listing) if labels else NO_LABELS
    if rows.assumed:
        print(f"{labels}: {'; '.join(rows.assumed)}.")
    drawn = Regions(*read_all_regions(annotations, rois or src), settings.other_frames)
    reused = read_key(key) if key else None
    out.mkdir(parents=True, exist_ok=True)
    with Journal(private, reused) as journal, changing(out):
        if not labels:
            _check_unlabelled(out, journal)
        partials = (out, out / "frames.zarr")
        remove_partials(*partials)
        records = _ingest_files(src, listing, rows, out, journal, settings)
        remove_partials(*partials)
        result = assemble(records, rows.settled(listing), drawn, out, Pseudonyms(journal.key))
        _tell_missing(src, listing, journal, result)
        for note in result.notes:
            journal.note(note)
        told = write_mismatches(private, result.mismatches)
        if hint := drawn.common_offset():
            told.append(hint)
        result.remarks += told
        write_manifest(out, result.manifest)
        if not result.sequences:
            nothing = NOTHING_ACCEPTED.format(src=src, reasons=_rejections(result))
            raise ValueError("\n  ".join([nothing, *told]))
        if rois and not result.lesion_boxes:
            raise ValueError(_no_box(rois, out, drawn, result))
        boxed = {box.sequence_id for box in result.lesion_boxes}
        result.sequences = propose_missing(
            out, result.sequences, boxed, processes=settings.processes
        )
        if reviews := read_reviews(out):
            result.sequences, result.boxes, result.manifest = with_reviews(
                out, reviews, result.sequences, result.boxes, result.manifest
            )
            result.remarks.append(REVIEWED.format(n=len(reviews)))
            write_manifest(out, result.manifest)
        write_annotations(out, result.sequences, result.boxes)
        return result


def _check_unlabelled(out: Path, journal: Journal) -> None:
    """Refuse to take the labels of an earlier run away from its cines."""
    for record in journal.records.values():
        if record.accepted and cine_is_stored(out, record.sequence_id):
            stored = stored_sequence(out, record.sequence_id)
            read = (stored.view, stored.ifr, stored.no_lesion)
            if any(read) or not (stored.phases_proposed or stored.introducing_start is None):
                raise ValueError(
                    f"{out} has the labels of an earlier run, and would lose them. Give --labels "
                    "again, or another --out."
                )


def _ingest_files(
    src: Path,
    listing: FileDiscovery,
    labels: Labels,
    out: Path,
    journal: Journal,
    settings: IngestSettings,
) -> list[Record]:
    """Bring every file into the journal, and return their records in the order of the listing."""
    reading = Reading(src=src.absolute(), out=out.absolute(), size=settings.size)
    finder = Finder(reading, labels, journal)
    records = read_files(
        finder.pending(listing),
        finder,
        reading,
        processes=settings.processes,
        cluster=settings.ray,
    )

    def total() -> int | None:
        return len(listing.names) - finder.finished if listing.is_complete else None

    for record in track(records, total=total, label="files"):
        journal.append(record)
    if finder.finished:
        print(f"{finder.finished} of {len(listing.names)} files were finished by an earlier run.")
    return [journal.records[name] for name in listing.names]


def _tell_missing(src: Path, listing: FileDiscovery, journal: Journal, result: Assembly) -> None:
    """What could not be looked into, and what an earlier run saw that is gone."""
    if listing.closed:
        result.remarks.append(
            f"{len(listing.closed)} folders of {src} are links or could not be opened, and were "
            "not looked into (the private journal says which)"
        )
        result.notes += [f"folder {path} was not looked into" for path in listing.closed]
    gone = [journal.records[name] for name in journal.records.keys() - set(listing.names)]
    kept = {sequence.sequence_id for sequence in result.sequences}
    lost = {r.sequence_id for r in gone if r.accepted and r.sequence_id not in kept}
    if gone:
        result.remarks.append(
            f"{len(gone)} files that an earlier run read are gone from {src}, and with them "
            f"{len(lost)} cines from the cohort (the private journal says which)"
        )
        result.notes += sorted(f"file {record.path} is gone" for record in gone)


def _rejections(result: Assembly) -> str:
    return rejection_counts(row.reason for row in result.manifest if row.status == "rejected")


def _no_box(rois: Path, out: Path, drawn: Regions, result: Assembly) -> str:
    """Why regions were given and none became a box; annotations.json of an earlier run stays."""
    elsewhere = drawn.on_other_sequences(sequence.sequence_id for sequence in result.sequences)
    causes = list(result.remarks)
    if elsewhere:
        causes.append(f"{elsewhere} regions lie on cines that are rejected (manifest.csv says why)")
    if not causes:
        causes.append("its files hold no box that somebody drew on a key frame")
    return "\n  ".join([f"{rois} was read, and no region of it became a box:", *causes]) + (
        f"\nThe frames are stored in {out}. Correct the regions or the labels and give the same "
        "command again: it reads no cine twice. Or leave --rois out."
    )


def _print_outcome(result: Assembly, out: Path, remarks: Iterable[str]) -> None:
    """Tell what was accepted, what was not and why, and where it is."""
    patients = {sequence.patient_id for sequence in result.sequences}
    frames = sum(sequence.length for sequence in result.sequences)
    print(
        f"Accepted {len(result.sequences)} cines of {len(patients)} patients: {frames} frames, "
        f"{len(result.lesion_boxes)} boxes."
    )
    if rejections := _rejections(result):
        print(f"Rejected files:\n{rejections}")
    for remark in remarks:
        print(f"Note: {remark}.")
    print(f"Wrote {out} (frames.zarr, annotations.json, manifest.csv).")
    journal = journal_path(out)
    print(f"Private, to be kept and not to be shared: {journal} (key, files and pseudonyms).")
