"""Tables on the screen: printed once, or kept up to date during long work."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from preprocess.console.progress import LINE_EVERY_S

IN_A_FILE = 200
"""Columns of a file or a pipe, which has no width of its own."""

Row = Sequence[str]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """``text`` without the characters by which it could command a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def cell(text: str) -> Text:
    """``text`` in a table as it is: brackets in a name are no markup."""
    return Text(plain(text))


def table_of(columns: Sequence[str], rows: Iterable[Row] = (), **options: Any) -> Table:
    """A table whose first column, the names, is never cut; the others wrap where room is short."""
    table = Table(**options)
    for number, column in enumerate(columns):
        table.add_column(cell(column), no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row))
    return table


def print_table(columns: Sequence[str], rows: Iterable[Row], **options: Any) -> None:
    """Print a table once."""
    console = Console(width=None if sys.stdout.isatty() else IN_A_FILE)
    console.print(table_of(columns, rows, **options))


def say(*lines: str) -> None:
    """Lines for the person who waits, on standard error."""
    for line in lines:
        print(plain(line), file=sys.stderr, flush=True)


class LiveTable:
    """What long work is doing: a live table on a terminal; lines now and then in a file or a pipe.

    News are printed once, above it.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        console = Console(stderr=True)
        self._live = Live(console=console, auto_refresh=False) if sys.stderr.isatty() else None
        self._last_line = -LINE_EVERY_S

    def __enter__(self) -> LiveTable:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def show(
        self,
        summary: str,
        rows: Sequence[Row],
        *,
        news: Sequence[str] = (),
        below: Iterable[Row] = (),
    ) -> None:
        """Bring the screen up to date.

        Args:
            summary: one line about all of it.
            rows: what is under way.
            news: what has happened since the last call.
            below: more rows, which only a live table has.
        """
        if self._live:
            for line in news:
                self._live.console.print(cell(line))
            table = table_of(self._columns, rows, title=cell(summary), title_justify="left")
            table.add_section()
            for row in below:
                table.add_row(*map(cell, row))
            self._live.update(table, refresh=True)
            return
        say(*news)
        if news or time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._last_line = time.monotonic()
            say(summary, *("  " + "  ".join(filter(None, row)) for row in rows))
