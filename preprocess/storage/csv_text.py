"""CSV that a spreadsheet takes for text and numbers, never for a formula to carry out."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""How a cell begins that a spreadsheet would carry out (OWASP, CSV injection), or one that was
defused: behind an apostrophe, which spreadsheets take for "this is text"."""


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table as CSV: a line of headings, then one for each row."""
    return "".join(f"{_line(row)}\n" for row in (columns, *rows))


def _line(row: Iterable[Any]) -> str:
    text = io.StringIO()
    # The writer puts a cell into quotes for the characters of its line's end alone.
    csv.writer(text, lineterminator="\r\n").writerow([defused(cell) for cell in row])
    return text.getvalue().removesuffix("\r\n")


def defused(cell: Any) -> Any:
    """The cell, behind an apostrophe if it is text that a spreadsheet would carry out."""
    if isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def as_written(cell: str) -> str:
    """What :func:`defused` was given, of a cell that was read back."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell
