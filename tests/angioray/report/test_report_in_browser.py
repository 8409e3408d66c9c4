"""The report in a real browser: nothing in the console, every figure seen, keyboard and paper."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from angioray.report.writing import write_report
from angioray.study.settings import settings_from_dict
from tests.angioray.synthetic_study import write_cohort, write_study
from tests.browser import (
    CHROMIUM,
    FIGURES,
    HIDDEN,
    TOO_WIDE,
    Browser,
    axe_violations,
    needs_browser,
)
from tests.hostile_names import ACTS, HOSTILE_VIEWS

PAPER = 695
"""The width of A4 between the margins, in CSS pixels."""
pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    return write_report(write_study(folder / "runs", write_cohort(folder / "cohort")))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose views have names that would act."""
    folder = tmp_path_factory.mktemp("hostile")
    cohort = write_cohort(folder / "cohort", patients=6, views=HOSTILE_VIEWS)
    return write_report(write_study(folder / "runs", cohort, variants=("B",), sizes=(64,)))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of all variants, with the paper's numbers beside its own."""
    folder = tmp_path_factory.mktemp("wide")
    variants = ("B", "BG", "NL", "BGNL")
    runs = write_study(
        folder / "runs", write_cohort(folder / "cohort"), variants=variants, sizes=()
    )
    study = json.loads((runs / "study.json").read_text())
    study["settings"] = asdict(settings_from_dict(study["settings"]))  # all of them, and long
    (runs / "study.json").write_text(json.dumps(study))
    return write_report(runs)


@pytest.fixture(scope="module")
def opened(page: Path) -> Iterator[Browser]:
    with Browser(str(CHROMIUM)) as seen:
        seen.open(page)
        yield seen


def test_the_console_stays_empty_and_nothing_is_fetched(opened: Browser) -> None:
    assert opened.evaluate("document.title") == "Coronary angiography: views and stenoses"
    assert opened.complaints == []


def test_nothing_hinders_people_with_a_disability(opened: Browser) -> None:
    assert axe_violations(opened) == []


def test_names_of_views_do_not_act_and_nothing_else_may(hostile: Path) -> None:
    with Browser(str(CHROMIUM)) as seen:
        seen.open(hostile)
        assert seen.evaluate("typeof hit") == "undefined"
        assert all(
            seen.evaluate(f"document.body.innerText.includes({json.dumps(name)})")
            for name in HOSTILE_VIEWS
        )
        assert seen.complaints == []
        assert seen.evaluate(ACTS) == "undefined"
        said = " ".join(seen.complaints)
        assert "script-src" in said and "img-src" in said


def test_the_console_is_listened_to(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<script>console.error('heard'); missing()</script><img src='none.png'>")
    with Browser(str(CHROMIUM)) as seen:
        seen.open(bad)
        seen.evaluate("1")
        said = " ".join(seen.complaints)
        assert "heard" in said and "missing is not defined" in said


def test_every_figure_is_seen(opened: Browser) -> None:
    figures = json.loads(opened.evaluate(FIGURES))
    assert len(figures) > 20
    for name, width, height, ink, visibility in figures:
        assert width > 100 and height > 80 and visibility == "visible", name
        assert ink > 0, f"{name} is empty"
    assert opened.evaluate(
        "[...document.querySelectorAll('main img')].every(i => i.naturalWidth > 0)"
    )


@pytest.mark.parametrize("width", [380, 800, 1280, 1900])
def test_no_width_needs_scrolling_sideways(page: Path, width: int) -> None:
    with Browser(str(CHROMIUM), width=width) as seen:
        seen.open(page)
        assert seen.evaluate(TOO_WIDE) == 0


def test_the_keyboard_reaches_the_content_and_every_wide_table(opened: Browser, page: Path) -> None:
    opened.open(page)
    opened.keys("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    opened.keys("Enter")
    assert opened.evaluate("location.hash") == "#content"
    assert opened.evaluate(
        "[...document.querySelectorAll('.scroll, pre')].every(e => e.tabIndex === 0)"
    )


@pytest.mark.parametrize("width", [1280, PAPER])
def test_nothing_is_lost_in_print(wide: Path, width: int) -> None:
    with Browser(str(CHROMIUM), width=width) as seen:
        seen.open(wide)
        assert json.loads(seen.evaluate(HIDDEN)) != []  # on the screen, settings are scrolled
        seen.print_media(True)
        assert json.loads(seen.evaluate(HIDDEN)) == []
        assert "batch_size: 32" in seen.text("#again")
        seen.evaluate(
            "document.querySelector('#again').insertAdjacentHTML('beforeend', "
            "'<details><summary>more</summary><p>folded away</p></details>')"
        )
        assert json.loads(seen.evaluate(HIDDEN)) == ["P  folded away"]


def test_it_prints_on_paper(opened: Browser, page: Path, tmp_path: Path) -> None:
    opened.open(page)
    opened.pdf(tmp_path / "report.pdf")
    printed = (tmp_path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF-")
    assert 5 <= printed.count(b"/Type /Page\n") <= 40
    opened.screenshot(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
