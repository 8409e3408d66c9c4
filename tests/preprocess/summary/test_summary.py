"""What the summary counts, finds and shows, by hand and in a browser."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from preprocess.cohort import (
    BoxSource,
    Cohort,
    Verdict,
    read_manifest,
    update_attributes,
)
from preprocess.summary.command import SummarySettings, summary
from preprocess.summary.contact_sheet import chosen_frames, contact_sheet
from preprocess.summary.tally import Tally
from tests.browser import CHROMIUM, Browser, axe_violations, needs_browser
from tests.hostile_names import ACTS, HOSTILE, words_of
from tests.preprocess.drawn_cohort import (
    box,
    placed,
    sequence,
    still,
    write_drawn,
    write_drawn_cohort,
)
from tests.preprocess.summary.expected_table_1 import EXPECTED


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return write_drawn_cohort(tmp_path / "cohort")


def test_the_tally_counts_tracked_boxes_by_view(cohort: Cohort) -> None:
    tally = Tally.of(cohort, read_manifest(cohort.folder))
    assert tally.tracked == {
        "RCA": {"good": 1, "check": 1, "lost": 0},
        "LCA": {"good": 0, "check": 0, "lost": 1},
    }
    assert tally.all_tracked == {"good": 1, "check": 1, "lost": 1}
    assert {view: fit.boxes for view, fit in tally.anchors.items()} == {"RCA": 5, "LCA": 1}
    assert tally.doubted == {"S2"}
    said = " ".join(tally.sentences())
    assert "4 sequences of 2 patients are in the cohort; 6 of 10 source files were rejected" in said
    assert "1 lost (33.3 %). Lost boxes are not trained on." in said
    assert "the contrast intervals of 1 sequences and the reference frame of 0." in said


@pytest.mark.parametrize(
    ("optimal", "reference", "doubtful", "expected"),
    [
        ((20, 41), 30, {}, [20, 22, 25, 30, 35, 40]),
        ((20, 41), 30, {22: 0.3, 33: 0.1, 39: 0.2}, [20, 25, 30, 33, 36, 39]),
        ((20, 41), 30, {34: 0.1, 33: 0.15, 36: 0.2, 38: 0.3}, [20, 22, 25, 30, 34, 38]),
        ((20, 41), None, {}, [20, 22, 25, 30, 35, 40]),
        ((20, 41), 3, {}, [3, 21, 25, 30, 35, 40]),
        ((20, 22), 20, {}, [0, 10, 20, 27, 34, 49]),
    ],
)
def test_chosen_frames(
    optimal: tuple[int, int], reference: int | None, doubtful: dict[int, float], expected: list[int]
) -> None:
    cine = replace(
        sequence("S", "P", "RCA"),
        length=50,
        optimal_start=optimal[0],
        vanishing_start=optimal[1],
        reference_frame=reference,
    )
    boxes = [
        box("S", t, 1, BoxSource.TRACKED, Verdict.CHECK, confidence)
        for t, confidence in doubtful.items()
    ]
    chosen = chosen_frames(cine, boxes, 6)
    assert chosen == sorted(set(chosen)) and len(chosen) == 6
    assert chosen == expected


def test_a_short_cine_is_shown_whole() -> None:
    assert chosen_frames(sequence("S", "P", "RCA"), [], 20) == list(range(10))
    assert chosen_frames(still("S"), [], 6) == [0]


def test_a_sheet_tells_where_each_box_comes_from(cohort: Cohort) -> None:
    boxes = [found for found in cohort.boxes if found.sequence_id == "S1"]
    sheet = contact_sheet(cohort, cohort.sequences["S1"], boxes, [], count=4)
    assert sheet.worst == "check"
    assert [p.caption for p in sheet.pictures] == [
        "frame 3",
        "frame 4, reference",
        "frame 5, check 0.50",
        "frame 6, good 1.00",
    ]
    assert sheet.pictures[1].alt == "Frame 4 of S1: reference, reference box"
    intervals, first, second = sheet.courses
    assert intervals.paths["optimal"] == "M3 0h4v1h-4z"
    assert first.paths["check"] == "M5 1v-0.5h1v0.5z"
    assert first.words == "1 reference, 1 check, 1 good; lowest confidence 0.50 in frame 5"
    assert set(second.paths) == {"reference", "reference pale"}


def test_summary_writes_the_table_and_a_page_without_network(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    summary(cohort.folder, SummarySettings(sequences=2, frames=3))
    said = capsys.readouterr().out
    assert "With Implants" in said
    assert "Lost boxes are not trained on." in said
    assert "Next: " in said
    document = json.loads((cohort.folder / "summary.json").read_text())
    assert document["table_1"][0]["sequences"] == 6
    assert document["tracked_boxes"] == {"good": 1, "check": 1, "lost": 1}
    assert document["rejected"]["excluded: implant"] == 1
    assert document["findings"] == {
        "lost": {"S2": "1 of 1 tracked boxes are lost and not trained on"}
    }
    with (cohort.folder / "summary.csv").open() as file:
        rows = [list(row.values()) for row in csv.DictReader(file)]
    assert "".join(",".join(row) + "\n" for row in rows) == EXPECTED
    page = (cohort.folder / "summary.html").read_text()
    assert re.findall(r'<article id="s-(\w+)"', page) == ["S2", "S1"], "the doubtful one first"
    assert page.count("data:image/jpeg;base64,") == 6
    assert not re.search(r'(?:src|href)="(?!#|data:)|url\((?!#)|@import', page)


def test_the_same_cohort_gives_the_same_page(cohort: Cohort) -> None:
    summary(cohort.folder, SummarySettings())
    once = {p.name: p.read_bytes() for p in cohort.folder.glob("summary.*")}
    summary(cohort.folder, SummarySettings())
    assert once == {p.name: p.read_bytes() for p in cohort.folder.glob("summary.*")}
    assert len(once) == 3


def write_hostile(folder: Path) -> Path:
    """The summary of a cohort whose views and sequence have names that would act."""
    named = placed(HOSTILE[0], 30, 20, HOSTILE[0])
    other = placed(HOSTILE[1], 30, 20, "S2")
    write_drawn(folder, [named, other], [box(HOSTILE[0], 4, 1), box("S2", 4, 2)])
    summary(folder, SummarySettings())
    return folder / "summary.html"


def test_names_are_text_wherever_they_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_of(write_hostile(tmp_path).read_text(), scripts=1)
    assert "[bold]" in capsys.readouterr().out
    assert all(words.count(name) >= 4 for name in HOSTILE)


@pytest.mark.parametrize(
    "settings", [{"ifr_threshold": 1.0}, {"sequences": -1}, {"frames": 0}], ids=str
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="; it must be "):
        SummarySettings(**settings)  # type: ignore[arg-type]


SHOWN = """
[...document.querySelectorAll("article")]
  .filter((sheet) => sheet.getClientRects().length).map((sheet) => sheet.id.slice(2)).join(" ")
