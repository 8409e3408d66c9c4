"""``sequences.csv``: the labels of each cine, checked as a whole before any work."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

COLUMNS = (
    *("file", "sop_instance_uid", "view", "reference_frame", "introducing_start", "optimal_start"),
    *("vanishing_start", "ifr", "exclude", "no_lesion"),
)
BOUNDS = ("introducing_start", "optimal_start", "vanishing_start")
TRUE = ("1", "true", "yes", "y", "x")
FALSE = ("", "0", "false", "no", "n")


class Exclusion(StrEnum):
    """Why a cine is kept out although it is whole (paper, section 2)."""

    IMPLANT = "implant"
    PACEMAKER = "pacemaker"
    IFR_WIRE = "ifr_wire"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Label:
    """One row. Frames are 0-based; phase bounds are the first frame of each interval."""

    line: int
    file: str | None = None
    """Relative to the archive, with forward slashes."""
    sop_instance_uid: str | None = None
    view: str | None = None
    reference_frame: int | None = None
    introducing_start: int | None = None
    optimal_start: int | None = None
    vanishing_start: int | None = None
    ifr: tuple[float, ...] = ()
    exclude: Exclusion | None = None
    no_lesion: bool = False

    def label_error(self, length: int) -> str:
        """Why the row cannot describe a cine of ``length`` frames, or an empty string."""
        if self.vanishing_start is not None and self.vanishing_start > length:
            return f"label: vanishing_start {self.vanishing_start} of {length} frames"
        if self.reference_frame is not None and self.reference_frame >= length:
            return f"label: reference_frame {self.reference_frame} of {length} frames (from 0)"
        return ""


@dataclass(frozen=True)
class Labels:
    """The rows of one file, found by source file or by instance."""

    path: Path
    rows: tuple[Label, ...]
    by_file: Mapping[str, Label] = field(repr=False)
    by_instance: Mapping[str, Label] = field(repr=False)

    def of(self, file: str, sop_instance_uid: str | None) -> Label | None:
        """The row of a source file (relative to the archive), by its name or its instance."""
        return self.by_file.get(file) or self.by_instance.get(sop_instance_uid or "")

    def conflicting_label(self, file: str, sop_instance_uid: str | None) -> Label | None:
        """The row that names a source file by its instance where another names it by its name."""
        other = self.by_instance.get(sop_instance_uid or "")
        return other if other is not self.of(file, sop_instance_uid) else None


def read_labels(path: Path) -> Labels:
    """Read and check ``sequences.csv``.

    Raises:
        ValueError: listing every problem with its line, so that all can be cured at once.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        header = [(name or "").strip() for name in reader.fieldnames or []]
        problems = list(_header_problems(header))
        rows: list[Label | None] = []
        if not problems:
            reader.fieldnames = header
            rows = [_label(cells, reader.line_num, problems) for cells in reader]
    labels = _indexed(path, [row for row in rows if row], problems)
    if not rows and not problems:
        problems.append("there is no row under the header")
    if problems:
        found = "\n  ".join(problems)
        raise ValueError(f"{path} cannot be used as it is:\n  {found}\nCorrect it and try again.")
    return labels


def _header_problems(header: list[str]) -> Iterator[str]:
    if not header:
        yield f"it is empty; expected the columns {', '.join(COLUMNS)}"
        return
    for number, name in enumerate(header, start=1):
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COLUMNS)}"
            # Not quoted: in a file without a header this is the first cine's row.
            yield f"line 1: column {number} has no name that is known; {hint}"
    for name in COLUMNS:
        if header.count(name) > 1:
            yield f"line 1: column {name!r} twice"
    if not {"file", "sop_instance_uid"} & set(header):
        yield "line 1: neither a column 'file' nor 'sop_instance_uid' says which cine is meant"


