"""ARCADE (Popov et al. 2024, doi 10.1038/s41597-023-02871-z): stills with stenoses or segments.

Layout: ``{stenosis,syntax}/{train,val,test}/`` with ``images/`` and ``annotations/SPLIT.json`` in
COCO form, or for syntax a ``views.csv`` (file_name, view). An image becomes a cine of one optimal
frame. The set names no patient, so every image is a patient of its own; that cannot keep one
patient's images together in a split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from preprocess.annotations import coco
from preprocess.annotations.categories import is_lesion
from preprocess.annotations.mismatches import Mismatch
from preprocess.annotations.region_files import read_content, unreadable
from preprocess.annotations.regions import Region
from preprocess.importers.image_cine import Frame, ImageCine
from preprocess.importers.images import import_images, require_folder
from preprocess.importers.table import read_table

TASKS = ("stenosis", "syntax")
SPLITS = ("train", "val", "test")
STENOSIS = "stenosis"
RCA_SEGMENTS = {"1", "2", "3", "4", "16", "16a", "16b", "16c"}
"""SYNTAX segments of the right coronary artery; all others belong to the left."""
NO_PATIENTS = (
    "the set names no patient, so each image counts as one; splits cannot keep a patient's images "
    "together, and results on them are optimistic"
)

_Said = Mapping[str, tuple[str | None, tuple[Region, ...]]]
"""View and stenoses by file name."""


def import_arcade(src: Path, out: Path, *, processes: int = 0) -> None:
    """Read an ARCADE folder into a cohort.

    Args:
        src: the folder that holds ``stenosis`` or ``syntax``.
        out: the cohort folder to write.
        processes: processes that read images; 0 = one per core.

    Raises:
        ValueError: there is nothing of that layout, or ``out`` holds another cohort.
    """
    require_folder(src)
    mismatches: list[Mismatch] = []
    stills = [still for folder in _folders(src) for still in _stills(folder, mismatches)]
    if not stills:
        damaged = "".join(f" ({mismatch.said})" for mismatch in mismatches[:1])
        raise ValueError(
            f"{src} names no images in its annotations{damaged}. Unpack the set again, whole."
        )
    import_images(stills, out, processes=processes, notes=[NO_PATIENTS], mismatches=mismatches)


def _folders(src: Path) -> list[Path]:
    folders = [src / task / split for task in TASKS for split in SPLITS]
    found = [folder for folder in folders if (folder / "images").is_dir()]
    if not found:
        raise ValueError(
            f"{src} is no ARCADE folder. Expected stenosis/train/images, syntax/val/images or the "
            "like in it; unpack the published archive and give the folder above those."
        )
    return found


def _stills(folder: Path, mismatches: list[Mismatch]) -> Iterator[ImageCine]:
    """Every image that the annotations or views of one split name, joined by file name."""
    task, split = folder.parts[-2:]
    path = folder / "annotations" / f"{split}.json"
    views = folder / "views.csv"
    try:
        if path.is_file():
            named = _from_coco(path, mismatches, with_view=task != STENOSIS)
        elif views.is_file():
            named = _from_views(views, mismatches)
        else:
            raise ValueError(f"neither annotations/{split}.json nor views.csv is there")
    except (ValueError, OSError) as problem:
        mismatches.append(unreadable(path if path.is_file() else views, problem))
        return
    for file_name, (view, regions) in named.items():
        name = f"arcade_{task}_{split}_{Path(file_name).stem}"
        yield ImageCine(
            sequence_id=name,
            patient_id=name,
            view=view,
            part=split,
            frames=(Frame(path=folder / "images" / file_name, regions=regions),),
        )


def _from_views(path: Path, mismatches: list[Mismatch]) -> _Said:
    rows = [row for _, row in read_table(path, ["file_name", "view"], mismatches)]
    if not rows or any(not row["file_name"] for row in rows):
        raise ValueError("a row, or its 'file_name' (and 'view'), is not there")
    return {row["file_name"]: (row["view"] or None, ()) for row in rows}


def _from_coco(path: Path, mismatches: list[Mismatch], *, with_view: bool) -> _Said:
    try:
        document = coco.read_document(read_content(path))
        names = [str(image["file_name"]) for image in document.images]
        if not names:
            raise ValueError("it lists no images")
    except (ValueError, KeyError) as problem:
        raise ValueError(f"not the COCO file that ARCADE publishes: {problem}") from problem
    segments: dict[str, set[str]] = defaultdict(set)
    regions: dict[str, list[Region]] = defaultdict(list)
    for entry in coco.entries(document, str(path)):
        if isinstance(entry, Mismatch):
            mismatches.append(entry)
            continue
        # In val and test the image id is not the number in the file name.
        name, region = str(entry.image["file_name"]), entry.region
        if with_view and not is_lesion(region.category):
            segments[name].add(region.category)
        else:
            regions[name].append(region)
    return {
        name: (_view(segments[name]) if with_view else None, tuple(regions[name])) for name in names
    }


def _view(segments: set[str]) -> str | None:
    if not segments:
        return None
    return "RCA" if segments & RCA_SEGMENTS else "LCA"
