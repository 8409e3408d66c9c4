"""ARCADE (Popov et al. 2024, doi 10.1038/s41597-023-02871-z): stills with stenoses or segments.

Layout: ``{stenosis,syntax}/{train,val,test}/`` with ``images/`` and ``annotations/SPLIT.json`` in
COCO form, or for syntax a ``views.csv`` (file_name, view). An image becomes a cine of one optimal
frame. The set names no patient, so every image is a patient of its own; that cannot keep one
patient's images together in a split.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.annotations.regions import Region
from preprocess.cohort import (
    Box,
    Cohort,
    ManifestRow,
    Sequence,
    cine_is_stored,
    frames_digest,
    store_cine,
    stored_sequence,
    update_attributes,
    write_annotations,
    write_manifest,
)
from preprocess.display import Display
from preprocess.progress import track
from preprocess.workers import map_unordered

NAME = "arcade"
TASKS = ("stenosis", "syntax")
SPLITS = ("train", "val", "test")
STENOSIS = "stenosis"
RCA_SEGMENTS = {"1", "2", "3", "4", "16", "16a", "16b", "16c"}
"""SYNTAX segments of the right coronary artery; all others belong to the left."""


@dataclass(frozen=True, kw_only=True)
class _Still:
    """One published image and what is said about it."""

    path: Path
    sequence_id: str
    view: str | None = None
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Imported:
    """What became of a still; ``sequence`` is None where it was rejected."""

    row: ManifestRow
    sequence: Sequence | None = None
    boxes: tuple[Box, ...] = ()


def import_arcade(src: Path, out: Path, *, processes: int = 0) -> None:
    """Read an ARCADE folder into a cohort.

    Args:
        src: the folder that holds ``stenosis`` or ``syntax``.
        out: the cohort folder to write.
        processes: processes that read images; 0 = one per core.

    Raises:
        ValueError: there is nothing of that layout, or ``out`` holds another cohort.
    """
    stills = [still for folder in _folders(src) for still in _stills(folder)]
    if not stills:
        raise ValueError(f"{src} names no images in its annotations. Unpack the set again, whole.")
    _check_free(out)
    work = partial(_import_still, out=out)
    died = partial(_rejected, reason="damaged: the decoder crashed on it")
    results = map_unordered(work, stills, processes=processes, died=died)
    imported = sorted(
        track(results, total=len(stills), label="images"), key=lambda item: item.row.sequence_id
    )
    write_manifest(out, (item.row for item in imported))
    kept = [item for item in imported if item.sequence is not None]
    if not kept:
        raise ValueError(f"none of the {len(stills)} images of {src} could be read.")
    boxes = [box for item in kept for box in item.boxes]
    numbered = [replace(box, instance_id=i) for i, box in enumerate(boxes, start=1)]
    write_annotations(out, [item.sequence for item in kept if item.sequence], numbered)
    _tell(imported, len(boxes), out)


def _folders(src: Path) -> list[Path]:
    folders = [src / task / split for task in TASKS for split in SPLITS]
    found = [folder for folder in folders if (folder / "images").is_dir()]
    if not found:
        raise ValueError(
            f"{src} is no ARCADE folder. Expected stenosis/train/images, syntax/val/images or the "
            "like in it; unpack the published archive and give the folder above those."
        )
    return found


def _stills(folder: Path) -> Iterator[_Still]:
    """Every image that the annotations or views of one split name, joined by file name."""
    task, split = folder.parts[-2:]
    path = folder / "annotations" / f"{split}.json"
    views = folder / "views.csv"
    if path.is_file():
        named = _from_coco(path, with_view=task != STENOSIS)
    elif views.is_file():
        with views.open(newline="", encoding="utf-8") as file:
            named = {row["file_name"]: (row["view"], ()) for row in csv.DictReader(file)}
    else:
        raise ValueError(f"{folder} has neither annotations/{split}.json nor views.csv.")
    for file_name, (view, regions) in named.items():
        yield _Still(
            path=folder / "images" / file_name,
            sequence_id=f"{NAME}_{task}_{split}_{Path(file_name).stem}",
            view=view,
            regions=regions,
        )


_Said = Mapping[str, tuple[str | None, tuple[Region, ...]]]
"""View and stenoses by file name."""


def _from_coco(path: Path, *, with_view: bool) -> _Said:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        category = {c["id"]: str(c["name"]) for c in document["categories"]}
        # In val and test the image id is not the number in the file name.
        file_name = {image["id"]: image["file_name"] for image in document["images"]}
        segments: dict[str, set[str]] = defaultdict(set)
        regions: dict[str, list[Region]] = defaultdict(list)
        for annotation in document["annotations"]:
            name = file_name[annotation["image_id"]]
            segments[name].add(category[annotation["category_id"]])
            if category[annotation["category_id"]] == STENOSIS:
                regions[name].append(_region(annotation["bbox"]))
    except (ValueError, KeyError, TypeError) as problem:
        raise ValueError(
            f"{path} is not the COCO file that ARCADE publishes ({problem!r}). Unpack it again."
        ) from problem
    return {
        name: (_view(segments[name]) if with_view else None, tuple(regions[name]))
        for name in file_name.values()
    }


def _view(segments: set[str]) -> str | None:
    if not segments - {STENOSIS}:
        return None
    return "RCA" if segments & RCA_SEGMENTS else "LCA"


def _region(bbox: list[float]) -> Region:
    x, y, width, height = bbox
    return Region(places=(), box_xyxy=(x, y, x + width, y + height))


def _import_still(still: _Still, *, out: Path) -> _Imported:
    """Store one image, in a worker; one that is stored already is not decoded again."""
    if not still.path.is_file():
        return _rejected(still, reason="the annotations name it, but there is no such image")
    sha256 = hashlib.sha256(still.path.read_bytes()).hexdigest()
    if cine_is_stored(out, still.sequence_id):
        sequence = replace(stored_sequence(out, still.sequence_id), view=still.view)
        update_attributes(out, sequence)
    else:
        picture = _grey(still.path)
        if picture is None:
            return _rejected(still, reason="not readable as an 8-bit image", sha256=sha256)
        sequence = _sequence(still, picture)
        store_cine(out, sequence, picture[None])
    boxes = tuple(
        Box(sequence_id=still.sequence_id, frame_index=0, box_xyxy=box, instance_id=0)
        for region in still.regions
        if (box := region.within(width=sequence.width, height=sequence.height))
    )
    row = ManifestRow(
        sha256=sha256,
        status="accepted",
        sequence_id=still.sequence_id,
        patient_id=sequence.patient_id,
        view=still.view or "",
        reference_boxes=len(boxes),
    )
    return _Imported(row=row, sequence=sequence, boxes=boxes)


def _grey(path: Path) -> NDArray[np.uint8] | None:
    """The image as uint8[H, W]; colour, where some files have it, by its luminance."""
    picture: NDArray[Any] | None = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.dtype != np.uint8:
        return None
    if picture.ndim == 2:
        return picture
    colour = picture[..., :3]
    if picture.shape[2] < 3 or (colour == colour[..., :1]).all():
        return np.ascontiguousarray(picture[..., 0])
    return np.asarray(cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY), np.uint8)


def _sequence(still: _Still, picture: NDArray[np.uint8]) -> Sequence:
    height, width = picture.shape
    return Sequence(
        sequence_id=still.sequence_id,
        patient_id=still.sequence_id,
        view=still.view,
        length=1,
        height=height,
        width=width,
        bits_stored=8,
        display=Display(lower=0, upper=255),
        frames_sha256=frames_digest(picture[None]),
        introducing_start=0,
        optimal_start=0,
        vanishing_start=1,
        reference_frame=0,
    )


def _rejected(still: _Still, *, reason: str, sha256: str = "") -> _Imported:
    return _Imported(
        row=ManifestRow(
            sha256=sha256,
            status="rejected",
            reason=reason,
            sequence_id=still.sequence_id,
            view=still.view or "",
            reference_boxes=len(still.regions),
        )
    )


def _check_free(out: Path) -> None:
    if (out / "annotations.json").is_file():
        others = [name for name in Cohort.open(out).sequences if not name.startswith(f"{NAME}_")]
        if others:
            raise ValueError(
                f"{out} holds another cohort ({len(others)} sequences that are not ARCADE's). "
                "Choose another --out."
            )
    out.mkdir(parents=True, exist_ok=True)


def _tell(imported: list[_Imported], boxes: int, out: Path) -> None:
    kept = [item.sequence for item in imported if item.sequence]
    with_view = sum(sequence.view is not None for sequence in kept)
    print(f"Imported {len(kept)} images: {boxes} stenosis boxes, {with_view} with a view.")
    for item in imported:
        if item.sequence is None:
            print(f"Rejected {item.row.sequence_id}: {item.row.reason}.")
    print("Note: the set names no patient, so each image counts as one; splits cannot keep a")
    print("patient's images together, and results on them are optimistic.")
    print(f"Wrote {out} (frames.zarr, annotations.json, manifest.csv).")
    print(f"Next: python -m preprocess summary {out}")
