"""CADICA (Jimenez-Partinen et al. 2024, arXiv 2402.00570): cines, the best frames labelled.

Layout: ``selectedVideos/pX/{lesionVideos,nonlesionVideos}.txt`` list videos ``vY``; each has
``input/pX_vY_000ZZ.png``, ``pX_vY_selectedFrames.txt`` and, in lesion videos,
``groundtruth/pX_vY_000ZZ.txt`` with lines ``x y w h class``, the class a degree of stenosis.

A video becomes a cine of all its frames. Its optimal interval reaches from the first to the last
selected frame; frames between that were not selected bear no boxes, and no lesion is learned from
them. What comes before counts as introducing, for nobody said that it holds no contrast.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from preprocess.annotations import values
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.regions import Region, from_corners
from preprocess.importers.image_cine import Frame, ImageCine
from preprocess.importers.images import images_below, import_images, require_folder

VIDEOS = "selectedVideos"
LISTS = {"lesionVideos.txt": False, "nonlesionVideos.txt": True}
"""The lists of a patient's videos, and whether theirs bear no lesion."""
NONE = -1
DEGREE = re.compile(r"p\d+(?:_\d+)?")
"""The class of a box: by how many percent the artery is narrower, such as p20_50."""
NUMBER = re.compile(r"(\d+)(?:\.\w+)?$")


def import_cadica(src: Path, out: Path, *, processes: int = 0) -> None:
    """Read CADICA into a cohort.

    Args:
        src: the folder that holds ``selectedVideos``, or that one itself.
        out: the cohort folder to write.
        processes: processes that read images; 0 = one per core.

    Raises:
        ValueError: there is nothing of that layout, or ``out`` holds another cohort.
    """
    require_folder(src)
    folder = src / VIDEOS if (src / VIDEOS).is_dir() else src
    patients = [path for path in folder.glob("*") if any((path / name).is_file() for name in LISTS)]
    if not patients:
        raise ValueError(
            f"{src} is no CADICA folder. Expected {VIDEOS}/p1/lesionVideos.txt or the like in it; "
            "unpack the published archive and give the folder above that."
        )
    mismatches: list[Mismatch] = []
    cines = [cine for patient in sorted(patients) for cine in _cines(patient, mismatches)]
    if not cines:
        raise ValueError(f"{src} lists no video that has images. Unpack the set again, whole.")
    notes = ["the set names no views"]
    if between := sum(map(_unselected_between, cines)):
        notes.append(f"{between} frames lie between selected ones and were not selected themselves")
    import_images(cines, out, processes=processes, notes=notes, mismatches=mismatches)


def _cines(patient: Path, mismatches: list[Mismatch]) -> Iterator[ImageCine]:
    listed: dict[str, bool] = {}
    twice = set()
    for name, no_lesion in LISTS.items():
        for line, video in enumerate(_lines(patient / name), start=1):
            at = partial(Mismatch, file=str(patient / name), line=line, said=video)
            if video in listed:
                twice.add(video)
                mismatches.append(at(kind=Kind.TWO_LABELS))
            elif video and not images_below(patient / video / "input"):
                mismatches.append(at(kind=Kind.NO_IMAGE))
            elif video:
                listed[video] = no_lesion
    for video in sorted(listed.keys() - twice):
        yield ImageCine(
            sequence_id=f"cadica_{patient.name}_{video}",
            patient_id=f"cadica_{patient.name}",
            frames=tuple(_frames(patient / video, mismatches)),
            no_lesion=listed[video],
        )


def _frames(video: Path, mismatches: list[Mismatch]) -> Iterator[Frame]:
    images = {_number(path.name): path for path in images_below(video / "input")}
    images.pop(NONE, None)
    listing = video / f"{video.parent.name}_{video.name}_selectedFrames.txt"
    selected: set[int] = set()
    for line, name in enumerate(_lines(listing), start=1):
        if name and _number(name) in images:
            selected.add(_number(name))
        elif name:
            mismatches.append(Mismatch(file=str(listing), line=line, kind=Kind.NO_IMAGE, said=name))
    for number, path in sorted(images.items()):
        truth = video / "groundtruth" / f"{path.stem}.txt"
        yield Frame(
            path=path,
            regions=tuple(_regions(truth, mismatches)),
            optimal=number in selected,
        )


def _regions(path: Path, mismatches: list[Mismatch]) -> Iterator[Region]:
    for line, text in enumerate(_lines(path), start=1):
        if not text:
            continue
        cells = text.split()
        try:
            x, y, width, height = (
                values.number(cell, "x y w h class", Kind.NO_BOX) for cell in cells[:4]
            )
            box, inverted = from_corners((x, x + width), (y, y + height))
        except ValueError:
            said = f"not x y w h class: {text[:40]!r}"
            mismatches.append(Mismatch(file=str(path), line=line, kind=Kind.NO_BOX, said=said))
            continue
        named = cells[4] if len(cells) > 4 else ""
        grade = named if DEGREE.fullmatch(named) else None
        yield Region(
            places=(),
            box_xyxy=box,
            file=str(path),
            line=line,
            category="" if grade else named,
            grade=grade,
            inverted=inverted,
        )


def _unselected_between(cine: ImageCine) -> int:
    selected = [t for t, frame in enumerate(cine.frames) if frame.optimal]
    return selected[-1] - selected[0] + 1 - len(selected) if selected else 0


def _lines(path: Path) -> list[str]:
    """The lines of a text file; of one that is not there, none."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return [line.strip() for line in text.splitlines()]


def _number(name: str) -> int:
    found = NUMBER.search(name)
    return int(found[1]) if found else NONE
