"""Danilov et al. 2021 (doi 10.17632/ydrm75xywg): frames of cines, a box drawn on every one.

Layout: images ``14_PATIENT_SEQUENCE_FRAME.bmp`` (or as JPEG or PNG), each with a Pascal VOC
``.xml`` of the same name, or all in one CSV ``filename,width,height,class,xmin,ymin,xmax,ymax``,
as the set is often passed on. Corners are taken as they are written, from 0, as VOC's are.

Every published frame is filled with contrast, so all of a cine is its optimal interval. Frames lie
in the order of their numbers; where the set leaves some out, their neighbours follow each other.
The manifest has one row per image, in the same order.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from preprocess.annotations import values
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.region_files import read_regions, unreadable
from preprocess.annotations.regions import Region, from_corners
from preprocess.importers.image_cine import Frame, ImageCine
from preprocess.importers.images import images_below, import_images, require_folder
from preprocess.importers.table import read_table

NAME = re.compile(r"(\d+)_(\d+)_(\d+)_(\d+)")
COLUMNS = ("filename", "xmin", "ymin", "xmax", "ymax")

_Drawn = dict[str, list[Region]]
"""The regions of a frame by the name of its image, without the ending."""


def import_danilov(src: Path, out: Path, *, processes: int = 0) -> None:
    """Read the set of Danilov et al. into a cohort.

    Args:
        src: the folder of the images and their labels.
        out: the cohort folder to write.
        processes: processes that read images; 0 = one per core.

    Raises:
        ValueError: there is nothing of that layout, or ``out`` holds another cohort.
    """
    require_folder(src)
    mismatches: list[Mismatch] = []
    drawn = _drawn(src, mismatches)
    images: dict[str, Path] = {}
    for path in images_below(src):
        if NAME.fullmatch(path.stem):
            images.setdefault(path.stem, path)  # .bmp comes before what was made of it
    if not images.keys() & drawn.keys():
        damaged = [mismatch.said for mismatch in mismatches if mismatch.kind is Kind.UNREADABLE]
        told = f" {len(damaged)} files are damaged; the first: {damaged[0]}" if damaged else ""
        raise ValueError(
            f"{src} has {len(images)} images named 14_PATIENT_SEQUENCE_FRAME and labels of "
            f"{len(drawn)}, but no image with its label. Give the folder that holds both: .bmp and "
            f".xml files as published, or images and one CSV with {', '.join(COLUMNS)}.{told}"
        )
    for name in sorted(drawn.keys() - images.keys()):
        for region in drawn[name][:1]:
            at = Mismatch(file=region.file, line=region.line, kind=Kind.NO_IMAGE, said=name)
            mismatches.append(at)
    cines: dict[str, dict[int, Frame]] = defaultdict(dict)
    for name in images.keys() & drawn.keys():
        cine, _, number = name.rpartition("_")
        cines[cine][int(number)] = Frame(path=images[name], regions=tuple(drawn[name]))
    import_images(
        [_cine(name, frames) for name, frames in sorted(cines.items())],
        out,
        processes=processes,
        notes=_notes(cines, unlabelled=len(images.keys() - drawn.keys())),
        mismatches=mismatches,
    )


def _cine(name: str, frames: Mapping[int, Frame]) -> ImageCine:
    return ImageCine(
        sequence_id=f"danilov_{name}",
        patient_id=f"danilov_{name.rpartition('_')[0]}",
        frames=tuple(frames[number] for number in sorted(frames)),
    )


def _notes(cines: Mapping[str, Mapping[int, Frame]], *, unlabelled: int) -> list[str]:
    gaps = [max(frames) - min(frames) + 1 - len(frames) for frames in cines.values()]
    notes = ["the set names no views"]
    if missing := sum(gaps):
        cut = sum(gap > 0 for gap in gaps)
        notes.append(f"{cut} sequences have gaps, {missing} frames in all; none was split")
    if unlabelled:
        notes.append(f"{unlabelled} images have no label and are left out")
    return notes


def _drawn(src: Path, mismatches: list[Mismatch]) -> _Drawn:
    """Every label of the set; of an image that has both, its own file counts."""
    drawn: _Drawn = defaultdict(list)
    for path in sorted(src.rglob("*.csv")):
        try:
            labels = list(_from_csv(path, mismatches))
        except (ValueError, OSError) as problem:
            mismatches.append(unreadable(path, problem))
            continue
        for name, region in labels:
            drawn[name].append(region)
    for path in sorted(src.rglob("*.xml")):
        if NAME.fullmatch(path.stem):
            try:
                found = read_regions(path)
            except (ValueError, OSError) as problem:
                mismatches.append(unreadable(path, problem))
                continue
            drawn[path.stem] = [item for item in found if isinstance(item, Region)]
            mismatches += [item for item in found if isinstance(item, Mismatch)]
    return drawn


def _from_csv(path: Path, mismatches: list[Mismatch]) -> Iterator[tuple[str, Region]]:
    for line, row in read_table(path, COLUMNS, mismatches):
        name = Path(row["filename"]).stem
        at = partial(Mismatch, file=str(path), line=line)
        try:
            x1, y1, x2, y2 = (
                values.number(row[column], column, Kind.NO_BOX) for column in COLUMNS[1:]
            )
            box, inverted = from_corners((x1, x2), (y1, y2))
            picture_size = values.size(row.get("width"), row.get("height"))
        except values.EntryError as problem:
            mismatches.append(at(kind=problem.kind, said=str(problem)))
            continue
        if not NAME.fullmatch(name):
            mismatches.append(at(kind=Kind.NO_BOX, said="no file name of the set"))
            continue
        yield (
            name,
            Region(
                places=(),
                box_xyxy=box,
                file=str(path),
                line=line,
                category=row.get("class", ""),
                inverted=inverted,
                picture_size=picture_size,
            ),
        )
