"""Table 1 of a cohort as a table, as data, and a page to look at."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from preprocess.atomic import write_json, write_text
from preprocess.cohort import BoxSource, Cohort, ManifestRow, Verdict, read_manifest
from preprocess.quality_page import quality_page
from preprocess.table_1 import IFR_THRESHOLD, TableRow, table_1

SCHEMA_VERSION = 1
COLUMNS = {
    "name": "sequences",
    "patients": "patients",
    "sequences": "sequences",
    "no_contrast_frames": "no contrast",
    "introducing_frames": "intro- ducing",
    "optimal_frames": "optimal",
    "vanishing_frames": "vanish- ing",
    "stenosis_annotations": "stenosis boxes",
    "ifr_below": "iFR below",
    "ifr_above": "iFR above",
}
"""The titles of Table 1; the four in the middle count frames."""
PRINTED_WIDTH = 104


@dataclass(frozen=True, kw_only=True)
class SummarySettings:
    """What a summary counts and shows."""

    ifr_threshold: float = IFR_THRESHOLD
    """The highest iFR that counts as below."""
    sequences: int = 200
    """How many sequences the page shows, the most doubtful tracks first; 0 shows none."""

    def __post_init__(self) -> None:
        if not 0 < self.ifr_threshold < 1 or self.sequences < 0:
            raise ValueError("ifr_threshold must lie between 0 and 1, and sequences be 0 or more.")


def summary(cohort: Path, settings: SummarySettings) -> None:
    """Print the paper's Table 1 for a cohort, and write a page to check its boxes by eye.

    Args:
        cohort: the cohort folder.

    Raises:
        ValueError: it is no cohort.

    Examples:
        python -m preprocess summary cohort
        python -m preprocess summary cohort --sequences 1000
    """
    opened = Cohort.open(cohort)
    manifest = read_manifest(cohort)
    rows = table_1(opened, manifest, ifr_threshold=settings.ifr_threshold)
    reasons = rejected_reasons(manifest)
    verdicts = verdict_counts(opened)
    console = Console()
    console.width = max(console.width, PRINTED_WIDTH)
    console.print(_printed(rows))
    if reasons:
        print(
            "Rejected files:",
            *(f"{count:6} {reason}" for reason, count in reasons.items()),
            sep="\n",
        )
    write_json(
        cohort / "summary.json",
        {
            "schema_version": SCHEMA_VERSION,
            "ifr_threshold": settings.ifr_threshold,
            "table_1": [asdict(row) for row in rows],
            "tracked_boxes": verdicts,
            "rejected": reasons,
        },
    )
    write_text(cohort / "summary.csv", _csv(rows))
    page = quality_page(opened, rows, COLUMNS, reasons, verdicts, shown=settings.sequences)
    write_text(cohort / "summary.html", page)
    print(f"Wrote {cohort / 'summary.html'}, summary.json and summary.csv beside it.")
    print("Next: python -m angioray.cv --help")


def rejected_reasons(manifest: list[ManifestRow]) -> dict[str, int]:
    """How many files were rejected for each reason, the most frequent first."""
    return dict(Counter(row.reason for row in manifest if row.status != "accepted").most_common())


def verdict_counts(cohort: Cohort) -> dict[str, int]:
    """How many tracked boxes bear each verdict."""
    counts = Counter(b.verdict for b in cohort.boxes if b.source is BoxSource.TRACKED)
    return {str(verdict): counts[verdict] for verdict in Verdict}


def _printed(rows: list[TableRow]) -> Table:
    table = Table(title="Table 1", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, title in COLUMNS.items():
        left = name == "name"
        heading = "" if left else title.replace(" ", "\n")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(str(value) for value in asdict(row).values()))
    return table


def _csv(rows: list[TableRow]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()
