"""``python -m preprocess summary``: Table 1 on the terminal and in files, and the page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from rich import box
from rich.console import Console
from rich.table import Table

from preprocess.cohort import Cohort, read_manifest
from preprocess.console.settings import Count, CountOrZero, Settings, bounds
from preprocess.console.tables import cell, plain
from preprocess.ifr import IFR_CUT_OFF
from preprocess.storage.atomic import write_json, write_text
from preprocess.storage.csv_text import csv_text
from preprocess.summary.table_1 import COLUMNS, TableRow
from preprocess.summary.tally import Tally

PRINTED_WIDTH = 104
PRINTED = {
    "Introducing": "intro- ducing",
    "Vanishing": "vanish- ing",
    "Stenosis Annotations": "stenosis boxes",
}
"""Titles that are too wide for a terminal."""


@dataclass(frozen=True, kw_only=True)
class SummarySettings(Settings):
    """What a summary counts and shows."""

    ifr_threshold: Annotated[float, bounds(above=0, below=1)] = IFR_CUT_OFF
    """The highest iFR that counts as below, above 0 to below 1."""
    sequences: CountOrZero = 200
    """How many sequences the page shows, the most doubtful first; 0 shows none. A
    sequence takes some 70 kB of the page."""
    frames: Count = 6
    """How many frames of each sequence the page shows, 1 or more."""


def summary(cohort: Path, settings: SummarySettings) -> None:
    """Print the paper's Table 1 for a cohort, and write a page that shows what may be wrong in it.

    Args:
        cohort: the cohort folder.

    Raises:
        ValueError: it is no cohort, or its frames are damaged.

    Examples:
        python -m preprocess summary cohort
        python -m preprocess summary cohort --sequences 1000
    """
    # Every command and every worker process imports this module; only this one draws.
    from preprocess.summary.page import quality_page

    opened = Cohort.open(cohort)
    tally = Tally.of(opened, read_manifest(cohort), ifr_threshold=settings.ifr_threshold)
    console = Console()
    console.width = max(console.width, PRINTED_WIDTH)
    if tally.banner:
        print(tally.banner)
    console.print(_printed(tally.table_1))
    if tally.rejected:
        print(
            "Rejected files:",
            *(plain(f"{count:6} {reason}") for reason, count in tally.rejected.items()),
            sep="\n",
        )
    print(*tally.sentences(), sep="\n")
    write_json(cohort / "summary.json", tally.as_json())
    write_text(cohort / "summary.csv", _csv(tally.table_1))
    page = quality_page(opened, tally, shown=settings.sequences, frames=settings.frames)
    write_text(cohort / "summary.html", page)
    print(f"Wrote {cohort / 'summary.html'}, summary.json and summary.csv beside it.")
    print(f"Next: python -m preprocess review {cohort}, to look at the cines and correct them,")
    print("      or python -m angioray.cv --help, to train on them")


def _printed(rows: list[TableRow]) -> Table:
    table = Table(title="Table 1", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, title in COLUMNS.items():
        left = name == "name"
        heading = "" if left else PRINTED.get(title, title).replace(" ", "\n")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(cell(str(value)) for value in asdict(row).values()))
    return table


def _csv(rows: list[TableRow]) -> str:
    return csv_text(COLUMNS, ([asdict(row)[name] for name in COLUMNS] for row in rows))
