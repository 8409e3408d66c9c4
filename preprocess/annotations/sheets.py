"""A table of cells from what spreadsheet programs save: CSV of every kind, or a workbook (.xlsx).

What is plain is read, and what was assumed for it is told. Every cell becomes text: a whole number
has no decimals, a date is ISO 8601, true and false are these words.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocess.annotations.cells import BLANK, Cells, Row, clean
from preprocess.annotations.encodings import ENCODINGS, decode
from preprocess.annotations.workbooks import MOST_BYTES, read_worksheets

Score = Callable[[Cells], int]
"""How much a row looks like the headings: the more the better, 0 for not at all."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars (|)"}
SEP_LINE = r"""["']?sep=([^\w\n"' ])["']?[,;\t ]*\n?"""
"""The first line by which Excel is told the separator."""
SEARCHED_ROWS = 20
"""Headings are looked for in as many rows."""
LONGEST_LINE = 100_000


@dataclass(frozen=True)
class Sheet:
    """The headings and the rows under them that are not empty, each as wide as the headings."""

    headings: Row
    rows: tuple[Row, ...]
    unit: str
    """What ``Row.line`` counts: ``line`` of a text, ``row`` of a workbook."""
    assumed: tuple[str, ...]
    """What a person did not say and was taken for plain."""
    problems: tuple[tuple[int, str], ...]
    """Lines that cannot be told apart into cells, each with what to say of it."""
    is_guessed: bool = False
    """Whether another of ``ENCODINGS`` may be the right one."""


