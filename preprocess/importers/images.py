"""The import of image files into a cohort, as all public sets share it.

A set's own module says which files make a cine, whose it is and what is drawn on it; this one
reads the images in parallel, stores each cine whole, numbers the lesions and writes the cohort.
It works on one cine per process at a time. A cine that is stored already is not decoded again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from preprocess.annotations.mismatches import Kind, Mismatch, write_mismatches
from preprocess.annotations.region_matching import mismatch, of_lesions
from preprocess.cohort import (
    Box,
    Cohort,
    name_no_patients,
    read_manifest,
    write_annotations,
    write_manifest,
)
from preprocess.cohort.pictures import picture_remarks
from preprocess.cohort.reviews import changing, read_reviews, with_reviews
from preprocess.console.progress import track
from preprocess.console.words import counted
from preprocess.console.workers import map_unordered
from preprocess.dicom.pseudonyms import Pseudonyms
from preprocess.importers.image_cine import PUBLIC, ImageCine, Imported, crashed, import_cine
from preprocess.ingest.assembly import rejection_counts
from preprocess.storage.atomic import remove_partials

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")


def require_folder(src: Path) -> None:
    """Check what the user gave as the folder of a data set.

    Raises:
        ValueError: there is no such folder, or nothing in it.
    """
    if not src.is_dir():
        found = "is a file, not a folder" if src.is_file() else "does not exist"
    elif not any(src.iterdir()):
        found = "is an empty folder"
    else:
        return
    raise ValueError(f"{src} {found}. Give the folder that holds the images and annotations.")


def images_below(folder: Path) -> list[Path]:
    """Every image file of a folder and those below it, in a fixed order."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    return sorted(path for path in found if path.name[0] != "." and path.is_file())


def import_images(
    cines: Sequence[ImageCine],
    out: Path,
    *,
    processes: int,
    pseudonyms: Pseudonyms = PUBLIC,
    notes: Iterable[str] = (),
    mismatches: Iterable[Mismatch] = (),
) -> None:
    """Write a cohort of image files, and tell what became of them.

    Args:
        cines: what there is; their ids must be unique.
        out: the cohort folder to write.
        processes: processes that read images; 0 = one per core.
        pseudonyms: by which the manifest names files.
        notes: what the user should know about the set, a sentence each.
        mismatches: what was found wrong in the annotations already.

    Raises:
        ValueError: no image could be read, or ``out`` holds another cohort.
    """
    out.mkdir(parents=True, exist_ok=True)
    with changing(out):
        _import_images(cines, out, processes, pseudonyms, notes, mismatches)


def _import_images(
    cines: Sequence[ImageCine],
    out: Path,
    processes: int,
    pseudonyms: Pseudonyms,
    notes: Iterable[str],
    mismatches: Iterable[Mismatch],
) -> None:
    _check_free(out, {cine.sequence_id for cine in cines})
    remove_partials(out, out / "frames.zarr")
    mismatches = list(mismatches)
    cines = _of_lesions(cines, mismatches)
    work = partial(import_cine, out=out, pseudonyms=pseudonyms)
    known = _stored_files(out)
    tasks = (replace(cine, stored_files=tuple(known[cine.sequence_id])) for cine in cines)
    results = map_unordered(work, tasks, processes=processes, died=crashed)
    imported = sorted(
        track(results, total=len(cines), label="sequences"),
        key=lambda item: item.rows[0].sequence_id,
    )
    write_manifest(out, (row for item in imported for row in item.rows))
    found = [*mismatches, *(mismatch for item in imported for mismatch in item.mismatches)]
    remarks = write_mismatches(out, found)
    kept = [item.sequence for item in imported if item.sequence]
    if not kept:
        said = f"none of the {len(imported)} images could be read or kept"
        raise ValueError("; ".join([said, *remarks]) + ".")
    boxes = list(_numbered(imported))
    if reviews := read_reviews(out):
        rows = (row for item in imported for row in item.rows)
        kept, boxes, manifest = with_reviews(out, reviews, kept, boxes, rows)
        write_manifest(out, manifest)
    write_annotations(out, kept, boxes)
    _print_outcome(imported, [*notes, *remarks, *picture_remarks(kept)], out)


def _of_lesions(cines: Sequence[ImageCine], mismatches: list[Mismatch]) -> list[ImageCine]:
    """The cines with the regions of stenoses alone; what is left out is added to ``mismatches``.

    A cine without lesions, as the set says, that bears some is left out too.
    """
    drawn = of_lesions(
        {(c.sequence_id, t): frame.regions for c in cines for t, frame in enumerate(c.frames)},
        mismatches,
    )
    kept = []
    for cine in cines:
        frames = tuple(
            replace(frame, regions=tuple(drawn[cine.sequence_id, t]))
            for t, frame in enumerate(cine.frames)
        )
        lesions = [region for frame in frames for region in frame.regions if not region.ignored]
        if cine.no_lesion and lesions:
            mismatches.append(mismatch(lesions[0], Kind.NO_LESION))
        else:
            kept.append(replace(cine, frames=frames))
    return kept


def _stored_files(out: Path) -> dict[str, list[str]]:
    """The names of the files that an earlier run took, by sequence and in order."""
    files: dict[str, list[str]] = defaultdict(list)
    for row in read_manifest(out):
        if row.status == "accepted":
            files[row.sequence_id].append(row.hmac_sha256)
    return files


def _numbered(imported: Iterable[Imported]) -> Iterator[Box]:
    """All boxes, their lesions numbered through the cohort."""
    before = 0
    for item in imported:
        yield from (
            box if box.ignored else replace(box, instance_id=before + box.instance_id)
            for box in item.boxes
        )
        before += max((box.instance_id for box in item.boxes), default=0)


def _check_free(out: Path, ids: set[str]) -> None:
    if (out / "annotations.json").is_file() and (others := Cohort.open(out).sequences.keys() - ids):
        raise ValueError(
            f"{out} holds another cohort ({len(others)} sequences that are not of this set). "
            "Choose another --out."
        )


def _print_outcome(imported: Sequence[Imported], notes: Iterable[str], out: Path) -> None:
    kept = [item.sequence for item in imported if item.sequence]
    boxes = [box for item in imported for box in item.boxes if not box.ignored]
    lesions = {(box.sequence_id, box.instance_id) for box in boxes}
    patients = counted(len({sequence.patient_id for sequence in kept}), "patient")
    of_whom = f"{counted(len(kept), 'sequence')} of {patients}"
    if name_no_patients(kept):
        of_whom = f"{len(kept)} stills whose sources name no patients"
    print(
        f"Imported {of_whom}: "
        f"{sum(s.length for s in kept)} frames, {len(boxes)} boxes of {len(lesions)} lesions."
    )
    if views := Counter(s.view for s in kept if s.view):
        shares = ", ".join(f"{count} {view}" for view, count in sorted(views.items()))
        print(f"Views: {shares}, {len(kept) - sum(views.values())} without.")
    if reasons := [row.reason for item in imported for row in item.rows if row.reason]:
        print(f"Rejected images:\n{rejection_counts(reasons)}")
    for note in notes:
        print(f"Note: {note}.")
    print(f"Wrote {out} (frames.zarr, annotations.json, manifest.csv).")
    print(f"Next: python -m preprocess summary {out}")
