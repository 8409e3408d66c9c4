"""The cells of one row into a label, as people of several languages fill them in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from preprocess.annotations.cells import DATE, ERROR, UNCALCULATED, describe_cell
from preprocess.annotations.label_headings import KEYS, plain
from preprocess.annotations.labels import Label
from preprocess.cohort.records import Exclusion
from preprocess.console.names import nearest

# As Excel saves them in English, German, French, Spanish, Italian, Portuguese and Dutch.
TRUE = (
    *("1", "true", "yes", "y", "x", "wahr", "ja", "j", "vrai", "oui", "verdadero", "sí", "si"),
    *("vero", "verdadeiro", "sim", "waar", "✓", "✔", "☑"),
)
FALSE = (
    *("", "0", "false", "no", "n", "falsch", "nein", "faux", "non", "falso", "não", "onwaar"),
    *("nee", "☐"),
)
ABSENT = ("na", "n/a", "n.a.", "nan", "none", "null", "nil", "-", "–", "—")
"""What statistics programs write into empty cells."""
YEARS = range(1970, 2100)
NUMBER = re.compile(r"[+-]?[0-9]{0,9}([.,]?[0-9]{1,30})")


class LabelReader:
    """Reads rows into labels; what cannot be read becomes a problem, and a harmless value.

    Attributes:
        problems: each after its line. Cells are not quoted: in a row whose columns have slipped,
            any may hold a name.
        assumed: what was taken for plain, each once.
    """

    def __init__(self) -> None:
        self.problems: list[tuple[int, str]] = []
        self.assumed: dict[str, None] = {}
        self._line = 0
        self._cells: Mapping[str, str] = {}

    def label(self, line: int, cells: Mapping[str, str]) -> Label | None:
        """The label of one row, whose ``cells`` are given by column; None where all are empty."""
        self._line, self._cells = line, cells
        if not any(cells.values()):
            return None
        label = Label(
            line=line,
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
            year=self._year(),
        )
        self.problems += [(line, problem) for problem in label.contradictions()]
        return label

    def _report(self, problem: str) -> None:
        self.problems.append((self._line, problem))

    def _misread(self, name: str, expected: str) -> None:
        self._report(f"{name} holds {describe_cell(self._cell(name))}; expected {expected}")

    def _cell(self, name: str) -> str:
        cell = self._cells.get(name, "")
        if name in KEYS:
            return cell
        cell = unicodedata.normalize("NFKC", cell)  # Japanese keyboards write １ and ；
        if cell.casefold() in ABSENT:
            self.assumed[f"{cell} in a cell is an empty cell"] = None
            return ""
        return cell

    def _text(self, name: str) -> str:
        cell = self._cell(name)
        if "\n" in cell:
            self._report(f"{name} runs over two lines; is a quote open?")
        elif any(unicodedata.category(letter) == "Cc" for letter in cell):
            self._report(f"{name} holds a control character; expected text")
        elif cell == UNCALCULATED or ERROR.fullmatch(cell) or (name == "view" and DATE.match(cell)):
            self._misread(name, "text")
        return cell

    def _instance(self) -> str | None:
        text = self._text("sop_instance_uid")
        if re.fullmatch(r"[0-9]+([.,][0-9]+)?E\+?[0-9]+", text, re.IGNORECASE):
            self._report(
                "sop_instance_uid holds a number that a spreadsheet shortened; expected all of "
                "the UID (format the column as text before pasting)"
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

    def _year(self) -> int | None:
        cell = self._cell("year")
        if not cell:
            return None
        number = self._number(cell)
        if number is None or number not in YEARS:
            self._misread("year", f"a year from {YEARS[0]} to {YEARS[-1]}, and no date")
            return None
        return int(number)

    def _ratios(self) -> tuple[float, ...]:
        cell = self._cell("ifr")
        parts: list[str] = []
        for part in re.split(r"[;/|\s]+|,\s+", cell):
            parts += part.split(",") if "." in part else [part]  # then no comma is a decimal one
        numbers = [self._number(part) for part in parts if part]
        found = tuple(number for number in numbers if number is not None)
        if len(found) < len(numbers) or (cell and not found):
            self._misread("ifr", "a number such as 0.89, or several with ; between them")
        return found

    def _number(self, text: str) -> float | None:
        if not NUMBER.fullmatch(text):
            return None
        if "," in text:
            self.assumed["decimal commas"] = None
        return float(text.replace(",", "."))

    def _flag(self, name: str) -> bool:
        text = re.sub(r"[.,]0+$", "", self._cell(name).casefold())
        if text not in TRUE + FALSE:
            self._misread(name, "true or false")
        return text in TRUE

    def _exclusion(self) -> Exclusion | None:
        text = plain(self._cell("exclude"))
        if text in FALSE:
            return None
        by_plain = {plain(each): each for each in Exclusion}
        if text not in by_plain:
            near = nearest(text, by_plain)
            hint = f"; did you mean {by_plain[near]}?" if near else ""
            self._misread("exclude", f"one of {', '.join(Exclusion)}{hint}")
        return by_plain.get(text)
