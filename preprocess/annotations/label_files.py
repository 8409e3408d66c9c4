"""Where a cell of the column ``file`` points: a path of this machine, or of another one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from preprocess.annotations.labels import Label
from preprocess.annotations.names import spellings

ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")


def below_archive(
    rows: Sequence[Label], archive: Path | None, names: Iterable[str]
) -> tuple[list[Label], list[str]]:
    """The rows with all paths relative to the archive, and what was assumed for it.

    Paths of another machine begin with a folder that is not known here. It is the one that, taken
    off, leaves the most paths that are in the archive.

    Args:
        rows: as they stand in the sheet.
        archive: the folder of the cines.
        names: its files relative to it.

    Raises:
        ValueError: two such folders are as likely.
    """
    here: list[str] = []
    if archive:
        folders = [archive, archive.absolute(), archive.resolve()]
        own_name = archive.resolve().name
        folders += [] if (archive / own_name).exists() else [Path(own_name)]
        here = [f"{folder.as_posix()}/" for folder in folders]
    labels = [_without(row, *here) for row in rows]
    foreign = [label.file for label in labels if label.file and ABSOLUTE.match(label.file)]
    known = frozenset(spellings(name)[-1] for name in names) if foreign else frozenset()
    roots = Counter(
        file[: match.end()]
        for file in foreign
        for match in re.finditer(r"[/\\]", file)
        if spellings(file[match.end() :])[-1] in known
    ).most_common(2)
    if not roots:
        return labels, []
    if len(roots) > 1 and roots[0][1] == roots[1][1]:
        raise ValueError(
            "its absolute paths fit the archive in more than one way; write each path as it is "
            "below the archive"
        )
    labels = [_without(label, roots[0][0]) for label in labels]
    return labels, ["absolute paths of another machine taken by their ends"]


def _without(label: Label, *folders: str) -> Label:
    """The label with its file relative to the first of the folders that its path begins with."""
    for folder in folders:
        if label.file and label.file.replace("\\", "/").startswith(folder.replace("\\", "/")):
            return replace(label, file=label.file[len(folder) :])
    return label
