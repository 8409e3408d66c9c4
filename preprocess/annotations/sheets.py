"""A table of cells from what spreadsheet programs save: CSV of every kind, or a workbook (.xlsx).

What is plain is read, and what was assumed for it is told. Every cell becomes text: a whole number
has no decimals, a date is ISO 8601, true and false are these words.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from openpyxl import load_workbook

Cells = tuple[str, ...]
Score = Callable[[Cells], int]
"""How much a row looks like the headings: the more the better, 0 for not at all."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars (|)"}
SEP_LINE = r"""["']?sep=([^\w\n"' ])["']?[,;\t ]*\n?"""
"""The first line by which Excel is told the separator."""
SEARCHED_ROWS = 20
"""Headings are looked for in as many rows."""
MOST_COLUMNS = 256
MOST_ROWS = 1 << 20
LONGEST_CELL = 32_767
"""Excel's own limit. One text may be that of all cells."""
MOST_TAGS = 2_000_000
"""Of all XML in a workbook: half a million cells. Each costs half a kilobyte while it is parsed."""
MOST_BYTES = 64 << 20
"""What is larger, or unpacks to more, is no sheet of labels, and may be made to fill the memory."""
UNCALCULATED = "#FORMULA"
"""Stands in a cell whose formula was saved without a value."""
ERROR = re.compile(r"#[A-ZÄÖÜÉ/0]+[!?]|#N/?[AV]")
"""As spreadsheets write them: #REF!, #DIV/0!, #NAME?, #N/A, German #BEZUG! and #NV."""
BLANK = " \t\r\n\0\u00a0\u200b\u2060\ufeff"
QUOTES = ('""', "''", "“”", "„“", "„”", "‘’", "‚‘", "«»", "»«")
ENCODINGS = {
    "cp1252": "Windows-1252",
    "mac_roman": "Mac Roman",
    "cp850": "code page 850 of DOS",
    "cp1250": "Windows-1250",
    "cp1251": "Windows-1251",
    "shift_jis": "Shift JIS",
    "gb18030": "GB 18030",
    "euc_kr": "EUC-KR",
}
"""Of one byte a letter, or two, and their names. Nothing in a text says which of them it is in."""
BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark begins the same way
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


@dataclass(frozen=True)
class Row:
    """The cells of one row, without blanks and quotes around them."""

    line: int
    """Where it begins in the file, counted from 1."""
    cells: Cells


@dataclass(frozen=True)
class Sheet:
    """The headings and the rows under them that are not empty, each as wide as the headings."""

    headings: Row
    rows: tuple[Row, ...]
    unit: str
    """What ``Row.line`` counts: ``line`` of a text, ``row`` of a workbook."""
    assumed: tuple[str, ...]
    """What a person did not say and was taken for plain."""
    problems: tuple[str, ...]
    """Rows that cannot be told apart into cells, each with its line."""
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


def describe_cell(text: str) -> str:
    """What kind of thing a cell holds, without saying it: it may be anybody's name."""
    if text == UNCALCULATED:
        return "a formula without a saved value (open the sheet, save it again)"
    if ERROR.fullmatch(text):
        return "an error of the spreadsheet"
    if re.match(r"\d{4}-\d\d-\d\d|\d\d?([./-])\d\d?\1|\d\d?[/-]\d\d?$|\d\d?[. -]+[^\W\d]", text):
        return "a date (format the column as text before typing)"
    if re.fullmatch(r"-[\d.,]+", text):
        return "a negative number"
    if re.fullmatch(r"\d*[.,]\d+", text):
        return "a fraction"
    return "a number" if re.fullmatch(r"\d+", text) else "text"


def _of_text(content: bytes, score: Score, fallback: str) -> Sheet:
    text, encoding = _decoded(content, fallback)
    lines = io.StringIO(text, newline=None).readlines()
    first, given = 0, ""
    if lines and (said := re.fullmatch(SEP_LINE, lines[0], re.IGNORECASE)):
        first, given = 1, said[1]
    found = {
        separator: _headings([*_beginning(lines, first, separator)], score)
        for separator in ([given] if given else SEPARATORS)
    }
    separator = max(found, key=lambda each: score(found[each].cells))
    headings = found[separator]
    assumed = [encoding] if encoding else []
    if not given and separator != ",":
        assumed.append(f"separated by {SEPARATORS[separator]}")
    skipped = len([line for line in lines[first : headings.line - 1] if line.strip(BLANK + ",;|")])
    assumed += [_above(skipped)] if skipped else []
    problems: list[str] = []
    rows = []
    width = len(headings.cells)
    for row in [*_records(lines, headings.line - 1, separator)][1:]:
        cells = row.cells if width == 1 else _unwrapped(row.cells, separator)
        if len(row.cells) == 1 < width and len(cells) == 1 and _other_separator(cells[0]):
            problems.append(
                f"line {row.line}: one cell where the headings have {width}; "
                "is another separator used than in the headings?"
            )
        elif any(cells[width:]):
            problems.append(
                f"line {row.line}: {len(cells)} cells where the headings have {width}; "
                f"put quotes around a cell that holds {separator!r}, such as a number"
            )
        elif any(cells) and cells != headings.cells:  # they occur again where sheets were joined
            # Excel leaves out the empty cells at the end of a row.
            rows.append(Row(row.line, (cells + ("",) * width)[:width]))
    guessed = encoding.startswith(ENCODINGS[fallback])
    return Sheet(headings, tuple(rows), "line", tuple(assumed), tuple(problems), guessed)


