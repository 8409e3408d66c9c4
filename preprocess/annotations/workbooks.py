"""The rows of a workbook (.xlsx), read within bounds of memory."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

from openpyxl import load_workbook

from preprocess.annotations.cells import UNCALCULATED, Row, clean

MOST_COLUMNS = 256
MOST_ROWS = 1 << 20
LONGEST_CELL = 32_767
"""Excel's own limit. One text may be that of all cells."""
MOST_TAGS = 2_000_000
"""Of all XML in a workbook: half a million cells. Each costs half a kilobyte while it is parsed."""
MOST_BYTES = 64 << 20
"""What is larger, or unpacks to more, is no sheet of labels, and may be made to fill the memory."""


class _TooLargeError(ValueError):
    """A workbook that would fill the memory."""


def read_worksheets(content: bytes) -> list[list[Row]]:
    """The rows of each worksheet that are not empty.

    Raises:
        ValueError: in one sentence that begins in small letters, why it cannot be read.
    """
    try:
        _check_unpacked(content)
        return [*_worksheets(content)]
    except _TooLargeError:
        raise
    except Exception as problem:  # openpyxl raises whatever damage leads to
        raise ValueError(
            "it is a damaged workbook, or one of another kind than .xlsx, such as .ods; save it as "
            ".xlsx or CSV"
        ) from problem


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
