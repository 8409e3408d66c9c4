"""``sequences.csv``: the labels of each cine, checked as a whole before any work."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from preprocess.annotations.names import spellings
from preprocess.annotations.sheets import (
    ENCODINGS,
    ERROR,
    UNCALCULATED,
    Cells,
    Row,
    Sheet,
    describe_cell,
    read_sheet,
)

BOUNDS = ("introducing_start", "optimal_start", "vanishing_start")
COLUMNS = (
    *("file", "sop_instance_uid", "view", "reference_frame", *BOUNDS, "ifr", "exclude"),
    "no_lesion",
)
KEYS = ("file", "sop_instance_uid")
PROPOSED = tuple(f"proposed_{name}" for name in ("view", "reference_frame", *BOUNDS))
"""Proposals for the columns of these names. They are no labels: a person copies what is right."""
FOR_THE_EYE = ("frames", "angles", *PROPOSED)
"""Columns of `preprocess sheet` that are not read."""
# As Excel saves them in English, German, French, Spanish, Italian, Portuguese and Dutch.
TRUE = (
    *("1", "true", "yes", "y", "x", "wahr", "ja", "j", "vrai", "oui", "verdadero", "sí", "si"),
    *("vero", "verdadeiro", "sim", "waar"),
)
FALSE = (
    *("", "0", "false", "no", "n", "falsch", "nein", "faux", "non", "falso", "não", "onwaar"),
    "nee",
)
ABSENT = ("na", "n/a", "n.a.", "nan", "none", "null", "nil", "-", "–", "—")
"""What statistics programs write into empty cells."""
LISTED = 20
"""Most problems that are listed."""
NUMBER = re.compile(r"[+-]?[0-9]{0,9}([.,]?[0-9]{1,30})")
ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")


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
    """Relative to the archive, as the sheet spells it."""
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

    path: Path | None
    """None where there is no file: then every cine is let in without a label."""
    rows: tuple[Label, ...] = ()
    by_file: Mapping[tuple[int, str], Label | None] = field(default_factory=dict, repr=False)
    """By each of the ``spellings`` of its file; None where two rows share it."""
    by_instance: Mapping[str, Label] = field(default_factory=dict, repr=False)
    assumed: tuple[str, ...] = ()
    """What was taken for plain in reading the file."""

    def of(self, file: str, sop_instance_uid: str | None) -> Label | None:
        """The row of a source file (relative to the archive), by its name or its instance.

        Where two files are spelled alike, such as ``k 1`` and ``k%201``, a row may be both's until
        they are all known: see ``settled``.
        """
        if self.path is None:
            return Label(line=0)
        return self._named(file)[0] or self.by_instance.get(sop_instance_uid or "")

    def conflicting_label(self, file: str, sop_instance_uid: str | None) -> Label | None:
        """The row that names a source file by its instance where another names it by its name."""
        other = self.by_instance.get(sop_instance_uid or "")
        return other if other is not self.of(file, sop_instance_uid) else None

    def settled(self, files: Iterable[str]) -> Labels:
        """The same labels once all files are known: a row is of the one whose spelling is closest.

        Where two are as close, it is of neither.
        """
        meant: dict[int, list[tuple[int, str]]] = defaultdict(list)
        rows = {row.line: row for row in self.rows}
        for file in files:
            row, distance = self._named(file)
            if row:
                meant[row.line].append((distance, file))
        by_file: dict[tuple[int, str], Label | None] = {}
        for line, found in meant.items():
            closest = [file for distance, file in found if distance == min(found)[0]]
            if len(closest) == 1:
                by_file[0, closest[0]] = rows[line]
        return replace(self, by_file=by_file)

    def _named(self, file: str) -> tuple[Label | None, int]:
        """The row that names a file, and how far its spelling is from the file's."""
        for distance, spelling in enumerate(spellings(file)):
            if row := self.by_file.get((distance, spelling)):
                return row, distance
        return None, 0


