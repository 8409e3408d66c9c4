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

    patient_id: str = ""
    view: str = ""
    video: tuple[str, str] | None = None
    """A file, and the id of a video in it."""
    number: int | None = None
    """Of the frame in its video."""
    position: int = 0
    """In its file."""
    regions: list[Region] = field(default_factory=list)
    is_contradictory: bool = False

    @property
    def order(self) -> tuple[int, int]:
        """Where it stands in its video."""
        return (self.position if self.number is None else self.number, self.position)

    def add(self, other: _Image) -> bool:
        """Add what another entry says; whether both can be true."""
        for name in ("patient_id", "view", "number"):
            known, said = getattr(self, name), getattr(other, name)
            if known in (None, ""):
                setattr(self, name, said)
            elif said not in (None, "", known):
                return False
        # What another file calls the video says nothing: each numbers its own.
        if self.video and other.video and self.video[0] == other.video[0]:
            return self.video == other.video
        self.video = other.video or self.video
        self.position = other.position
        return True


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
        list(_found(images, files, mismatches)),
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
        said = _Image(
            patient_id=_text(entry, video, "patient_id"),
            view=_text(entry, video, "view"),
            video=(files.name(path), values.identifier(entry["video_id"], "video_id"))
            if video
            else None,
            number=number,
            position=position,
        )
        known = there[id(entry)] = images[image]
        if not known.add(said):
            known.is_contradictory = True
            mismatches.append(at(kind=Kind.TWO_DESCRIPTIONS))
    for annotation in coco.entries(document, str(path)):
        if isinstance(annotation, Mismatch):
            mismatches.append(annotation)
        elif drawn_on := there.get(id(annotation.image)):
            drawn_on.regions.append(annotation.region)


def _text(entry: dict[str, Any], video: dict[str, Any], name: str) -> str:
    said = next((item[name] for item in (entry, video) if item.get(name) is not None), "")
    return str(said).strip()


def _found(
    images: dict[Path, _Image], files: AnnotatedFolder, mismatches: list[Mismatch]
) -> Iterator[Found]:
    cines: dict[str, list[Path]] = defaultdict(list)
    for path, image in images.items():
        if not image.is_contradictory:
            cines[" ".join(image.video) if image.video else files.name(path)].append(path)
    for name, paths in cines.items():
        said = [(images[path].patient_id, images[path].view) for path in paths]
        patients, views = ({text for text in texts if text} for texts in zip(*said, strict=True))
        if len(patients) > 1 or len(views) > 1:
            mismatches.append(Mismatch(file=name, line=0, kind=Kind.TWO_DESCRIPTIONS))
            continue
        paths.sort(key=lambda path: images[path].order)
        yield Found(
            name=name,
            frames=tuple(Frame(path=path, regions=tuple(images[path].regions)) for path in paths),
            patient_id="".join(patients),
            view="".join(views),
        )
