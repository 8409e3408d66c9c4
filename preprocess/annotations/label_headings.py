"""Which column of a sheet holds what: the headings of ``sequences.csv`` as people write them."""

from __future__ import annotations

import re
import unicodedata

from preprocess.annotations.cells import Cells
from preprocess.annotations.labels import BOUNDS
from preprocess.annotations.sheets import Sheet
from preprocess.console.names import nearest

KEYS = ("file", "sop_instance_uid")
COLUMNS = (*KEYS, "view", "reference_frame", *BOUNDS, "ifr", "exclude", "no_lesion", "year")
PROPOSED = tuple(f"proposed_{name}" for name in ("view", "reference_frame", *BOUNDS))
"""Proposals for the columns of these names. They are no labels: a person copies what is right."""
FOR_THE_EYE = ("frames", "angles", *PROPOSED)
"""Columns of `preprocess sheet` that are not read."""
KNOWN = (*COLUMNS, *FOR_THE_EYE)


def plain(text: str) -> str:
    """A heading, or a word in a cell, without case, blanks, hyphens and underscores."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())


ALSO = {
    "file": ("files", "filename", "filepath", "path", "datei", "dateiname", "pfad", "fichier"),
    "sop_instance_uid": ("sopuid",),
    "view": ("views", "ansicht"),
    "reference_frame": ("refframe", "referenceframeno", "referenzframe", "referenzbild"),
    "ifr": ("ifrs", "ifrvalue", "ifrvalues", "ifrwert", "ifrwerte"),
    "exclude": ("excluded", "exclusion", "exclusionreason", "ausschluss"),
    "year": ("jahr", "année", "annee", "anno", "año"),
    "no_lesion": ("nolesions", "keinelaesion", "keinestenose"),
}
"""Other headings that people give these columns, as ``plain`` returns them."""
_EXACT = {plain(name): name for name in KNOWN}
_BY_PLAIN = _EXACT | {other: name for name, others in ALSO.items() for other in others}
BRACKETED = re.compile(r"\([^()]*\)|\[[^][]*\]")


def _name_of(heading: str) -> str | None:
    """The column that a heading names, if need be without what it has in brackets."""
    note = "".join(BRACKETED.findall(heading))
    # Of `reference frame (from 1)` the brackets change what is meant.
    bare = heading if re.search("[1-9]", note) else BRACKETED.sub("", heading)
    return _BY_PLAIN.get(plain(heading)) or _BY_PLAIN.get(plain(bare))


def score(cells: Cells) -> int:
    """How many headings a row has; one that says which cine is meant counts more than all others.

    The rows of another table have neither.
    """
    found = {_name_of(cell) for cell in cells} - {None}
    return len(found) + len(KNOWN) * bool(found & set(KEYS))


def columns_of(sheet: Sheet) -> tuple[dict[str, int], list[str]]:
    """Where each column is, and what is said of headings that are no exact name of a column.

    Raises:
        ValueError: headings are missing, occur twice or are almost right.
    """
    cells = sheet.headings.cells
    expected = f"expected the headings {', '.join(COLUMNS)}"
    if not any(cells):
        raise ValueError(f"it is empty; {expected}")
    if not score(cells):
        # Not quoted: in a file without headings it is the first cine's row.
        raise ValueError(f"none of its first rows has a heading that is known; {expected}")
    at = f"{sheet.unit} {sheet.headings.line}"
    exact = [_EXACT.get(plain(cell)) for cell in cells]
    # A column `path` beside one that is called `file` is another one.
    names = [
        name or (other if (other := _name_of(cell)) not in exact else None)
        for name, cell in zip(exact, cells, strict=True)
    ]
    problems = [
        f"{at}: {name!r} is the heading of {names.count(name)} columns"
        for name in KNOWN
        if names.count(name) > 1
    ]
    lacks_key = not set(KEYS) & set(names)
    missing = KEYS if lacks_key else [name for name in COLUMNS if name not in (*names, *KEYS)]
    wanted = {word: name for word, name in _BY_PLAIN.items() if name in missing and name != "year"}
    unused, assumed = [], []
    for number, (cell, name) in enumerate(zip(cells, names, strict=True)):
        if name and not exact[number]:
            assumed.append(f"column {number + 1} is {name}")
        if name or not any(row.cells[number] for row in sheet.rows):
            continue
        if near := nearest(plain(cell), wanted, cutoff=0.5 if lacks_key else 0.75):
            meant = wanted[near]
            counted = " (its frames count from 0)" if meant in ("reference_frame", *BOUNDS) else ""
            # The heading is not quoted: it may be somebody's name.
            problems.append(
                f"{at}: the heading of column {number + 1} is nearly {meant!r}; give it this name"
                f"{counted}, or remove the column"
            )
        else:
            unused.append(str(number + 1))
    if lacks_key and not problems:
        problems.append(
            f"{at}: neither a column 'file' nor 'sop_instance_uid' says which cine is meant"
        )
    if problems:
        raise ValueError("; ".join(problems))
    told = [*assumed, *([f"column {' and '.join(unused)} not used"] if unused else [])]
    if any(
        row.cells[names.index(name)] for row in sheet.rows for name in PROPOSED if name in names
    ):
        told.append("columns proposed_ not used: copy what is right into those without proposed_")
    return {name: number for number, name in enumerate(names) if name in COLUMNS}, told
