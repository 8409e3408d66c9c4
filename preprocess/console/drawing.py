"""The look of figures, and matplotlib figures as SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

INK = "#1b2733"
GREY = "#7a8794"
# Okabe and Ito's colours, which colour-blind readers can tell apart; line styles say it again.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
LINES = ("-", "--", "-.", ":")
RASTER_DPI = 144
"""Of what is a picture within a figure; the rest is drawn."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "angioray",
    # A dollar or a backslash in the name of a view is one, whatever a person's matplotlibrc says.
    "text.parse_math": False,
    "text.usetex": False,
    "font.size": 9,
    "text.color": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9aa5b1",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e8ec",
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.5,
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the page."""

    name: str
    alt: str
    """What it shows, for those who cannot see it."""
    caption: str
    svg: str


Draw = Callable[[Canvas], None]


def draw(
    paint: Draw, *, name: str, alt: str, caption: str, width_in: float, height_in: float
) -> Figure:
    """Make a figure: ``paint`` fills an empty canvas of that size in inches.

    Args:
        paint: draws. Text is shown as it is: what is a formula for matplotlib is not one here.
        name: of the figure; what no HTML id can hold is replaced.
        alt: what it shows, for those who cannot see it.
        caption: what stands below it.
        width_in: of the canvas.
        height_in: of the canvas.
    """
    name = _identifier(name)
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(width_in, height_in), layout="constrained")
        canvas.patch.set_alpha(0.0)
        paint(canvas)
        text = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        canvas.savefig(text, format="svg", dpi=RASTER_DPI, metadata=nothing)
    return Figure(name=name, alt=alt, caption=caption, svg=_inline(text.getvalue(), name, alt))


def panels(canvas: Canvas, count: int, columns: int) -> list[Axes]:
    """A grid of ``count`` axes, the rest of the last row left empty."""
    rows = -(-count // columns)
    grid = [canvas.add_subplot(rows, columns, i + 1) for i in range(count)]
    return grid


def _identifier(name: str) -> str:
    """A name as an HTML id: different names stay different."""
    return "".join(c if c.isalnum() or c == "-" else f"_{ord(c):x}_" for c in name)


def _inline(svg: str, name: str, alt: str) -> str:
    """The SVG element alone, with ids of its own, the page's font and a text alternative."""

    def own(tag: re.Match[str]) -> str:
        text = re.sub(r'\bid="', f'id="{name}-', tag[0])
        text = re.sub(r"url\(#", f"url(#{name}-", text)
        text = re.sub(r'href="#', f'href="#{name}-', text)
        return re.sub(r"'DejaVu Sans'(, [^;\"]*)?", "var(--sans)", text)

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<[^>]*>", own, svg)  # tags alone: names of views are text between them
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)
    head = f'<svg role="img" aria-label="{escape(alt)}"'
    return svg.replace("<svg", head, 1)
