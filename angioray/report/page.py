"""The page of a report: sections of tables, figures and pictures, as HTML and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from angioray.report.markdown import escape, fenced
from angioray.report.pictures import Gallery
from angioray.report.tables import Row, Table, Value, markdown_terms
from preprocess.console.drawing import Figure
from preprocess.console.pages import render

RESEARCH = (
    "This is research. It is no medical device: it must not be used for diagnosis, to decide on a "
    "treatment, or to spare a reader's look at a cine."
)
"""What every page and model card says first."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Terms:
    """Words and their meanings."""

    terms: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Something to be copied: commands or settings."""

    title: str
    text: str


Block = Text | Terms | Listing | Table | Figure | Gallery


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
    glossary: Mapping[str, str] = field(default_factory=dict)
    """Meanings of the words in the headings of its tables, which stand below each of them."""

    def html(self) -> str:
        """One file that needs no network."""
        labels = _numbered(self)
        return render(
            "angioray.report",
            "page.html.j2",
            style="report.css",
            page=self,
            research=RESEARCH,
            kind=_kind,
            numbered=lambda block: labels[id(block)],
            is_measured=lambda cell: isinstance(cell, Value),
        )

    def markdown(self) -> str:
        """The words and tables; figures and pictures are in the HTML."""
        lines = [f"> **{escape(self.banner)}**", ""] if self.banner else []
        lines += [f"# {escape(self.title)}", "", escape(self.subtitle), ""]
        lines += [f"**{escape(RESEARCH)}**", ""]
        lines += [f"> **Note.** {escape(notice)}\n" for notice in self.notices]
        lines += [f"- {escape(sentence)}" for sentence in self.headline]
        for section in self.sections:
            lines += ["", f"## {escape(section.title)}"]
            for block in section.blocks:
                lines += ["", self._markdown(block)]
        return "\n".join(lines) + "\n"

    def _markdown(self, block: Block) -> str:
        match block:
            case Text():
                return escape(block.text)
            case Terms():
                return markdown_terms(block.terms)
            case Listing():
                return f"**{escape(block.title)}**\n\n{fenced(block.text)}"
            case Table():
                return block.markdown(self.glossary)
            case Figure():
                return f"*Figure (in report.html): {escape(block.caption)}*"
            case Gallery():
                return f"*Pictures (in report.html): {escape(f'{block.title}. {block.note}')}*"


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


def plain_table(
    name: str,
    caption: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    *,
    note: str = "",
    meanings: Mapping[str, str] | None = None,
    number_in_paper: int | None = None,
) -> Table:
    """A table of plain text."""
    return Table(
        name=name,
        caption=caption,
        columns=columns,
        rows=tuple(Row(cells) for cells in rows),
        note=note,
        meanings=meanings or {},
        number_in_paper=number_in_paper,
    )
