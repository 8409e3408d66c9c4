"""``sequences.csv`` into labels, checked as a whole before any work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from preprocess.annotations.encodings import ENCODINGS
from preprocess.annotations.label_cells import LabelReader
from preprocess.annotations.label_files import below_archive
from preprocess.annotations.label_headings import columns_of, score
from preprocess.annotations.labels import Label, Labels
from preprocess.annotations.names import spellings
from preprocess.annotations.sheets import Sheet, read_sheet

LISTED = 20
"""Most problems that are listed."""


def read_labels(path: Path, archive: Path | None = None, names: Iterable[str] = ()) -> Labels:
    """Read and check ``sequences.csv``, or a workbook of the same columns.

    Args:
        path: as any spreadsheet program saves it.
        archive: the folder of the cines, which absolute paths may begin with.
        names: its files relative to it, as often as they are asked for. They are asked for only
            where rows have absolute paths of another machine, or the encoding is unclear.

    Raises:
        ValueError: listing every problem with its line, so that all can be cured at once.
        OSError: the file cannot be read at all.
    """
    try:
        sheet = _sheet_naming_most(path, names)
        columns, unused = columns_of(sheet)
        reader = LabelReader()
        rows = [
            label
            for row in sheet.rows
            if (
                label := reader.label(
                    row.line, {name: row.cells[columns[name]] for name in columns}
                )
            )
        ]
        rows, located = below_archive(rows, archive, names)
        problems = [*sheet.problems, *reader.problems, *_twice(rows, sheet.unit)]
        if not rows and not problems:
            raise ValueError("there is no row with a label under the headings")
    except ValueError as problem:
        raise ValueError(f"{path} cannot be used as it is: {problem}. Correct it.") from None
    if problems:
        listed = "\n  ".join(f"{sheet.unit} {line}: {text}" for line, text in problems[:LISTED])
        more = f"\n  and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise ValueError(
            f"{path} cannot be used as it is:\n  {listed}{more}\nCorrect it and try again."
        )
    return Labels.of_rows(path, rows, (*sheet.assumed, *reader.assumed, *located, *unused))


def _sheet_naming_most(path: Path, names: Iterable[str]) -> Sheet:
    """The sheet in the encoding in which it names the most files of the archive."""
    sheet = read_sheet(path, score)
    if not sheet.is_guessed:
        return sheet
    known = frozenset(spellings(name)[-1] for name in names if not name.isascii())
    sheets = [sheet]
    for encoding in ENCODINGS if known else ():
        with suppress(ValueError):  # a wrong one may make anything of it
            sheets.append(read_sheet(path, score, encoding))

    def named(sheet: Sheet) -> int:
        cells = {cell for row in sheet.rows for cell in row.cells if not cell.isascii()}
        return sum(spellings(cell)[-1] in known for cell in cells)

    return max(sheets, key=named)


def _twice(rows: Sequence[Label], unit: str) -> Iterator[tuple[int, str]]:
    """The line of each row whose cine an earlier one has already, and what to say of it."""
    keys: dict[str, Callable[[Label], str | None]] = {
        "file": lambda row: row.file and str(PurePosixPath(row.file.replace("\\", "/"))),
        "sop_instance_uid": lambda row: row.sop_instance_uid,
    }
    for name, key_of in keys.items():
        lines: dict[str, int] = {}
        for row in rows:
            if key := key_of(row):
                if key in lines:
                    yield row.line, f"the same {name} as {unit} {lines[key]}"
                lines.setdefault(key, row.line)
