"""A row of a sheet: its cells as text, without what spreadsheet programs put around them."""

from __future__ import annotations

import re
from dataclasses import dataclass

Cells = tuple[str, ...]

UNCALCULATED = "#FORMULA"
"""Stands in a cell whose formula was saved without a value."""
ERROR = re.compile(r"#[A-ZÄÖÜÉ/0]+[!?]|#N/?[AV]")
"""As spreadsheets write them: #REF!, #DIV/0!, #NAME?, #N/A, German #BEZUG! and #NV."""
MONTH = (
    r"(?:jan|ene|gen|feb|fév|mar|mär|mrz|mrt|apr|avr|abr|mai|may|mag|mei|jun|jui|giu|jul|lug|aug|aoû"
    r"|ago|sep|set|oct|okt|ott|out|nov|dec|dez|dic|déc)[^\W\d]*"
)
DATE = re.compile(
    r"\d{4}-\d\d-\d\d|\d\d?([./-])\d\d?\1|\d\d?[/-]\d\d?$"
    rf"|\d\d?[. -]+{MONTH}|{MONTH}[. -]+\d",
    re.IGNORECASE,
)
"""As Excel shows what it took for a date: 3-5 becomes 03. Mai, 5-Mar, 3/5 or Mrz 05."""
BLANK = " \t\r\n\0\u00a0\u200b\u2060\ufeff"
QUOTES = ('""', "''", "“”", "„“", "„”", "‘’", "‚‘", "«»", "»«")


@dataclass(frozen=True)
class Row:
    """The cells of one row, without blanks and quotes around them."""

    line: int
    """Where it begins in the file, counted from 1."""
    cells: Cells


def clean(cell: str) -> str:
    """A cell without blanks and quotes around it, nor the formula that keeps digits text."""
    text = re.sub(r'^="([^"]*)"$', r"\1", cell.strip(BLANK))
    for _ in range(2):
        if len(text) > 1 and text[0] + text[-1] in QUOTES:
            text = text[1:-1].strip(BLANK)
    return text


def describe_cell(text: str) -> str:
    """What kind of thing a cell holds, without saying it: it may be anybody's name."""
    if text == UNCALCULATED:
        return "a formula without a saved value (open the sheet, save it again)"
    if ERROR.fullmatch(text):
        return "an error of the spreadsheet"
    if DATE.match(text):
        return "a date (format the column as text before typing)"
    if re.fullmatch(r"-[\d.,]+", text):
        return "a negative number"
    if re.fullmatch(r"\d*[.,]\d+", text):
        return "a fraction"
    return "a number" if re.fullmatch(r"\d+", text) else "text"
