"""Tables on a terminal show names as they are."""

from __future__ import annotations

import pytest
from rich.console import Console

from preprocess.console.tables import print_table, say, table_of


def test_a_name_gives_a_terminal_no_commands(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("[bold]RCA[/bold]", "[/]"), ("[red", "\x1b[31mred\x07")]
    print_table(("view", "[link=x]"), rows)
    printed = capsys.readouterr().out
    assert "[bold]RCA[/bold]" in printed and "[/]" in printed and "[link=x]" in printed
    assert "\x1b" not in printed and "\N{REPLACEMENT CHARACTER}[31mred" in printed
    console = Console(force_terminal=True, width=80)
    console.print(table_of(("view",), rows[:1], box=None, show_header=False, expand=False))
    assert capsys.readouterr().out.strip() == "[bold]RCA[/bold]  [/]"


def test_lines_give_a_terminal_no_commands(capsys: pytest.CaptureFixture[str]) -> None:
    say("RCA\x1b]0;title\x07 [bold]")
    assert (
        capsys.readouterr().err
        == "RCA\N{REPLACEMENT CHARACTER}]0;title\N{REPLACEMENT CHARACTER} [bold]\n"
    )
