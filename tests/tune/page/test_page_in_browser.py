"""A sweep's page in a real browser: nothing in the console, every figure seen, keyboard, paper."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, FIGURES, TOO_WIDE, Browser, axe_violations, needs_browser
from tests.tune.synthetic_sweep import detector_sweep, view_sweep
from tune.page.writing import write_page

pytestmark = [pytest.mark.slow, needs_browser]

# Words of a figure that lie over each other, or outside of it.
CROWDED = """
JSON.stringify([...document.querySelectorAll('main figure')].flatMap(figure => {
  const frame = figure.querySelector('svg').getBoundingClientRect();
  const boxes = [...figure.querySelectorAll('text')].map(
    t => [t.textContent, t.getBoundingClientRect()]);
  const outside = boxes.filter(([_, b]) => b.left < frame.left - 1 || b.right > frame.right + 1
    || b.top < frame.top - 1 || b.bottom > frame.bottom + 1).map(([t, _]) => [figure.id, t]);
  const over = boxes.flatMap(([t, a], i) => boxes.slice(i + 1)
    .filter(([_, b]) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4)
    .map(([u, _]) => [figure.id, t, u]));
  return [...outside, ...over];
}))
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sweeps")
    return {
        "detector": Path(write_page(detector_sweep(folder / "detector"))),
        "view": Path(write_page(view_sweep(folder / "view"))),
    }


@pytest.fixture(scope="module")
def seen() -> Iterator[Browser]:
    with Browser(str(CHROMIUM)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("kind", "title", "figures"),
    [
        (
            "detector",
            "Sweep of the RCA detector, variant B",
            ["history", "curves", "importance", "parallel", "focal", "costs", "anchors"],
        ),
        ("view", "Sweep of the view classifier", ["history", "curves", "parallel", "costs"]),
    ],
)
def test_every_figure_is_seen_and_nothing_is_complained_of(
    seen: Browser, pages: dict[str, Path], kind: str, title: str, figures: list[str]
) -> None:
    seen.open(pages[kind])
    assert seen.evaluate("document.title") == title
    names = seen.evaluate("[...document.querySelectorAll('main figure')].map(f => f.id)")
    assert names == figures
    for name, width, height, ink, visibility in json.loads(seen.evaluate(FIGURES)):
        assert width > 100 and height > 80 and visibility == "visible", name
        assert ink > 10, f"{name} is empty"
    assert json.loads(seen.evaluate(CROWDED)) == []
    assert seen.complaints == []


def test_nothing_hinders_people_with_a_disability(seen: Browser, pages: dict[str, Path]) -> None:
    for page in pages.values():
        seen.open(page)
        assert axe_violations(seen) == []


@pytest.mark.parametrize("width", [380, 800, 1280, 1900])
def test_no_width_needs_scrolling_sideways(pages: dict[str, Path], width: int) -> None:
    with Browser(str(CHROMIUM), width=width) as narrow:
        for page in pages.values():
            narrow.open(page)
            assert narrow.evaluate(TOO_WIDE) == 0


def test_the_keyboard_reaches_the_content_and_the_wide_tables(
    seen: Browser, pages: dict[str, Path]
) -> None:
    seen.open(pages["detector"])
    seen.keys("Tab")
    seen.keys("Enter")
    assert seen.evaluate("location.hash") == "#content"
    assert seen.evaluate(
        "[...document.querySelectorAll('.scroll, pre')].every(e => e.tabIndex === 0)"
    )


def test_it_prints_on_paper(seen: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    seen.open(pages["detector"])
    seen.pdf(tmp_path / "page.pdf")
    printed = (tmp_path / "page.pdf").read_bytes()
    assert printed.startswith(b"%PDF-")
    assert 4 <= printed.count(b"/Type /Page\n") <= 10
