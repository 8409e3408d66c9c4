"""CSV that a spreadsheet takes for text and numbers, never for a formula to carry out."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""How a cell begins that a spreadsheet would carry out (OWASP, CSV injection), or one that was
defused: behind an apostrophe, which spreadsheets take for "this is text"."""


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table as CSV: a line of headings, then one for each row."""
    return "".join(csv_lines((columns, *rows)))


def csv_lines(rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """A line of CSV for each row, for a table that is too long to be in memory."""
    return (f"{_line(row)}\n" for row in rows)


def _line(row: Iterable[Any]) -> str:
    text = io.StringIO()
    # The writer puts a cell into quotes for the characters of its line's end alone.
    csv.writer(text, lineterminator="\r\n").writerow([defused(cell) for cell in row])
    return text.getvalue().removesuffix("\r\n")


def defused(cell: Any) -> Any:
    """The cell; what a spreadsheet would carry out of a text is behind an apostrophe.

    Where numbers have a decimal comma, spreadsheets part cells at ``;``.
    """
    if not isinstance(cell, str):
        return cell
    return ";".join(
        f"'{part}" if FORMULA.match(part) and not NUMBER.fullmatch(part) else part
        for part in cell.split(";")
    )


def as_written(cell: str) -> str:
    """What :func:`defused` was given, of a cell that was read back."""
    return ";".join(
        part[1:] if part.startswith("'") and FORMULA.match(part) else part
        for part in cell.split(";")
    )
