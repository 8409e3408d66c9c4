"""Regions drawn by readers. One module per format, one return type, found by content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from preprocess.annotations import osirix
from preprocess.annotations.regions import Region

__all__ = ["Region", "read_regions", "region_files"]


class _Format(Protocol):
    def recognises(self, content: bytes) -> bool: ...

    def parse(self, content: bytes, file_stem: str) -> list[Region]: ...


FORMATS: dict[str, _Format] = {"OsiriX/Horos ROI export (XML or JSON)": osirix}
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


def read_regions(path: Path) -> list[Region]:
    """Every region of one annotation file.

    Raises:
        ValueError: its content is of no format that is read here, or is damaged.
    """
    content = path.read_bytes()
    for module in FORMATS.values():
        if module.recognises(content):
            try:
                return module.parse(content, path.stem)
            except ValueError as problem:
                raise ValueError(f"{path}: {problem}.") from problem
    raise ValueError(f"{path} is none of the formats that are read: {', '.join(FORMATS)}.")


def _below(path: Path) -> Iterator[Path]:
    for found in path.rglob("*"):
        if found.suffix.lower() in ENDINGS and found.is_file() and found.name[0] != ".":
            yield found