def read_sheet(path: Path, score: Score, encoding: str = "cp1252") -> Sheet:
    """Read a sheet whatever program saved it.

    Args:
        path: CSV, with any separator and encoding, or a workbook.
        score: of each row; the first of the best rows holds the headings.
        encoding: one of ``ENCODINGS``, for lines that are neither UTF-8 nor UTF-16.

    Raises:
        ValueError: in one sentence that begins in small letters, why it is no such sheet.
        OSError: it cannot be read at all.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MB; no sheet of labels is")
    if content.startswith(b"PK\3\4"):
        return _of_workbook(content, score)
    if content.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        raise ValueError(
            "it is an .xls of old Excel, or a workbook with a password; save it as .xlsx or CSV, "
            "without a password"
        )
    return _of_text(content, score, encoding)


def _of_text(content: bytes, score: Score, fallback: str) -> Sheet:
    text, encoding = decode(content, fallback)
    if text.lstrip(BLANK).startswith("<"):
        raise ValueError(
            "it is an HTML or XML page, as some programs write under the name .xls; open it in a "
            "spreadsheet program and save it as .xlsx or CSV"
        )
    lines = io.StringIO(text, newline=None).readlines()
    if long := next((n for n, line in enumerate(lines, 1) if len(line) > LONGEST_LINE), 0):
        raise ValueError(
            f"line {long} has more than {LONGEST_LINE} letters; no sheet of labels has such a line"
        )
    first, given = 0, ""
    if lines and (said := re.fullmatch(SEP_LINE, lines[0], re.IGNORECASE)):
        first, given = 1, said[1]
    each = {
        separator: _headings([*_beginning(lines, first, separator)], score)
        for separator in dict.fromkeys([*given, *SEPARATORS])
    }
    separator = max(each, key=lambda separator: score(each[separator].cells))
    headings = each[separator]
    assumed = [encoding] if encoding else []
    if separator != (given or ","):
        assumed.append(f"separated by {SEPARATORS[separator]}")
    skipped = len([line for line in lines[first : headings.line - 1] if line.strip(BLANK + ",;|")])
    assumed += [_above(skipped)] if skipped else []
    problems: list[tuple[int, str]] = []
    rows = []
    width = len(headings.cells)
    for row in [*_records(lines, headings.line - 1, separator)][1:]:
        cells = row.cells if width == 1 else _unwrapped(row.cells, separator)
        if len(cells) < width and _other_separator(lines[row.line - 1], cells, width):
            found = f"{len(cells)} cell{'s' * (len(cells) > 1)} where the headings have {width}"
            problems.append((row.line, f"{found}; is another separator used than in the headings?"))
        elif any(cells[width:]):
            quotes = f"put quotes around a cell that holds {separator!r}, such as a number"
            found = f"{len(cells)} cells where the headings have {width}"
            problems.append((row.line, f"{found}; {quotes}"))
        elif any(cells) and cells != headings.cells:  # they occur again where sheets were joined
            # Excel leaves out the empty cells at the end of a row.
            rows.append(Row(row.line, (cells + ("",) * width)[:width]))
    guessed = encoding.startswith(ENCODINGS[fallback])
    return Sheet(headings, tuple(rows), "line", tuple(assumed), tuple(problems), guessed)


def _beginning(lines: Sequence[str], first: int, separator: str) -> Iterator[Row]:
    """The rows that headings are looked for in; a quote that stays open ends them."""
    reader = csv.reader(lines[first:], delimiter=separator, skipinitialspace=True)
    line = first + 1
    for _ in range(SEARCHED_ROWS):
        try:
            cells = next(reader)
        except (csv.Error, StopIteration):
            return
        yield Row(line, _unwrapped(_cleaned(cells), separator))
        line = first + reader.line_num + 1


def _records(lines: Sequence[str], first: int, separator: str) -> Iterator[Row]:
    """Every row from line ``first`` (from 0) on.

    Raises:
        ValueError: a quote is open.
    """
    reader = csv.reader(lines[first:], delimiter=separator, skipinitialspace=True, strict=True)
    line = first + 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            cells = None
        if cells is None or any(_swallowed(cell, separator, len(cells)) for cell in cells):
            raise ValueError(
                f'line {line}: a quote (") is opened there and not closed before the cell ends; '
                "close it, or remove it"
            )
        yield Row(line, _cleaned(cells))
        line = first + reader.line_num + 1


def _swallowed(cell: str, separator: str, width: int) -> bool:
    """Whether a cell of several lines holds what looks like rows: the quote was meant otherwise."""
    # A comma that a blank follows may be one of a sentence.
    between = re.escape(separator) + "(?! )"
    lines = cell.split("\n")[1:]
    return any(len(re.findall(between, line)) >= max(1, width - 1) for line in lines)


def _unwrapped(cells: Cells, separator: str) -> Cells:
    """The cells of a row that was saved with quotes around the whole of it."""
    if len(cells) == 1 and separator in cells[0]:
        try:
            (inner,) = csv.reader([cells[0]], delimiter=separator, skipinitialspace=True)
        except (csv.Error, ValueError):
            return cells
        return _cleaned(inner)
    return cells


def _other_separator(line: str, cells: Cells, width: int) -> bool:
    """Whether a row of too few cells was likely written with another separator."""
    if len(cells) == 1:
        return any(separator in cells[0] for separator in SEPARATORS)
    return any(line.count(separator) + 1 == width for separator in SEPARATORS)


def _of_workbook(content: bytes, score: Score) -> Sheet:
    worksheets = read_worksheets(content)
    if not any(worksheets):
        raise ValueError("it has no worksheet with anything in it")
    found = [_headings(rows[:SEARCHED_ROWS], score) for rows in worksheets]
    best = max(score(headings.cells) for headings in found)
    those = [n for n, headings in enumerate(found) if score(headings.cells) == best]
    if best and len(those) > 1:
        numbers = " and ".join(str(n + 1) for n in those)
        raise ValueError(
            f"its worksheets {numbers} have the headings (some may be hidden); leave the labels in "
            "one of them"
        )
    headings, rows = found[those[0]], worksheets[those[0]]
    width = max(len(row.cells) for row in rows)
    skipped = sum(row.line < headings.line for row in rows)
    assumed = [f"worksheet {those[0] + 1} of {len(worksheets)}"] if len(worksheets) > 1 else []
    assumed += [_above(skipped)] if skipped else []
    return Sheet(
        _padded(headings, width),
        tuple(_padded(row, width) for row in rows if row.line > headings.line),
        "row",
        tuple(assumed),
        (),
    )


def _padded(row: Row, width: int) -> Row:
    return Row(row.line, row.cells + ("",) * (width - len(row.cells)))


def _headings(rows: Iterable[Row], score: Score) -> Row:
    return max(rows, key=lambda row: score(row.cells), default=Row(1, ()))


def _cleaned(cells: Iterable[str]) -> Cells:
    return tuple(map(clean, cells))


def _above(rows: int) -> str:
    return f"{rows} row{'' if rows == 1 else 's'} above the headings skipped"
