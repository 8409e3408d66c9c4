"""A folder of images with one or several COCO JSON files, in the plain or the video dialect.

Images with a ``video_id`` are the frames of that cine, in the order of ``frame_index`` or
``frame_id``; any other image is a still. ``patient_id`` and ``view`` of an image or its video are
taken where they are given. Where some categories are called stenosis or lesion, only those count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from preprocess.annotations import coco, values
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.region_files import unreadable
from preprocess.annotations.regions import Region
from preprocess.annotations.values import EntryError
from preprocess.importers.annotated_folder import AnnotatedFolder, Found, GroupBy, import_found
from preprocess.importers.image_cine import Frame


@dataclass(kw_only=True)
class _Image:
    """What all files together say of one image."""

    video: str = ""
    order: tuple[int, int] = (0, 0)
    patient_id: str = ""
    view: str = ""
    regions: list[Region] = field(default_factory=list)


def import_coco(
    src: Path,
    out: Path,
    *,
    key: Path | None = None,
    group_by: GroupBy = GroupBy.IMAGE,
    processes: int = 0,
) -> None:
    """Read a folder of images and COCO files into a cohort.

    Args:
        src: the folder that holds both, at any depth.
        out: the cohort folder to write.
        key: reuse the pseudonym key in this file.
        group_by: what stands for the patient where none is named.
        processes: processes that read images; 0 = one per core.

    Raises:
        ValueError: there is no COCO file, it names no image that is there, or ``out`` holds
            another cohort.
    """
    files = AnnotatedFolder(src, out)
    images: dict[Path, _Image] = defaultdict(_Image)
    mismatches: list[Mismatch] = []
    documents = 0
    for path, content in files.documents(".json", coco, mismatches):
        documents += 1
        try:
            _read(path, coco.read_document(content), files, images, mismatches)
        except ValueError as problem:
            mismatches.append(unreadable(path, problem))
    if not images:
        raise ValueError(files.nothing("COCO", documents, "file_name", mismatches))
    import_found(
        _found(images, files),
        out,
        key=key,
        group_by=group_by,
        processes=processes,
        notes=[],
        mismatches=mismatches,
    )


def _read(
    path: Path,
    document: coco.Document,
    files: AnnotatedFolder,
    images: dict[Path, _Image],
    mismatches: list[Mismatch],
) -> None:
    """Add what one document says to ``images``."""
    there: dict[int, _Image] = {}
    for position, entry in enumerate(document.images):
        file_name = str(entry.get("file_name") or "")
        at = partial(
            Mismatch, file=str(path), line=entry.line, entry=f"image {entry.get('id')}"[:80]
        )
        image = files.named(file_name, path)
        if isinstance(image, Kind):
            mismatches.append(at(kind=image, said=repr(file_name)))
            continue
        try:
            video = document.video(entry)
            number = coco.frame_number(entry) if video else None
        except EntryError as problem:
            mismatches.append(at(kind=problem.kind, said=str(problem)))
            continue
        known = there[id(entry)] = images[image]
        if video:
            video_id = values.identifier(entry["video_id"], "video_id")
            known.video = f"{files.name(path)} {video_id}"
        known.order = (position if number is None else number, position)
        known.patient_id = known.patient_id or _text(entry, video, "patient_id")
        known.view = known.view or _text(entry, video, "view")
    for annotation in coco.entries(document, str(path)):
        if isinstance(annotation, Mismatch):
            mismatches.append(annotation)
        elif drawn_on := there.get(id(annotation.image)):
            drawn_on.regions.append(annotation.region)


def _text(entry: dict[str, Any], video: dict[str, Any], name: str) -> str:
    said = next((item[name] for item in (entry, video) if item.get(name) is not None), "")
    return str(said).strip()


def _found(images: dict[Path, _Image], files: AnnotatedFolder) -> Iterator[Found]:
    cines: dict[str, list[Path]] = defaultdict(list)
    for path, image in images.items():
        cines[image.video or files.name(path)].append(path)
    for name, paths in cines.items():
        paths.sort(key=lambda path: images[path].order)
        yield Found(
            name=name,
            frames=tuple(Frame(path=path, regions=tuple(images[path].regions)) for path in paths),
            patient_id=images[paths[0]].patient_id,
            view=images[paths[0]].view,
        )
