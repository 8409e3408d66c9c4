"""Figures show text as it is, and carry nothing of it anywhere else."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure as Canvas

from preprocess.console.drawing import draw
from tests.hostile_names import HOSTILE, words_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    "name",
    [
        *HOSTILE,
        "$x^{2}$",
        '"id="a" url(#b) href="#c',
        "'DejaVu Sans', serif; --",
        'width="3pt" height="4pt"',
    ],
)
def test_a_name_is_text_in_a_figure(name: str) -> None:
    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        axes.plot([0, 1], label=name)
        axes.set_title(name)
        axes.legend()

    figure = draw(paint, name=name, alt=name, caption="", width_in=4, height_in=3)
    drawn = ElementTree.fromstring(figure.svg)
    assert [found.text for found in drawn.iter(f"{SVG}text")].count(name) == 2
    assert drawn.get("aria-label") == name
    ids = {found.get("id") for found in drawn.iter() if found.get("id")}
    assert ids and all(str(own).startswith(f"{figure.name}-") for own in ids)
    assert figure.name.replace("-", "").replace("_", "").isalnum()
    words_of(figure.svg)


def test_figures_of_different_names_have_different_ids() -> None:
    def drawn(name: str) -> str:
        return draw(lambda _: None, name=name, alt="", caption="", width_in=1, height_in=1).name

    assert drawn("curves-LCx/LAD") != drawn("curves-LCx LAD")
    assert drawn("curves-RCA") == "curves-RCA"