def _decoded(content: bytes, fallback: str) -> tuple[str, str]:
    """The text, and its encoding in words where it is not UTF-8."""
    for bom, codec in BOMS.items():
        if content.startswith(bom) and codec != "utf-8":
            return content[len(bom) :].decode(codec, "replace"), codec[:6].upper()
    content = content.removeprefix(codecs.BOM_UTF8)
    beginning = content[:4096]
    if beginning.count(0) > len(beginning) // 4:
        codec = "utf-16-le" if beginning[1::2].count(0) > beginning[::2].count(0) else "utf-16-be"
        return content.decode(codec, "replace"), "UTF-16"
    try:
        return content.decode("utf-8"), ""
    except UnicodeDecodeError:
        # Line by line: rows of one program are often pasted under those of another.
        lines = [
            _decoded_line(line, fallback) for line in re.split(rb"(?<=\n)|(?<=\r)(?!\n)", content)
        ]
    mixed = any(is_utf8 and not line.isascii() for line, is_utf8 in lines)
    words = f"{ENCODINGS[fallback]} and UTF-8 mixed" if mixed else ENCODINGS[fallback]
    return "".join(line for line, _ in lines), words


def _decoded_line(line: bytes, fallback: str) -> tuple[str, bool]:
    try:
        return line.decode("utf-8"), True
    except UnicodeDecodeError:
        return line.decode(fallback, "replace"), False


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


def _other_separator(cell: str) -> bool:
    return any(separator in cell for separator in SEPARATORS)


def _of_workbook(content: bytes, score: Score) -> Sheet:
    try:
        _check_unpacked(content)
        worksheets = [*_worksheets(content)]
    except _TooLargeError:
        raise
    except Exception as problem:  # openpyxl raises whatever damage leads to
        raise ValueError(_DAMAGED) from problem
    if not any(worksheets):
        raise ValueError("it has no worksheet with anything in it")
    found = [_headings(rows[:SEARCHED_ROWS], score) for rows in worksheets]
    best = max(score(headings.cells) for headings in found)
    those = [n for n, headings in enumerate(found) if score(headings.cells) == best]
    if best and len(those) > 1:
        numbers = " and ".join(str(n + 1) for n in those)
        raise ValueError(
            f"its worksheets {numbers} both have the headings; leave the labels in one of them"
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


_DAMAGED = "it is a damaged workbook, or no workbook of Excel (.xlsx); save it again, or as CSV"


class _TooLargeError(ValueError):
    """A workbook that would fill the memory."""


def _check_unpacked(content: bytes) -> None:
    """Refuse what would fill the memory: a part that unpacks to more than it says is damaged."""
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        parts = packed.infolist()
        if sum(part.file_size for part in parts) > MOST_BYTES:
            raise _TooLargeError(
                f"it unpacks to more than {MOST_BYTES >> 20} MB; no sheet of labels does"
            )
        tags = 0
        for part in parts:
            with packed.open(part) as file:
                while chunk := file.read(1 << 20):
                    tags += chunk.count(b"<")
        if tags > MOST_TAGS:
            raise _TooLargeError("it has more than half a million cells; no sheet of labels has")


def _worksheets(content: bytes) -> Iterator[list[Row]]:
    """The rows of each worksheet that are not empty."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it leaves out of a workbook: none of it is a cell
        values, formulas = (
            load_workbook(io.BytesIO(content), read_only=True, data_only=data_only)
            for data_only in (True, False)
        )
        for worksheet, written in zip(values.worksheets, formulas.worksheets, strict=True):
            worksheet.reset_dimensions()  # some programs write wrong ones
            written.reset_dimensions()
            found, gap = [], None
            for line, pair in enumerate(zip(*map(_all_rows, (worksheet, written)), strict=True), 1):
                # For every row that is not there it gives the same object, up to a million times.
                if pair[0] is not gap and any(cells := tuple(map(_cell_text, *pair))):
                    found.append(_without_end(Row(line, cells)))
                gap = pair[0]
            yield found


def _all_rows(worksheet: Any) -> Iterator[tuple[Any, ...]]:
    rows: Iterator[tuple[Any, ...]] = worksheet.iter_rows(max_col=MOST_COLUMNS, max_row=MOST_ROWS)
    return rows


def _cell_text(value: Any, written: Any) -> str:
    """A cell as text: ``value`` as it was saved, ``written`` as it was typed."""
    found = value.value
    if found is None:
        # Of a formula that gives an empty text Excel saves the type.
        return UNCALCULATED if written.data_type == "f" and value.data_type == "n" else ""
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, float):
        return f"{found:.12g}"
    if isinstance(found, datetime | date | time):
        return found.isoformat()
    if len(str(found)) > LONGEST_CELL:
        raise _TooLargeError(f"a cell has more than {LONGEST_CELL} letters; no sheet of labels has")
    return clean(str(found))


def _without_end(row: Row) -> Row:
    last = max(number for number, cell in enumerate(row.cells) if cell)
    return Row(row.line, row.cells[: last + 1])


def _padded(row: Row, width: int) -> Row:
    return Row(row.line, row.cells + ("",) * (width - len(row.cells)))


def _headings(rows: Iterable[Row], score: Score) -> Row:
    return max(rows, key=lambda row: score(row.cells), default=Row(1, ()))


def _cleaned(cells: Iterable[str]) -> Cells:
    return tuple(map(clean, cells))


def clean(cell: str) -> str:
    """A cell without blanks and quotes around it, nor the formula that keeps digits text."""
    text = re.sub(r'^="([^"]*)"$', r"\1", cell.strip(BLANK))
    for _ in range(2):
        if len(text) > 1 and text[0] + text[-1] in QUOTES:
            text = text[1:-1].strip(BLANK)
    return text


def _above(rows: int) -> str:
    return f"{rows} row{'' if rows == 1 else 's'} above the headings skipped"
