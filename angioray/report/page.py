"""The page of a report: sections of tables, figures and pictures, as HTML and as Markdown."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
from markupsafe import Markup

from angioray.report.pictures import Gallery
from angioray.report.tables import Row, Table, Value
from preprocess.console.drawing import Figure, page_style


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Something to be copied: commands or settings."""

    title: str
    text: str
    folded: bool = False
    """Shown only when asked for."""


Block = Text | Listing | Table | Figure | Gallery


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page; ``anchor`` is its address in the table of contents."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """All of the report."""

    title: str
    subtitle: str
    headline: tuple[str, ...]
    """What was run and came out, in sentences."""
    notices: tuple[str, ...]
    """What failed, is missing, or must be known before any number is read."""
    sections: tuple[Section, ...]
    banner: str = ""
    """What stands above all, where the pictures show phantoms; else empty."""

    def html(self) -> str:
        """One file that needs no network."""
        files = importlib.resources.files("angioray.report")
        environment = jinja2.Environment(
            autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
        )
        environment.filters["svg"] = _trusted
        environment.filters["identity"] = id
        environment.tests["measured"] = lambda cell: isinstance(cell, Value)
        template = environment.from_string((files / "page.html.j2").read_text(encoding="utf-8"))
        style = _trusted(page_style() + (files / "report.css").read_text(encoding="utf-8"))
        return template.render(page=self, style=style, kind=_kind, numbered=_numbered(self))

    def markdown(self) -> str:
        """The words and tables; figures and pictures are in the HTML."""
        lines = [f"> **{self.banner}**", ""] if self.banner else []
        lines += [f"# {self.title}", "", self.subtitle, ""]
        lines += [f"> **Note.** {notice}\n" for notice in self.notices]
        lines += [f"- {sentence}" for sentence in self.headline]
        for section in self.sections:
            lines += ["", f"## {section.title}"]
            for block in section.blocks:
                lines += ["", _markdown(block)]
        return "\n".join(lines) + "\n"


def _trusted(markup: str) -> Markup:
    """Markup made by this package itself, with its own parts escaped already."""
    return Markup(markup)


def _kind(block: Block) -> str:
    return type(block).__name__.lower()


def _numbered(page: Page) -> dict[int, str]:
    """Labels by the identity of each block: Tables 1 to 3 as in the paper, the others from S1."""
    labels: dict[int, str] = {}
    blocks = [block for section in page.sections for block in section.blocks]
    figures = [block for block in blocks if isinstance(block, Figure)]
    others = [b for b in blocks if isinstance(b, Table) and b.number_in_paper is None]
    labels.update({id(block): f"Figure {i}" for i, block in enumerate(figures, start=1)})
    labels.update({id(block): f"Table S{i}" for i, block in enumerate(others, start=1)})
    for block in blocks:
        if isinstance(block, Table) and block.number_in_paper is not None:
            labels[id(block)] = f"Table {block.number_in_paper}"
    return labels


def _markdown(block: Block) -> str:
    match block:
        case Text():
            return block.text
        case Listing():
            return f"**{block.title}**\n\n```\n{block.text}\n```"
        case Table():
            return block.markdown()
        case Figure():
            return f"*Figure (in report.html): {block.caption}*"
        case Gallery():
            return f"*Pictures (in report.html): {block.title}. {block.note}*"


def plain_table(
    name: str,
    caption: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    *,
    note: str = "",
    number_in_paper: int | None = None,
) -> Table:
    """A table of plain text."""
    return Table(
        name=name,
        caption=caption,
        columns=columns,
        rows=tuple(Row(cells) for cells in rows),
        note=note,
        number_in_paper=number_in_paper,
    )