NO_LABELS = Labels(None)
"""Lets every cine in and says nothing of it."""


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
        sheet = _read_sheet(path, names)
        columns, unused = _columns(sheet)
        reading = _Reading(sheet, columns)
        labels = [label for row in sheet.rows if (label := reading.label(row))]
        labels, located = _located(labels, archive, names)
        indexed = replace(
            _indexed(path, labels, reading),
            assumed=(*sheet.assumed, *reading.assumed, *located, *unused),
        )
        if not labels and not reading.problems:
            raise ValueError("there is no row with a label under the headings")
    except ValueError as problem:
        raise ValueError(f"{path} cannot be used as it is: {problem}. Correct it.") from None
    if problems := reading.problems:
        found = "\n  ".join(problems[:LISTED])
        more = len(problems) - LISTED
        found += f"\n  and {more} more" if more > 0 else ""
        raise ValueError(f"{path} cannot be used as it is:\n  {found}\nCorrect it and try again.")
    return indexed


def _read_sheet(path: Path, names: Iterable[str]) -> Sheet:
    """The sheet in the encoding in which it names the most files of the archive."""
    sheet = read_sheet(path, _score)
    if not sheet.is_guessed:
        return sheet
    known = frozenset(_regardless_of_system(name) for name in names if not name.isascii())
    sheets = [sheet]
    for encoding in ENCODINGS if known else ():
        with suppress(ValueError):  # a wrong one may make anything of it
            sheets.append(read_sheet(path, _score, encoding))

    def named(sheet: Sheet) -> int:
        cells = {cell for row in sheet.rows for cell in row.cells if not cell.isascii()}
        return sum(_regardless_of_system(cell) in known for cell in cells)

    return max(sheets, key=named)