"""
FOLLOW = """
new Promise((done) => {
  addEventListener("hashchange", () => setTimeout(done));
  location.hash = "#s-S2";
})
"""
FORM = 'document.getElementById("filters")'


@needs_browser
def test_the_page_opens_and_filters_in_a_browser(cohort: Cohort) -> None:
    summary(cohort.folder, SummarySettings())
    with Browser(str(CHROMIUM)) as seen:
        seen.open(cohort.folder / "summary.html")

        def shown(change: str = "") -> str:
            seen.evaluate(f"{FORM}.reset()")
            if change:
                seen.evaluate(f"{FORM}.elements.{change}")
                seen.evaluate(f"{FORM}.dispatchEvent(new Event('input'))")
            return str(seen.evaluate(SHOWN))

        assert shown() == "S2 S1 S3 S4"
        assert shown("view.selectedIndex = 1") == "S1 S3 S4"
        assert shown("view.selectedIndex = 2") == "S2"
        assert shown("worst.value = 'lost'") == "S2"
        assert shown("worst.value = 'none'") == "S3 S4"
        assert shown("found.value = 'any'") == "S2"
        assert shown("found.value = 'lost'") == "S2"
        assert shown("proposed.checked = true") == "S2"
        assert shown("words.value = ' p2 '") == "S3 S4"
        assert shown("words.value = 'P3'") == ""
        assert seen.evaluate("document.getElementById('nothing').hidden") is False
        assert seen.evaluate(f"{FORM}.querySelector('output').textContent") == "0 of 4 shown"
        seen.evaluate(FOLLOW)
        assert seen.evaluate(SHOWN) == "S2 S1 S3 S4"
        assert seen.complaints == []


@needs_browser
def test_nothing_hinders_people_with_a_disability(cohort: Cohort) -> None:
    summary(cohort.folder, SummarySettings())
    with Browser(str(CHROMIUM)) as seen:
        seen.open(cohort.folder / "summary.html")
        assert axe_violations(seen) == []


@needs_browser
def test_names_do_not_act_in_a_browser_and_nothing_else_may(tmp_path: Path) -> None:
    page = write_hostile(tmp_path)
    with Browser(str(CHROMIUM)) as seen:
        seen.open(page)
        assert seen.evaluate("typeof hit") == "undefined"
        assert seen.evaluate(f"{FORM}.hidden") is False, "the page's own script runs"
        assert seen.complaints == []
        assert seen.evaluate(ACTS) == "undefined"
        said = " ".join(seen.complaints)
        assert "script-src" in said and "img-src" in said


def test_a_cohort_of_bare_stills_opens_too(tmp_path: Path) -> None:
    write_drawn(tmp_path, [still("A"), still("B")], [])
    summary(tmp_path, SummarySettings())
    html = (tmp_path / "summary.html").read_text()
    for sentence in (
        "The cohort has no manifest",
        "No sequence tells the angles",
        "No box was tracked",
        "No sequence has a box.",
        "No cine of more than one frame has contrast intervals.",
        "No sequence has an iFR.",
        "The checks of this page found nothing.",
    ):
        assert sentence in html
    assert html.count("<article") == 2


def test_a_cohort_of_one_cine_with_everything_can_be_drawn(tmp_path: Path) -> None:
    one = replace(placed("RCA", 30, 0, "S"), ifr=(0.95,))
    drawn = write_drawn(tmp_path, [one], [box("S", 4, 1)])
    update_attributes(tmp_path, replace(one, vanishing_start=10))
    summary(tmp_path, SummarySettings(frames=1))
    html = (tmp_path / "summary.html").read_text()
    assert [name for name in ("angles", "sizes", "phases", "ifr") if f'<figure id="{name}"' in html]
    assert html.count("<img") == 1
    assert len(drawn.boxes) == 1


def test_only_the_page_needs_what_draws() -> None:
    code = "import sys, preprocess.__main__; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_damaged_frames_end_in_a_sentence(cohort: Cohort) -> None:
    shard = cohort.folder / "frames.zarr" / "S1" / "c" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(ValueError, match="are damaged"):
        summary(cohort.folder, SummarySettings())
