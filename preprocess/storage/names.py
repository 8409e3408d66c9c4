"""The names that a store, a cohort, a study or a run may give to a file or a folder.

What is read back may have been written by somebody else: a name in it is checked before it becomes
part of a path, so that no document and no listing reaches outside its own folder.
"""

from __future__ import annotations

import re
from pathlib import Path

LONGEST = 255
"""Bytes of UTF-8 that file systems take for one name."""

DRIVE = re.compile(r"[A-Za-z]:")
CONTROL = re.compile(r"[\0-\x1f\x7f-\x9f]")


def check_name(name: object, what: str = "a file") -> str:
    """The same name, if it names something right in a folder.

    Args:
        name: as it was found.
        what: it is the name of, in errors.

    Raises:
        ValueError: it could lead out of the folder, or no file system takes it.
    """
    if problem := name_problem(name):
        shown = ascii(name) if len(ascii(name)) <= 80 else f"{ascii(name)[:80]}…"
        raise ValueError(
            f"{shown} is no name of {what}: {problem}. Somebody may have changed what holds that "
            "name; take a sound copy, or make it again."
        )
    assert isinstance(name, str)
    return name


def check_path(path: str, what: str = "a file") -> str:
    """The same path, relative and with forward slashes, if each of its parts is a name.

    Raises:
        ValueError: one is not.
    """
    for part in path.split("/"):
        check_name(part, what)
    return path


def name_problem(name: object) -> str:
    """Why something names nothing right in a folder; empty if it does."""
    if not isinstance(name, str):
        return "it is no text"
    if not name:
        return "it is empty"
    if name in (".", ".."):
        return "it means another folder"
    if "/" in name or "\\" in name:
        return "it holds a slash"
    if CONTROL.search(name):
        return "it holds a control character"
    if DRIVE.match(name):
        return "it begins with a drive"
    try:
        long = len(name.encode()) > LONGEST
    except UnicodeEncodeError:
        return "it holds half a character"
    return f"it is longer than {LONGEST} bytes" if long else ""


def beside(folder: Path, ending: str) -> Path:
    """The path beside a folder that has its name and an ending, also where it is called ``.``."""
    named = folder.resolve() if folder.name in ("", "..") else folder
    return named.with_name(named.name + ending)