def _plain(heading: str) -> str:
    """A heading without case, blanks, hyphens and underscores."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", heading).casefold())


_BY_PLAIN = {_plain(name): name for name in (*COLUMNS, *FOR_THE_EYE)}


def _score(cells: Cells) -> int:
    """How many headings a row has; one that says which cine is meant counts more than all others.

    The rows of another table have neither.
    """
    found = {_BY_PLAIN.get(_plain(cell)) for cell in cells} - {None}
    return len(found) + len(_BY_PLAIN) * bool(found & set(KEYS))


def _columns(sheet: Sheet) -> tuple[dict[str, int], list[str]]:
    """Where each column is, and what is said of those that are not used.

    Raises:
        ValueError: headings are missing, occur twice or are almost right.
    """
    cells = sheet.headings.cells
    expected = f"expected the headings {', '.join(COLUMNS)}"
    if not any(cells):
        raise ValueError(f"it is empty; {expected}")
    if not _score(cells):
        # Not quoted: in a file without headings it is the first cine's row.
        raise ValueError(f"none of its first rows has a heading that is known; {expected}")
    at = f"{sheet.unit} {sheet.headings.line}"
    names = [_BY_PLAIN.get(_plain(cell)) for cell in cells]
    problems = [
        f"{at}: {name!r} is the heading of {names.count(name)} columns"
        for name in (*COLUMNS, *FOR_THE_EYE)
        if names.count(name) > 1
    ]
    missing = [name for name in COLUMNS if name not in (*names, *KEYS)]
    lacks_key = not set(KEYS) & set(names)
    unused = []
    for number, (cell, name) in enumerate(zip(cells, names, strict=True)):
        if name or not any(row.cells[number] for row in sheet.rows):
            continue
        wanted = KEYS if lacks_key else missing
        near = difflib.get_close_matches(cell.casefold(), wanted, 1, 0.5 if lacks_key else 0.75)
        if near:
            problems.append(
                f"{at}: column {number + 1} has the heading {cell!r}; did you mean {near[0]!r}? "
                "Rename it, or remove the column"
            )
        else:
            unused.append(str(number + 1))
    if lacks_key:
        problems.append(
            f"{at}: neither a column 'file' nor 'sop_instance_uid' says which cine is meant"
        )
    if problems:
        raise ValueError("; ".join(problems))
    told = [f"column {' and '.join(unused)} not used"] if unused else []
    if any(
        row.cells[names.index(name)] for row in sheet.rows for name in PROPOSED if name in names
    ):
        told.append("columns proposed_ not used: copy what is right into those without proposed_")
    return {name: number for number, name in enumerate(names) if name in COLUMNS}, told


class _Reading:
    """Reads rows into labels; what cannot be read becomes a problem, and a harmless value.

    Attributes:
        problems: each with its line. Cells are not quoted: in a row whose columns have slipped, any
            may hold a name.
        assumed: what was taken for plain.
    """

    def __init__(self, sheet: Sheet, columns: Mapping[str, int]):
        self.problems = list(sheet.problems)
        self._columns = columns
        self.unit = sheet.unit
        self._row = sheet.headings
        self._assumed: dict[str, None] = {}

    @property
    def assumed(self) -> tuple[str, ...]:
        return tuple(self._assumed)

    def label(self, row: Row) -> Label | None:
        """The label of one row; None where only columns that are not used hold anything."""
        self._row = row
        if not any(row.cells[number] for number in self._columns.values()):
            return None
        label = Label(
            line=row.line,
            file=self._file(),
            sop_instance_uid=self._instance(),
            view=re.sub(r"\s+", " ", self._text("view")) or None,
            reference_frame=self._frame("reference_frame"),
            introducing_start=self._frame("introducing_start"),
            optimal_start=self._frame("optimal_start"),
            vanishing_start=self._frame("vanishing_start"),
            ifr=self._ratios(),
            exclude=self._exclusion(),
            no_lesion=self._flag("no_lesion"),
        )
        for problem in _contradictions(label):
            self.report(row.line, problem)
        return label

    def report(self, line: int, problem: str) -> None:
        self.problems.append(f"{self.unit} {line}: {problem}")

    def _cell(self, name: str) -> str:
        cell = self._row.cells[self._columns[name]] if name in self._columns else ""
        if name not in KEYS and cell.casefold() in ABSENT:
            self._assumed[f"{cell} in a cell is an empty cell"] = None
            return ""
        return cell

    def _misread(self, name: str, expected: str) -> None:
        kind = describe_cell(self._cell(name))
        self.report(self._row.line, f"{name} holds {kind}; expected {expected}")

    def _text(self, name: str) -> str:
        cell = self._cell(name)
        if "\n" in cell:
            self.report(self._row.line, f"{name} runs over two lines; is a quote open?")
        elif any(unicodedata.category(letter) == "Cc" for letter in cell):
            self.report(self._row.line, f"{name} holds a control character; expected text")
        elif cell == UNCALCULATED or ERROR.fullmatch(cell):
            self._misread(name, "text")
        return cell

    def _instance(self) -> str | None:
        text = self._text("sop_instance_uid")
        if re.fullmatch(r"[0-9]+([.,][0-9]+)?E\+?[0-9]+", text, re.IGNORECASE):
            self.report(
                self._row.line,
                "sop_instance_uid holds a number that a spreadsheet shortened; expected all of "
                "the UID (format the column as text before pasting)",
            )
        return text or None

    def _file(self) -> str | None:
        # Spreadsheets would calculate what begins so; a quote in front keeps it text.
        text = re.sub(r"^'(?=[=+@-])", "", self._text("file"))
        return text.removeprefix("file://") or None

    def _frame(self, name: str) -> int | None:
        cell = self._cell(name)
        if not cell:
            return None
        number = self._number(cell)  # spreadsheets write 7 as 7.0
        if number is None or number < 0 or number != int(number):
            self._misread(name, "a frame number (0, 1, 2, ...)")
            return None
        return int(number)

    def _ratios(self) -> tuple[float, ...]:
        cell = self._cell("ifr")
        parts = re.split(r"[;/|\s]+|,\s+", cell)
        if "." in cell:  # then a comma is no decimal one
            parts = [part for each in parts for part in each.split(",")]
        numbers = [self._number(part) for part in parts if part]
        found = tuple(number for number in numbers if number is not None)
        if len(found) < len(numbers) or (cell and not found):
            self._misread("ifr", "a number such as 0.89, or several with ; between them")
        return found

    def _number(self, text: str) -> float | None:
        if not NUMBER.fullmatch(text):
            return None
        if "," in text:
            self._assumed["decimal commas"] = None
        return float(text.replace(",", "."))

    def _flag(self, name: str) -> bool:
        text = re.sub(r"[.,]0+$", "", self._cell(name).casefold())
        if text not in TRUE + FALSE:
            self._misread(name, "true or false")
        return text in TRUE

    def _exclusion(self) -> Exclusion | None:
        text = _plain(self._cell("exclude"))
        if text in FALSE:
            return None
        by_plain = {_plain(each): each for each in Exclusion}
        if text not in by_plain:
            near = difflib.get_close_matches(text, by_plain, 1, 0.5)
            hint = f"; did you mean {by_plain[near[0]]}?" if near else ""
            self._misread("exclude", f"one of {', '.join(Exclusion)}{hint}")
        return by_plain.get(text)


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


def _located(
    labels: list[Label], archive: Path | None, names: Iterable[str]
) -> tuple[list[Label], list[str]]:
    """The labels with all paths relative to the archive, and what was assumed for it.

    Paths of another machine begin with a folder that is not known here. It is the one that, taken
    off, leaves the most paths that are in the archive.

    Raises:
        ValueError: two such folders are as likely.
    """
    if archive:
        here = [archive, archive.absolute(), archive.resolve()]
        own_name = archive.resolve().name
        here += [] if (archive / own_name).exists() else [Path(own_name)]
        labels = [_below(label, *(f"{folder.as_posix()}/" for folder in here)) for label in labels]
    foreign = [label.file for label in labels if label.file and ABSOLUTE.match(label.file)]
    known = frozenset(_regardless_of_system(name) for name in names) if foreign else frozenset()
    roots = Counter(
        file[: match.end()]
        for file in foreign
        for match in re.finditer(r"[/\\]", file)
        if _regardless_of_system(file[match.end() :]) in known
    ).most_common(2)
    if not roots:
        return labels, []
    if len(roots) > 1 and roots[0][1] == roots[1][1]:
        raise ValueError(
            "its absolute paths fit the archive in more than one way; write each path as it is "
            "below the archive"
        )
    labels = [_below(label, roots[0][0]) for label in labels]
    return labels, ["absolute paths of another machine taken by their ends"]


def _regardless_of_system(file: str) -> str:
    return spellings(file)[-1]


def _below(label: Label, *folders: str) -> Label:
    """The label with its file relative to the first of the folders that its path begins with."""
    for folder in folders:
        if label.file and label.file.startswith(folder):
            return replace(label, file=label.file[len(folder) :])
    return label


def _indexed(path: Path, rows: Sequence[Label], reading: _Reading) -> Labels:
    def index(name: str, value: Callable[[Label], str | None]) -> dict[str, Label]:
        found: dict[str, Label] = {}
        for row in rows:
            if (key := value(row)) is None:
                continue
            if key in found:
                reading.report(row.line, f"the same {name} as {reading.unit} {found[key].line}")
            found.setdefault(key, row)
        return found

    files = index("file", lambda row: row.file and row.file.replace("\\", "/"))
    by_file: dict[tuple[int, str], Label | None] = {}
    for row in files.values():
        for spelling in enumerate(spellings(row.file or "")):
            by_file[spelling] = None if spelling in by_file else row
    by_instance = index("sop_instance_uid", lambda row: row.sop_instance_uid)
    return Labels(path, tuple(rows), by_file, by_instance)
