"""A folder of images with annotations: joined, pseudonymised and imported.

File names and patients' names in such a folder may be those of a hospital. So sequences and
patients get keyed pseudonyms, as in ingest; the key lies in the cohort's private journal, and what
each pseudonym was made from in a private table beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath

from preprocess.annotations.cines import CineNames
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.names import spellings
from preprocess.annotations.region_files import Format, read_content, unreadable
from preprocess.annotations.regions import Place, numbered_name, without_ending
from preprocess.annotations.source_lines import parse_json, parse_xml
from preprocess.dicom.pseudonyms import Pseudonyms, read_key
from preprocess.importers.image_cine import Frame, ImageCine
from preprocess.importers.images import images_below, import_images, require_folder
from preprocess.ingest.journal import OWNER_ONLY, Journal
from preprocess.storage.atomic import write_text
from preprocess.storage.csv_text import csv_text


class GroupBy(StrEnum):
    """What stands for the patient where the annotations name none."""

    IMAGE = "image"
    NAME = "name"
    FOLDER = "folder"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A cine or still as its annotations describe it; ``name`` is its file or video, from ``src``.

    ``patient_id`` and ``view`` are what the annotations say, or empty.
    """

    name: str
    frames: tuple[Frame, ...]
    patient_id: str = ""
    view: str = ""


class AnnotatedFolder:
    """The images of a folder, found by what annotations call them; a cohort in it is none of it."""

    def __init__(self, src: Path, out: Path):
        """Look for images.

        Raises:
            ValueError: there is no such folder, or nothing in it.
        """
        require_folder(src)
        self._src = src
        self._out = out.resolve()
        self._paths = {self.name(path): path for path in images_below(src) if self._is_mine(path)}
        self._names = CineNames()
        self._spelled: dict[tuple[int, str], list[Path]] = defaultdict(list)
        for name, path in self._paths.items():
            self._names.add(name, {name, without_ending(name)})
            for way in enumerate(spellings(name)):
                self._spelled[way].append(path)

    def __len__(self) -> int:
        return len(self._paths)

    def documents(
        self, ending: str, format: Format, mismatches: list[Mismatch]
    ) -> Iterator[tuple[Path, bytes]]:
        """Its annotation files and what is in them, in a fixed order.

        Files of the same ending that hold something else are none of them; one that cannot even
        be told apart, because it is damaged, is a mismatch.

        Args:
            ending: such as ``.json``, in capitals too.
            format: recognises its files by their content.
            mismatches: what is damaged is added here.
        """
        for path in sorted(self._src.rglob("*")):
            if path.suffix.lower() != ending or not path.is_file() or not self._is_mine(path):
                continue
            try:
                content = read_content(path)
                recognised = format.recognises(content)
                if not recognised:
                    _check_well_formed(content, ending)
            except (ValueError, OSError) as problem:
                mismatches.append(unreadable(path, problem))
                continue
            if recognised:
                yield path, content

    def nothing(self, format: str, files: int, name: str, mismatches: Iterable[Mismatch]) -> str:
        """Why nothing of the folder can be imported, without the name of any file."""
        damaged = [mismatch for mismatch in mismatches if mismatch.kind is Kind.UNREADABLE]
        told = f" {len(damaged)} files are damaged; the first: {damaged[0].said}" if damaged else ""
        return (
            f"{self._src} has {files} {format} files and {len(self)} images, but none that belong "
            f"together. Give the folder that holds both; {name} is looked up in it.{told}"
        )

    def name(self, path: Path) -> str:
        """The image's path from the folder, with forward slashes."""
        return path.relative_to(self._src).as_posix()

    def named(self, file_name: str, annotations: Path) -> Path | Kind:
        """The image that an annotation file means, or why that cannot be said.

        It is looked for where annotation tools put images: beside the file, in ``images``, or in a
        folder named after the file; then anywhere, by as much of its path as is known.
        """
        parent = PurePosixPath(annotations.relative_to(self._src).parent.as_posix())
        stem = without_ending(annotations.name)
        for folder in (parent, parent.parent):
            for inner in ("", "images", stem, f"images/{stem}"):
                for way in enumerate(spellings((folder / inner / file_name).as_posix())):
                    if there := self._spelled.get(way):
                        return there[0] if len(there) == 1 else Kind.AMBIGUOUS
        for name in (file_name, without_ending(file_name)):
            place = self._names.meant([Place(name, None)])
            if isinstance(place, Place):
                return self._paths[place.name]
            if place is Kind.AMBIGUOUS:
                return place
        return Kind.NO_IMAGE

    def _is_mine(self, path: Path) -> bool:
        return path.name[0] != "." and self._out not in path.resolve().parents


