"""Atomic writing: a file or a folder is there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

PARTIAL = ".partial"


def write_bytes(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write ``content`` beside ``path`` and rename it into place once it is on the disk."""
    with writing(path, mode=mode) as file:
        file.write(content)


@contextmanager
def writing(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file to write part by part, which is renamed to ``path`` at the end, on the disk."""
    # Several writers may write one file: each its own partial, and the last rename wins.
    writer = f"{os.getpid()}-{threading.get_ident()}"
    partial = path.with_name(f".{path.name}.{writer}{PARTIAL}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        partial.unlink()  # on a full disk it takes room that is needed
        raise
    partial.replace(path)


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write ``text`` as UTF-8, atomically."""
    write_bytes(path, text.encode("utf-8"), mode=mode)


def write_json(path: Path, value: Any, *, mode: int = 0o644) -> None:
    """Write ``value`` as readable JSON, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n", mode=mode)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to write in, which becomes ``out`` once all is written; otherwise nothing stays.

    Raises:
        ValueError: ``out`` is there already.
    """
    if out.exists():
        raise ValueError(f"{out} is there already. Remove it, or give another --out.")
    unfinished = out.with_name(f".{out.name}{PARTIAL}")  # what a kill leaves is taken for nothing
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, as ``fsync`` has the content of a file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_below(folder: Path) -> None:
    """Have a folder on the disk, with all that is in it."""
    for inner, _, names in os.walk(folder):
        for name in names:
            with (Path(inner) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(inner))


def remove_partials(*folders: Path, of: str = "") -> None:
    """Remove what a killed writer left half-written right in these folders.

    Args:
        folders: to look into.
        of: the name of the file that was to be written, as a pattern; empty for any.
    """
    for folder in folders:
        for path in folder.glob(f".{of}*{PARTIAL}"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
