"""The report on the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from angioray.report.tables import Cell, Table, is_number
from angioray.report.writing import Written
from preprocess.console.tables import cell

_STYLES = {"": "", "published": "dim", "baseline": "italic", "missing": "red"}


def print_report(written: Written, runs: str) -> None:
    """Print what was written of the study in a runs folder."""
    console = Console()
    if written.banner:
        console.print(written.banner, style="bold", highlight=False, markup=False, soft_wrap=True)
    for table in written.tables:
        console.print(_grid(table), "")
    print(f"Tables as CSV, and all of it as JSON and Markdown, are in {runs} under report.")
    print(f"Open in a browser: {written.html}")


def _grid(table: Table) -> Grid:
    """The table as 80 columns can hold it: values over their deviations, nothing beside them."""
    grid = Grid(
        title=cell(table.caption),
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=0,  # the box's own blanks part the columns
    )
    for i, column in enumerate(table.columns):
        numeric = all(not row.cells[i] or is_number(row.cells[i]) for row in table.rows)
        heading = column.replace("Precision", "Prec.").replace(",", "")
        grid.add_column(cell(heading), justify="right" if numeric else "left")
    for row in table.rows:
        grid.add_row(*map(_printed, row.cells), style=_STYLES[row.kind])
    return grid


def _printed(value: Cell) -> Text:
    return cell(value if isinstance(value, str) else value.main.replace(" ± ", "\n±"))