def _label(cells: Mapping[str, Any], line: int, problems: list[str]) -> Label | None:
    if None in cells or any(value is None for value in cells.values()):
        problems.append(f"line {line}: another number of cells than the header has")
        return None
    row = _Row(cells, line, problems)
    if row.is_empty():
        return None
    label = Label(
        line=line,
        file=str(PurePosixPath(row.text("file").replace("\\", "/"))) if row.text("file") else None,
        sop_instance_uid=row.text("sop_instance_uid") or None,
        view=row.text("view") or None,
        reference_frame=row.frame("reference_frame"),
        introducing_start=row.frame("introducing_start"),
        optimal_start=row.frame("optimal_start"),
        vanishing_start=row.frame("vanishing_start"),
        ifr=row.numbers("ifr"),
        exclude=row.exclusion(),
        no_lesion=row.flag("no_lesion"),
    )
    problems += [f"line {line}: {problem}" for problem in _contradictions(label)]
    return label


def _contradictions(label: Label) -> Iterator[str]:
    if label.file is None and label.sop_instance_uid is None:
        yield "neither file nor sop_instance_uid says which cine is meant"
    bounds = [label.introducing_start, label.optimal_start, label.vanishing_start]
    known = [bound for bound in bounds if bound is not None]
    reference = label.reference_frame
    if known and len(known) < len(BOUNDS):
        missing = [name for name, bound in zip(BOUNDS, bounds, strict=True) if bound is None]
        yield f"{' and '.join(missing)} missing; give all three phase bounds, or none"
    elif known != sorted(known):
        yield f"{' <= '.join(BOUNDS)} does not hold: {known[0]}, {known[1]}, {known[2]}"
    elif known and reference is not None and not known[1] <= reference < known[2]:
        yield (
            f"reference_frame {reference} lies outside the optimal interval, "
            f"{known[1]} to {known[2] - 1}"
        )
    if any(not 0 <= value <= 1.2 for value in label.ifr):
        yield f"ifr {';'.join(map(str, label.ifr))} is no ratio between 0 and 1"


def _indexed(path: Path, rows: list[Label], problems: list[str]) -> Labels:
    def index(name: str, value: Callable[[Label], str | None]) -> dict[str, Label]:
        found: dict[str, Label] = {}
        for row in rows:
            if (key := value(row)) is None:
                continue
            if key in found:
                problems.append(f"line {row.line}: the same {name} as line {found[key].line}")
            found.setdefault(key, row)
        return found

    by_file = index("file", lambda row: row.file)
    by_instance = index("sop_instance_uid", lambda row: row.sop_instance_uid)
    return Labels(path, tuple(rows), by_file, by_instance)


class _Row:
    """The cells of one line; each reading that fails adds a problem and gives a harmless value."""

    def __init__(self, cells: Mapping[str, str], line: int, problems: list[str]):
        self._cells = {name: value.strip() for name, value in cells.items()}
        self._line = line
        self._problems = problems

    def is_empty(self) -> bool:
        return not any(self._cells.values())

    def text(self, name: str) -> str:
        return self._cells.get(name, "")

    def frame(self, name: str) -> int | None:
        text = self.text(name)
        if not text:
            return None
        number = float(text) if _is_number(text) else -1.0  # spreadsheets write 7 as 7.0
        if number < 0 or number != int(number):
            self._report(f"{name} is no frame number (0, 1, 2, ...)")
            return None
        return int(number)

    def numbers(self, name: str) -> tuple[float, ...]:
        parts = [part.strip() for part in self.text(name).split(";") if part.strip()]
        for part in parts:
            if not _is_number(part):
                self._report(f"{name} is not a number")
        return tuple(float(part) for part in parts if _is_number(part))

    def flag(self, name: str) -> bool:
        text = self.text(name).lower()
        if text not in TRUE + FALSE:
            self._report(f"{name} is neither true nor false")
        return text in TRUE

    def exclusion(self) -> Exclusion | None:
        text = self.text("exclude").lower()
        if text and text not in list(Exclusion):
            near = difflib.get_close_matches(text, list(Exclusion), 1, 0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            self._report(f"exclude is not one of {', '.join(Exclusion)}{hint}")
            return None
        return Exclusion(text) if text else None

    def _report(self, problem: str) -> None:
        # Cells are not quoted: in a row whose columns have slipped, any may hold a name.
        self._problems.append(f"line {self._line}: {problem}")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
