"""A table that belongs to a public data set, whatever program saved it last."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.sheets import read_sheet


def read_table(
    path: Path, needed: Collection[str], mismatches: list[Mismatch]
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file: the line of each, and its cells by their heading in small letters.

    Args:
        path: the file.
        needed: headings; a file that lacks one of them is another table, of which nothing is read.
        mismatches: rows that cannot be told apart into cells are added here.

    Raises:
        ValueError: it is no table, or has a heading twice.
        OSError: it cannot be opened.
    """
    sheet = read_sheet(path, lambda cells: len({*needed} & {cell.casefold() for cell in cells}))
    headings = [cell.casefold() for cell in sheet.headings.cells]
    if not {*needed} <= {*headings}:
        return []
    if any(headings.count(heading) > 1 for heading in needed):
        raise ValueError("one heading occurs twice")
    mismatches += [
        Mismatch(file=str(path), line=line, kind=Kind.UNREADABLE_VALUE, said=problem)
        for line, problem in sheet.problems
    ]
    return [(row.line, dict(zip(headings, row.cells, strict=True))) for row in sheet.rows]
