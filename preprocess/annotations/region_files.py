"""Files of regions, read by whichever format recognises their content."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from preprocess.annotations import coco, cvat, osirix, voc
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.regions import Place, Region, without_ending


class Format(Protocol):
    """A format of annotation files."""

    def recognises(self, content: bytes) -> bool: ...

    def parse(self, content: bytes, name: str) -> Iterator[Region | Mismatch]: ...

    def shown(self, content: bytes, name: str) -> Iterator[tuple[Place, ...]]:
        """The frames that a file shows (None = all of a cine): what is not drawn there is not
        there."""


FORMATS: dict[str, Format] = {
    "OsiriX/Horos ROI export (XML or JSON)": osirix,
    "COCO JSON": coco,
    "Pascal VOC XML": voc,
    "CVAT for video 1.1 XML": cvat,
}
ENDINGS = (".xml", ".json", ".plist")


def region_files(path: Path) -> list[Path]:
    """The annotation files of a folder and those below it, or the one file itself.

    Raises:
        ValueError: there is nothing of that name, or nothing in it.
    """
    if path.is_file():
        return [path]
    files = sorted(_below(path))
    if not files:
        found = "has no file that ends with" if path.is_dir() else "does not exist; expected"
        raise ValueError(f"{path} {found} {', '.join(ENDINGS)}.")
    return files


def read_content(path: Path) -> bytes:
    """What an annotation file holds; UTF-16 and UTF-32 become UTF-8.

    Raises:
        ValueError: it is in none of the encodings that its first bytes promise.
        OSError: it cannot be opened.
    """
    content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    encoding = json.detect_encoding(content)  # by null bytes, so it holds for XML as well
    if encoding.startswith("utf-8"):
        return content
    # A declaration of XML would go on to name the encoding that it had.
    return re.sub(r"\A<\?xml[^>]*>", "", content.decode(encoding)).encode()


def read_regions(path: Path, folder: Path | None = None) -> list[Region | Mismatch]:
    """Every region of one annotation file; a region that cannot be read is a mismatch instead.

    Args:
        path: the file.
        folder: what a cine's name may be relative to; the file's own folder if None.

    Raises:
        ValueError: its content is of no format that is read here, or is damaged as a whole.
    """
    return regions_in(read_content(path), path, folder)


def regions_in(content: bytes, path: Path, folder: Path | None = None) -> list[Region | Mismatch]:
    """The regions of an annotation file whose content is read already: see ``read_regions``."""
    module = _format(content, path)
    try:
        found = list(module.parse(content, _name(path, folder)))
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}.") from problem
    return [replace(item, file=str(path)) for item in found]


def read_shown(path: Path, folder: Path | None = None) -> list[tuple[Place, ...]]:
    """The frames that a file shows, each in all of its readings: see ``Format.shown``.

    Raises:
        ValueError, OSError: as ``read_regions`` does.
    """
    content = read_content(path)
    return list(_format(content, path).shown(content, _name(path, folder)))


def _format(content: bytes, path: Path) -> Format:
    for module in FORMATS.values():
        if module.recognises(content):
            return module
    raise ValueError(f"{path} is none of the formats that are read: {', '.join(FORMATS)}.")


def _name(path: Path, folder: Path | None) -> str:
    return without_ending(path.relative_to(folder or path.parent).as_posix())


def read_all_regions(files: Sequence[Path], folder: Path) -> tuple[list[Region], list[Mismatch]]:
    """The regions of many files, and what in them could not be read.

    Raises:
        ValueError: none of the files can be read. Their names stay unsaid: they may be patients'.
    """
    found: list[Region | Mismatch] = []
    damaged = []
    for path in files:
        try:
            found += read_regions(path, folder if folder.is_dir() else None)
        except (ValueError, OSError) as problem:
            damaged.append(unreadable(path, problem))
    if files and len(damaged) == len(files):
        raise ValueError(
            f"None of the {len(files)} annotation files of {folder} can be read; the first: "
            f"{damaged[0].said}"
        )
    return (
        [item for item in found if isinstance(item, Region)],
        [*(item for item in found if isinstance(item, Mismatch)), *damaged],
    )


def unreadable(path: Path, problem: ValueError | OSError) -> Mismatch:
    """What is wrong with an annotation file as a whole."""
    if isinstance(problem, OSError):
        said = problem.strerror or "it cannot be opened"
    else:
        said = str(problem).removeprefix(str(path)).lstrip(": ")
    return Mismatch(file=str(path), line=0, kind=Kind.UNREADABLE, said=said)


def _below(path: Path) -> Iterator[Path]:
    for found in path.rglob("*"):
        if found.suffix.lower() in ENDINGS and found.is_file() and found.name[0] != ".":
            yield found
