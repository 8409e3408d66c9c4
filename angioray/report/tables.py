"""Tables as the report holds them, and how they become CSV and Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from angioray.evaluation.intervals import Interval
from angioray.report.markdown import escape
from angioray.report.published import Published
from preprocess.storage.csv_text import csv_text

NOTHING = "\N{EN DASH}"
MEAN_STD, LOW_TO_HIGH, PUBLISHED = "mean ± std", "low to high", "paper"
"""The names of what a measured cell holds, as a table defines them below itself."""
_NUMBER = re.compile(r"[-+\d][\d.,%/ ]*( s| min.*| h.*|× 10[⁻⁰¹²³⁴-⁹]+)?")


@dataclass(frozen=True, kw_only=True)
class Value:
    """A measured value with its spread, and the published one beside it."""

    mean: float | None
    std: float | None = None
    ci95: Interval | None = None
    published: Published | None = None
    digits: int = 2
    signed: bool = False
    """A difference, shown with its sign."""

    @property
    def main(self) -> str:
        """``0.72 ± 0.03``."""
        if self.mean is None:
            return NOTHING
        spread = "" if self.std is None else f" ± {self.std:.2f}"
        return self._number(self.mean) + spread

    @property
    def interval(self) -> str:
        """``0.66 to 0.78``, or nothing."""
        if self.ci95 is None:
            return ""
        return " to ".join(map(self._number, self.ci95))

    @property
    def beside(self) -> str:
        """``paper 0.73 ± 0.01``, or nothing."""
        if self.published is None:
            return ""
        # The paper prints one of its values with three decimals.
        digits = 2 if round(self.published.mean, 2) == self.published.mean else 3
        return f"{PUBLISHED} {_with_std(self.published.mean, self.published.std, digits)}"

    def _number(self, number: float) -> str:
        # Rounded first, so that a small negative number is 0 and not -0.
        shown = f"{round(number, self.digits) + 0.0:{'+' if self.signed else ''}.{self.digits}f}"
        if float(shown) == 0:
            shown = shown.lstrip("+-")
        return shown.replace("-", "\N{MINUS SIGN}")

    def __str__(self) -> str:
        interval = f" [{self.interval}]" if self.interval else ""
        beside = f" ({self.beside})" if self.beside else ""
        return f"{self.main}{interval}{beside}"


Cell = str | Value


@dataclass(frozen=True)
class Row:
    """A table's row; published and baseline rows are set apart."""

    cells: tuple[Cell, ...]
    kind: Literal["", "published", "baseline", "missing"] = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; ``name`` is that of its CSV file."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    """What must be known of the table beyond the meaning of its words."""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """Of words that mean something of their own in this table, by heading or label."""
    number_in_paper: int | None = None
    """The paper's table that this one is made like."""

    @property
    def is_right(self) -> tuple[bool, ...]:
        """Which columns hold plain numbers alone and are set flush right."""
        columns = zip(*(row.cells for row in self.rows), strict=True)
        return tuple(
            all(isinstance(cell, str) and (not cell or is_number(cell)) for cell in column)
            for column in columns
        ) or (False,) * len(self.columns)

    def terms(self, glossary: Mapping[str, str]) -> dict[str, str]:
        """The meanings that stand below the table: of its headings, labels and kinds of values.

        Args:
            glossary: meanings by heading, or by a part of one between commas. A table's own go
                before them, and may be of several headings, with commas between these.
        """
        known = {**glossary, **self.meanings}
        own = {part: key for key in self.meanings for part in (*key.split(", "), key)}
        words: list[str] = []
        for heading in self.columns:
            whole = heading in known or heading in own
            words += [own.get(w, w) for w in ([heading] if whole else heading.split(", "))]
        words += self.meanings
        values = [cell for row in self.rows for cell in row.cells if isinstance(cell, Value)]
        words += [MEAN_STD] if any(value.std is not None for value in values) else []
        words += [LOW_TO_HIGH] if any(value.ci95 is not None for value in values) else []
        words += [PUBLISHED] if any(value.published is not None for value in values) else []
        return {word: known[word] for word in dict.fromkeys(words) if word in known}

    def csv(self) -> str:
        """As CSV: a column of measured values becomes mean, std, low, high and published."""
        measured = [
            any(isinstance(row.cells[i], Value) for row in self.rows)
            for i in range(len(self.columns))
        ]
        header: list[str] = []
        for column, is_measured in zip(self.columns, measured, strict=True):
            endings = ("mean", "std", "ci95_low", "ci95_high", "published")
            header += [f"{column} {end}" for end in endings] if is_measured else [column]
        rows: list[list[str]] = []
        for row in self.rows:
            cells: list[str] = []
            for cell, is_measured in zip(row.cells, measured, strict=True):
                cells += _csv_cells(cell) if is_measured else [str(cell)]
            rows.append(cells)
        return csv_text(header, rows)

    def markdown(self, glossary: Mapping[str, str]) -> str:
        """As a Markdown table between its caption and the meanings of its words."""
        lines = [
            f"**{escape(self.caption)}**",
            "",
            "| " + " | ".join(map(escape, self.columns)) + " |",
            "|" + "---|" * len(self.columns),
        ]
        lines += [
            "| " + " | ".join(escape(str(cell)) for cell in row.cells) + " |" for row in self.rows
        ]
        lines += ["", escape(self.note)] if self.note else []
        if terms := self.terms(glossary):
            lines += ["", markdown_terms(terms)]
        return "\n".join(lines)


def markdown_terms(terms: Mapping[str, str]) -> str:
    """Words and their meanings as a list in Markdown."""
    return "\n".join(f"- **{escape(word)}**: {escape(means)}." for word, means in terms.items())


def is_number(cell: Cell) -> bool:
    """Whether a cell is a number, or the mark for none."""
    return isinstance(cell, Value) or cell == NOTHING or bool(_NUMBER.fullmatch(cell))


def _with_std(mean: float, std: float | None, digits: int) -> str:
    return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.2f}")


def _csv_cells(cell: Cell) -> list[str]:
    if not isinstance(cell, Value):
        return [cell if cell != NOTHING else "", "", "", "", ""]
    low, high = cell.ci95 or (None, None)
    published = cell.published.mean if cell.published else None
    numbers = (cell.mean, cell.std, low, high, published)
    return ["" if number is None else repr(number) for number in numbers]
