"""``python -m angioray.report RUNS``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid

from angioray.report.study_comparison import write_comparison
from angioray.report.tables import Cell, Table, is_number
from angioray.report.writing import write_report_and_tables
from preprocess.console.command_line import run

_STYLES = {"": "", "published": "dim", "baseline": "italic", "missing": "red"}


def report(runs: str, against: str | None = None) -> None:
    """Write tables, figures and one HTML page from the finished runs, also while others still run.

    Args:
        runs: the folder that `python -m angioray.cv` writes its runs to, also in an object store;
            there the report is written.
        against: another runs folder; the two studies are compared on a page of their own.

    Examples:
      python -m angioray.report demo/runs
      python -m angioray.report runs
      python -m angioray.report runs other-runs
    """
    console = Console()
    written = write_comparison(runs, against) if against else write_report_and_tables(runs)
    if written.banner:
        console.print(written.banner, style="bold", highlight=False, soft_wrap=True)
    for table in written.tables:
        console.print(_grid(table), "")
    console.print(
        f"Tables as CSV, and all of it as JSON and Markdown, lie in {runs} under report.",
        soft_wrap=True,
    )
    console.print(f"Open in a browser: {written.html}", soft_wrap=True)


def arguments(argv: Sequence[str]) -> list[str]:
    """A second runs folder may be given without its option's name."""
    if len(argv) > 1 and not argv[0].startswith("-") and not argv[1].startswith("-"):
        return [argv[0], "--against", *argv[1:]]
    return list(argv)


def _grid(table: Table) -> Grid:
    """The table as 80 columns can hold it: values over their deviations, nothing beside them."""
    grid = Grid(
        title=table.caption,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=0,  # the box's own blanks part the columns
    )
    for i, column in enumerate(table.columns):
        numeric = all(not row.cells[i] or is_number(row.cells[i]) for row in table.rows)
        heading = column.replace("Precision", "Prec.").replace(",", "")
        grid.add_column(heading, justify="right" if numeric else "left")
    for row in table.rows:
        grid.add_row(*map(_printed, row.cells), style=_STYLES[row.kind])
    return grid


def _printed(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell.main.replace(" ± ", "\n±")


if __name__ == "__main__":
    run(report, prog="python -m angioray.report", argv=arguments(sys.argv[1:]))