def import_found(
    found: Iterable[Found],
    out: Path,
    *,
    key: Path | None,
    group_by: GroupBy,
    processes: int,
    notes: list[str],
    mismatches: list[Mismatch],
) -> None:
    """Name what was found by pseudonyms and write the cohort.

    Args:
        found: cines and stills; their names must be unique.
        out: the cohort folder to write.
        key: reuse the pseudonym key in this file.
        group_by: what stands for the patient where none is named.
        processes: processes that read images; 0 = one per core.
        notes: what the user should know, a sentence each.
        mismatches: what was found wrong in the annotations.
    """
    found = [_readable(item) for item in sorted(found, key=lambda item: item.name)]
    links = out.with_name(out.name + ".links.private.csv")
    with Journal(out, read_key(key) if key else None) as journal:
        pseudonyms = Pseudonyms(journal.key)
        cines = [
            ImageCine(
                sequence_id=pseudonyms.sequence(item.name),
                patient_id=pseudonyms.patient(item.patient_id or _group(item, group_by)),
                frames=item.frames,
                view=item.view or None,
            )
            for item in found
        ]
        write_text(links, _table(cines, found), mode=OWNER_ONLY)
        private = f"private, to be kept and not to be shared: {journal.path} (key), {links} (names)"
        said = [*notes, *_patients(found, group_by), private]
        import_images(
            cines,
            out,
            processes=processes,
            pseudonyms=pseudonyms,
            notes=said,
            mismatches=mismatches,
        )


def _check_well_formed(content: bytes, ending: str) -> None:
    """Raises ValueError where a file that is no annotation may be what is left of one."""
    if ending == ".json":
        parse_json(content, depth=0)
    else:
        parse_xml(content)


def _readable(item: Found) -> Found:
    """The same with names that every encoding can write."""
    name, patient_id, view = (
        text.encode("utf-8", "backslashreplace").decode()
        for text in (item.name, item.patient_id, item.view)
    )
    return replace(item, name=name, patient_id=patient_id, view=view)


def _table(cines: Iterable[ImageCine], found: Iterable[Found]) -> str:
    """What each pseudonym was made from, as CSV."""
    columns = ("sequence_id", "patient_id", "name", "named_patient")
    rows = (
        (cine.sequence_id, cine.patient_id, item.name, item.patient_id)
        for cine, item in zip(cines, found, strict=True)
    )
    return csv_text(columns, rows)


def _group(item: Found, group_by: GroupBy) -> str:
    """What stands for the patient; never the same text as a patient's name could be."""
    path = PurePosixPath(item.name)
    numbered = numbered_name(without_ending(item.name))
    if group_by is GroupBy.FOLDER:
        return f"folder\0{path.parent}"
    if group_by is GroupBy.NAME and numbered and numbered[0]:
        return f"name\0{numbered[0]}"
    return f"image\0{item.name}"


def _patients(found: list[Found], group_by: GroupBy) -> Iterator[str]:
    nameless = sum(not item.patient_id for item in found)
    if not nameless:
        return
    what = {
        GroupBy.IMAGE: "each counts as one; splits cannot keep a patient's images together, and "
        "results on them are optimistic (--group_by name or folder keeps more of them together)",
        GroupBy.NAME: "those whose names differ in a trailing number only count as one",
        GroupBy.FOLDER: "those of one folder count as one",
    }
    yield f"{nameless} of {len(found)} images or videos name no patient: {what[group_by]}"
