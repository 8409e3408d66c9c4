"""The page of a review as a person uses it: by mouse and keys, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preprocess.cohort import (
    Box,
    BoxSource,
    Cohort,
    Sequence,
    Verdict,
    frames_digest,
    store_cine,
    write_annotations,
)
from preprocess.cohort.display import Display
from preprocess.cohort.reviews import read_reviews
from tests.browser import CHROMIUM, Browser, Point, axe_violations, needs_browser
from tests.preprocess.review.reviewing import Review, reviewed
from tests.preprocess.review.test_doubts import Study, agreeing, box_of, far_from
from tests.toy_cohort import write_toy_cohort

pytestmark = [pytest.mark.slow, needs_browser]

NAME, HEALTHY = "S00RCA", "S01RCA"
WHOLE = "window.review?.id && review.loaded === review.length"
"""Whether a sequence is shown and all its frames have arrived."""


class Reader(Browser):
    """A person at the page; places are pixels of the picture."""

    def __init__(self) -> None:
        assert CHROMIUM is not None
        super().__init__(CHROMIUM, width=1280, height=720)

    def visit(self, address: str) -> None:
        self.open(address)
        self.wait(WHOLE)

    def shown(self, selector: str) -> bool:
        found = f"document.querySelector({json.dumps(selector)})"
        return bool(self.evaluate(f"{found}.checkVisibility()"))

    @property
    def state(self) -> dict[str, Any]:
        """As it is shown, once it is saved."""
        self.wait("review.saved")
        state: dict[str, Any] = self.evaluate("review.state")
        return state

    def boxes(self, frame: int) -> list[dict[str, Any]]:
        return [box for box in self.state["boxes"] if box["frame"] == frame]

    def place(self, point: Point) -> Point:
        """Where a pixel is in the window."""
        at = self.evaluate(f"review.at({point[0]}, {point[1]})")
        return at["x"], at["y"]

    def draw(self, begin: Point, end: Point, button: str = "left") -> None:
        """Drag the mouse over the picture."""
        self.drag(self.place(begin), self.place(end), button)

    def grey(self, x: int, y: int) -> int:
        """The level of the canvas at a pixel, after the next picture of the screen."""
        level: int = self.evaluate(
            "new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
            ".then(() => { const canvas = document.querySelector('#viewer canvas');"
            "const corner = canvas.getBoundingClientRect();"
            f"const at = review.at({x}, {y});"
            "const [x, y] = [at.x - corner.x, at.y - corner.y];"
            "return canvas.getContext('2d').getImageData(x, y, 1, 1).data[0]; })"
        )
        return level


@contextmanager
def at_the_page(folder: Path, *arguments: str, name: str = NAME) -> Iterator[tuple[Reader, Review]]:
    with reviewed(folder, *arguments) as review, Reader() as reader:
        reader.visit(f"{review.address}#{name}")
        yield reader, review


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_toy_cohort(tmp_path / "cohort", patients=1).folder


@pytest.fixture
def page(folder: Path) -> Iterator[Reader]:
    """The page at a sequence with one lesion: 8 frames of 64 x 64, tracked from 2 to 6."""
    with at_the_page(folder) as (reader, _):
        yield reader
        assert reader.complaints == []


def stored(folder: Path, name: str = NAME) -> list[Box]:
    return [box for box in Cohort.open(folder).boxes if box.sequence_id == name]


def unjudged(boxes: list[Box]) -> list[Box]:
    """Without their confidence, which a box gets anew when it is tracked anew."""
    return [replace(box, confidence=1.0) for box in boxes]


def middle(box: Box) -> Point:
    x1, y1, x2, y2 = box.box_xyxy
    return (x1 + x2) / 2, (y1 + y2) / 2


def moved(point: Point, by: Point) -> Point:
    return point[0] + by[0], point[1] + by[1]


def unlabelled(folder: Path, *, frames: np.ndarray[Any, Any], display: Display) -> Path:
    """A cohort of one cine of which nothing is known but its pixels."""
    sequence = Sequence(
        sequence_id="S1",
        patient_id="P1",
        view=None,
        length=len(frames),
        height=frames.shape[1],
        width=frames.shape[2],
        bits_stored=8 * frames.dtype.itemsize,
        display=display,
        frames_digest=frames_digest(frames),
    )
    store_cine(folder, sequence, frames)
    write_annotations(folder, [sequence], [])
    return folder


def test_a_cine_is_shown_plays_and_is_scrubbed(page: Reader) -> None:
    assert page.evaluate("[review.id, review.frame]") == [NAME, 4]
    assert "RCA" in page.text("#what") and page.text("#where") == "frame 4 (0–7)\noptimal"
    assert page.grey(32, 60) == 90  # the upright bar
    page.keys("Home")
    page.wheel(page.place((32, 32)), 2)
    page.keys("ArrowRight", "ArrowLeft", "ArrowLeft")
    assert page.evaluate("review.frame") == 1
    page.keys("End", "Space")
    page.wait("review.playing && review.frame === 3")  # from the last frame to the first again
    page.keys("Space")
    assert page.evaluate("[review.playing, review.dropped]") == [False, 0]


def test_the_list_says_what_each_sequence_is_and_what_is_left(page: Reader, folder: Path) -> None:
    rows = page.evaluate("[...document.querySelectorAll('nav li')].map(row => row.innerText)")
    assert len(rows) == 6 and page.text("#done") == "0 of 6 done"
    (row,) = (row for row in rows if NAME in row)
    assert "RCA" in row and "1 lesion" in row and "open" in row
    page.keys("Enter")
    page.wait(f"review.id !== '{NAME}' && review.saved && {WHOLE}")
    assert page.text("#done") == "1 of 6 done" and read_reviews(folder)[NAME].accepted
    page.click("nav [value=open]")
    shown = "document.querySelectorAll('nav li:not([hidden])').length"
    assert page.evaluate(shown) == 5
    page.keys("Enter")
    page.wait("document.getElementById('done').innerText === '2 of 6 done'")


def test_the_next_cine_is_there_when_one_is_accepted(page: Reader) -> None:
    for number in range(1, 6):
        page.wait(WHOLE)
        page.keys("Enter")
        page.wait(f"document.getElementById('done').innerText === '{number} of 6 done'")
    page.wait(f"review.acceptToDrawn > 0 && {WHOLE}")
    page.keys("Enter")
    page.wait("document.getElementById('done').innerText === '6 of 6 done'")
    assert page.text("#said").endswith("Every sequence is done.")


def test_a_drawn_box_is_a_new_lesion_that_is_tracked_and_named(page: Reader, folder: Path) -> None:
    (known,) = {box.instance_id for box in stored(folder)}
    page.keys("n")  # whatever lies under it
    page.draw((3, 5), (15, 21))
    lesion = page.evaluate("(review.saved, review.chosen)")
    (drawn,) = (box for box in page.boxes(4) if box["lesion"] != known)
    assert drawn["box"] == [3, 5, 15, 21] and drawn["lesion"] > known
    page.evaluate("document.querySelector('#lesions li:last-child input').focus()")
    page.keys(*"ostium", "Enter")
    assert page.state["lesion_names"] == {str(drawn["lesion"]): "ostium"}
    found = [box for box in stored(folder) if box.instance_id == drawn["lesion"]]
    assert [box.frame_index for box in found] == [2, 3, 4, 5, 6]
    assert [box.source for box in found if box.frame_index != 4] == [BoxSource.TRACKED] * 4
    assert lesion in (drawn["lesion"], -1)
    # The name had the focus; keys mean the picture again.
    page.keys("Shift+Delete")
    assert {box["lesion"] for box in page.state["boxes"]} == {known}


def test_a_tracked_box_that_is_moved_becomes_a_key_box_and_back(page: Reader, folder: Path) -> None:
    before = stored(folder)
    tracked = next(box for box in before if box.frame_index == 5)
    page.keys("ArrowRight")
    page.draw(middle(tracked), moved(middle(tracked), (3, -2)))
    (box,) = page.boxes(5)
    x1, y1, x2, y2 = tracked.box_xyxy
    assert (box["box"], box["source"]) == ([x1 + 3, y1 - 2, x2 + 3, y2 - 2], "corrected")
    assert stored(folder) != before
    page.keys("Ctrl+z")
    assert page.boxes(5)[0]["source"] == "tracked" and unjudged(stored(folder)) == unjudged(before)
    page.keys("Ctrl+y")
    assert page.boxes(5) == [box]
    page.keys("Ctrl+z", "Ctrl+Shift+z", "Delete")  # without its key box, it is tracked
    assert page.boxes(5)[0]["source"] == "tracked" and unjudged(stored(folder)) == unjudged(before)


def test_a_box_is_sized_by_its_corner_and_by_keys(page: Reader, folder: Path) -> None:
    box = next(box for box in stored(folder) if box.frame_index == 4)
    x1, y1, x2, y2 = box.box_xyxy
    page.keys("b")
    page.draw((x2, y2), (x2 - 4, y2 - 3))
    page.keys("Alt+ArrowLeft", "Alt+ArrowUp", "Alt+ArrowUp", "Shift+Alt+ArrowRight")
    assert page.boxes(4)[0]["box"] == [x1 - 1, y1 - 2, x2 - 4, y2 - 5]
    page.keys("Ctrl+z", "Ctrl+z")  # keys that follow each other are one step
    assert page.boxes(4)[0]["box"] == [x1, y1, x2, y2]


def test_boxes_are_accepted_frame_by_frame_or_all(page: Reader, folder: Path) -> None:
    page.keys("ArrowRight", "a")
    assert page.boxes(5)[0]["source"] == "corrected"
    assert {box.frame_index for box in stored(folder) if box.source is not BoxSource.TRACKED} == {
        4,
        5,
    }
    page.keys("Enter")
    page.wait(f"review.id !== '{NAME}' && review.saved")
    assert read_reviews(folder)[NAME].accepted
    page.keys("Backspace")
    page.wait(f"review.id === '{NAME}'")
    page.keys("Ctrl+z")
    page.wait("review.saved")
    assert not read_reviews(folder)[NAME].accepted
    page.keys("Enter")
    page.wait(f"review.id !== '{NAME}' && review.saved")
    page.keys("PageUp", "2")  # what is changed is open again
    page.wait("review.saved")
    assert not read_reviews(folder)[NAME].accepted


def test_a_cine_opens_at_its_first_doubt_where_a_lost_box_is_accepted(folder: Path) -> None:
    cohort = Cohort.open(folder)
    boxes = [
        replace(box, verdict=Verdict.LOST, confidence=0.1) if box.frame_index == 5 else box
        for box in cohort.boxes
    ]
    write_annotations(folder, cohort.sequences.values(), boxes)
    (lost,) = (box for box in stored(folder) if box.frame_index == 5)
    with at_the_page(folder) as (page, _):
        assert page.evaluate("review.frame") == 5 and "1 lost" in page.text("#doubts")
        page.keys("a")
        page.wait("review.saved")
    (found,) = (box for box in stored(folder) if box.frame_index == 5)
    accepted = {"verdict": Verdict.GOOD, "confidence": 1.0, "source": BoxSource.CORRECTED}
    assert found == replace(lost, **accepted)


def test_the_place_that_is_doubted_is_marked(tmp_path: Path) -> None:
    cohort = write_toy_cohort(tmp_path / "cohort")
    found = agreeing(cohort)
    x1, y1, x2, _ = elsewhere = far_from(box_of(cohort, NAME))
    found[NAME].append((elsewhere, 0.9))
    study = Study(tmp_path / "runs", cohort)
    study.add_detector(found)
    marked = (
        "new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
        ".then(() => { const canvas = document.querySelectorAll('#viewer canvas')[1];"
        f"const corner = canvas.getBoundingClientRect(), at = review.at({(x1 + x2) / 2}, {y1});"
        "const line = canvas.getContext('2d')"
        ".getImageData(at.x - corner.x - 20, at.y - corner.y - 5, 40, 1).data;"
        "return line.some((_, i) => i % 4 === 0 && line[i] === 255 && line[i + 1] === 176); })"
    )
    with at_the_page(cohort.folder, "--runs", str(study.folder)) as (page, _):
        assert "no reader drew one there" in page.text("#doubts")
        assert page.evaluate(marked)
        page.keys("ArrowRight")
        assert not page.evaluate(marked)


def test_what_changes_nothing_is_not_saved(page: Reader, folder: Path) -> None:
    page.keys("1", "r", "Escape", "Ctrl+z", "Alt+ArrowLeft", "Delete", "Shift+Delete")
    page.click("#viewer")
    assert page.evaluate("review.saved") and read_reviews(folder) == {}
    page.keys("3")
    page.wait("review.saved")
    assert read_reviews(folder)[NAME].revision == 1


def test_labels_are_set_by_keys_and_by_mouse(page: Reader, folder: Path) -> None:
    page.keys("3", "Home", "i", "ArrowRight", "ArrowRight", "ArrowRight", "o", "r", "End", "v")
    state = page.state
    assert (state["view"], state["reference_frame"]) == ("LCx/LAD", 3)
    bounds = ["introducing_start", "optimal_start", "vanishing_start"]
    assert [state[bound] for bound in bounds] == [0, 3, 7]
    # A bound that is dragged takes along the one that it meets.
    page.drag(bound(page, 3), bound(page, 7.9))
    assert [page.state[bound] for bound in bounds] == [0, 8, 8]
    page.keys("Ctrl+z")
    assert [page.state[bound] for bound in bounds] == [0, 3, 7]
    page.click("[data-do=never]")
    sequence = Cohort.open(folder).sequences[NAME]
    page.wait("review.saved")
    sequence = Cohort.open(folder).sequences[NAME]
    assert (sequence.view, sequence.optimal_start, sequence.vanishing_start) == ("LCx/LAD", 3, 8)
    page.keys("Shift+v")
    assert [page.state[bound] for bound in bounds] == [None] * 3
    page.keys("e")
    assert "remove its lesions first" in page.text("#banner") and not page.state["no_lesion"]
    page.keys("b", "Shift+Delete", "e")
    assert page.state["no_lesion"] and not page.shown("#banner")
    page.keys("x", "ArrowDown", "Escape")
    page.wait("review.saved")
    assert read_reviews(folder)[NAME].state.exclude == "implant"
    assert "excluded" in page.text("nav [aria-current]")


def bound(page: Reader, frame: float) -> Point:
    """Where a frame begins on the timeline of a cine of 8 frames."""
    x, y, width = page.evaluate(
        "(place => [place.x, place.y, place.width])"
        "(document.querySelector('#timeline canvas').getBoundingClientRect())"
    )
    return x + 104 + frame / 8 * (width - 118), y + 27


def test_a_cine_without_any_label_is_labelled(tmp_path: Path) -> None:
    frames = np.full((6, 40, 50), 100, np.uint8)
    folder = unlabelled(tmp_path / "c", frames=frames, display=Display(lower=0, upper=200))
    with at_the_page(folder, name="S1") as (page, _):
        hints = page.text("#missing")
        for missing in ("No view", "No phases", "No boxes", "No reference frame"):
            assert missing in hints
        assert page.grey(25, 20) == 128  # 127.5, rounded to even
        page.keys("ArrowRight", "i", "ArrowRight", "o")
        assert "vanishing (v) missing" in page.text("#missing")
        assert not page.evaluate("review.saved")
        page.keys("Enter")
        assert "Some phases are still missing" in page.text("#banner")
        page.keys("End", "v", "1", "ArrowLeft", "r", "n", "n")
        assert page.state["vanishing_start"] == 5 and page.text("#missing") == ""
        page.wait("review.saved")
    sequence = Cohort.open(folder).sequences["S1"]
    assert (sequence.view, sequence.reference_frame, sequence.introducing_start) == ("RCA", 4, 1)
    (key,) = (box for box in stored(folder, "S1") if box.source is not BoxSource.TRACKED)
    assert (key.box_xyxy, key.source) == ((20.0, 15.0, 30.0, 25.0), BoxSource.REFERENCE)


@pytest.mark.parametrize(
    "display",
    [
        Display(lower=0, upper=255),
        Display(lower=100, upper=3000, inverted=True),
        Display(lower=-20, upper=30, modality_lut=(0, 5, 10, 20, 30, -20, 7)),
        Display(lower=40, upper=40),
    ],
)
def test_grey_levels_are_those_that_networks_learn_from(page: Reader, display: Display) -> None:
    for values in (256, 65536):
        shown = page.evaluate(
            "import('/cine.js').then(({lookupTable}) => "
            f"Array.from(lookupTable({json.dumps(asdict(display))}, {values})))"
        )
        assert shown == display.lookup(values).tolist()


def test_window_and_zoom_change_what_is_seen_and_nothing_else(tmp_path: Path) -> None:
    frames = np.full((3, 64, 64), 1000, np.uint16)
    folder = unlabelled(tmp_path / "c", frames=frames, display=Display(lower=0, upper=2000))
    with at_the_page(folder, name="S1") as (page, _):
        assert page.grey(32, 32) == 128
        page.draw((20, 20), (32, 20), "right")  # wider, the level stays
        assert page.grey(32, 32) == 128
        page.draw((20, 20), (20, 10), "right")  # a lower level is brighter
        assert page.grey(32, 32) > 140
        for _ in range(2):
            page.draw((20.5, 20.5), (20.5, 20.5), "right")
        assert page.text("#pixel") == "x 20 y 20 · 1000"
        assert page.grey(32, 32) == 128
        page.draw((20, 20), (20, 30), "right")
        assert page.grey(32, 32) < 120
        page.keys("w")
        assert page.grey(32, 32) == 128 and page.text("#window") == "W 2000  L 1000"
        before = page.evaluate("review.at(32, 32).x - review.at(31, 32).x")
        page.wheel(page.place((32, 32)), -4, "Ctrl")
        page.draw((32, 32), (30, 30), "middle")
        assert page.evaluate("review.at(32, 32).x - review.at(31, 32).x") > 1.5 * before
        assert page.evaluate("review.frame") == 0 and page.text("#zoom").startswith("×")
        page.keys("0")
        assert page.evaluate("review.at(32, 32).x - review.at(31, 32).x") == before
        assert page.evaluate("review.saved") and read_reviews(folder) == {}


def test_of_two_pages_the_second_is_told_and_may_repeat(folder: Path) -> None:
    with at_the_page(folder) as (page, review):
        review.cookie = ""
        with Reader() as other:
            other.visit(f"{another(review)}#{NAME}")
            other.keys("3")
            assert other.state["view"] == "LCx/LAD"
            page.keys("4")
            page.wait("!document.getElementById('banner').hidden")
            assert "changed in another page" in page.text("#banner")
            assert page.state["view"] == "LCx/LAD"
            page.keys("Ctrl+y")
            assert page.state["view"] == "LAD/LCx" and not page.shown("#banner")
            other.keys("PageDown", "PageUp")  # it looks again
            other.wait(f"review.id === '{NAME}' && review.state.view === 'LAD/LCx'")
    assert Cohort.open(folder).sequences[NAME].view == "LAD/LCx"


def another(review: Review) -> str:
    """The address for another browser, as the terminal says it once the first was used."""
    assert review.process.stdout is not None
    while "For another browser: " not in (line := review.process.stdout.readline()):
        assert line
    return line.removeprefix("For another browser: ").strip()


def test_what_the_server_refuses_is_said_and_taken_back(page: Reader) -> None:
    page.keys("2")
    page.wait("review.saved")
    page.evaluate(
        "const view = document.getElementById('view');"
        "view.value = 'x'.repeat(61); view.dispatchEvent(new Event('change'))"
    )
    page.wait("!document.getElementById('banner').hidden")
    assert "1 to 60 letters" in page.text("#banner")
    assert page.state["view"] == "LCA"
    page.keys("Ctrl+z")
    assert page.state["view"] == "RCA"
    page.complaints = [each for each in page.complaints if "422" not in each]


def test_a_server_that_ended_loses_nothing(folder: Path) -> None:
    with ExitStack() as ends:
        page, review = ends.enter_context(at_the_page(folder))
        page.keys("3")
        page.wait("review.saved")
        review.process.kill()
        review.process.wait()
        page.keys("b", "Alt+ArrowRight", "Enter")  # the next cine is here already
        page.wait(f"review.id !== '{NAME}'")
        page.keys("4")
        page.wait("!document.getElementById('offline').hidden")
        assert page.text("#saved") == "not saved yet" and not page.evaluate("review.saved")
        leaving = "(() => { const event = new Event('beforeunload', {cancelable: true});"
        assert page.evaluate(f"{leaving} return !dispatchEvent(event); }})()")
        with reviewed(folder, "--port", str(review.port)) as again:
            page.wait("document.getElementById('offline').innerText.includes('newest address')")
            page.tab().open(again.address)
            name = page.evaluate("review.id")
            assert page.state["view"] == "LAD/LCx" and not page.shown("#offline")
            page.wait(WHOLE)
    reviews = read_reviews(folder)
    assert reviews[NAME].accepted and reviews[NAME].state.view == "LCx/LAD"
    (key,) = reviews[NAME].state.key_boxes
    assert key.source is BoxSource.CORRECTED
    assert reviews[name].state.view == "LAD/LCx"


def break_off_the_next_answer(page: Reader) -> None:
    """The server saves the next change; its answer ends after the headers."""
    page.evaluate(
        "(ask => { let left = 1; window.fetch = async (url, options) => {"
        "const answer = await ask(url, options);"
        "if (options?.method !== 'PUT' || left-- < 1) return answer;"
        "const broken = new ReadableStream({pull: c => c.error(new TypeError('network error'))});"
        "return new Response(broken, {status: 200}); }; })(window.fetch)"
    )


def test_after_an_answer_that_broke_off_changes_are_saved(page: Reader, folder: Path) -> None:
    break_off_the_next_answer(page)
    page.keys("3")
    page.wait("!document.getElementById('offline').hidden")
    page.keys("Home", "r")
    assert page.state["view"] == "LCx/LAD"
    assert not page.shown("#offline") and not page.shown("#banner")
    state = read_reviews(folder)[NAME].state
    assert (state.view, state.reference_frame) == ("LCx/LAD", 0)
    page.complaints = [each for each in page.complaints if "409" not in each]


def test_a_new_lesion_is_known_again_when_its_answer_was_lost(page: Reader, folder: Path) -> None:
    break_off_the_next_answer(page)
    page.keys("n")
    page.draw((3, 5), (15, 21))
    assert len({box["lesion"] for box in page.state["boxes"]}) == 2 and not page.shown("#banner")
    assert len({box.instance_id for box in stored(folder)}) == 2
    page.keys("Ctrl+z")
    assert len({box["lesion"] for box in page.state["boxes"]}) == 1
    page.complaints = [each for each in page.complaints if "409" not in each]


def test_the_list_follows_what_another_page_accepted(folder: Path) -> None:
    with at_the_page(folder) as (page, review):
        last = "document.querySelector('nav li:last-child .name').innerText.split(' ')[0]"
        name = page.evaluate(last)
        other = page.tab()
        other.open(f"http://127.0.0.1:{review.port}/#{name}")
        other.wait(f"{WHOLE} && review.id === '{name}'")
        other.keys("Enter")
        other.wait("document.getElementById('done').innerText === '1 of 6 done'")
        other.wait("review.saved")
        page.click("nav li:last-child button")
        page.wait(f"review.id === '{name}'")
        assert page.text("#done") == "1 of 6 done"
        assert "accepted" in page.text("nav [aria-current]")


def test_a_cine_is_not_accepted_before_it_is_seen(page: Reader, folder: Path) -> None:
    page.evaluate(
        "(ask => { const held = new Promise(release => window.release = release);"
        "window.fetch = (url, options) => String(url).endsWith('/frames')"
        " ? held.then(() => ask(url, options)) : ask(url, options); })(window.fetch)"
    )
    page.click("nav li:last-child button")
    page.wait(f"review.id !== '{NAME}' && review.id")
    page.keys("Enter", "Enter")
    assert page.text("#said") == "Frame 2 is not here yet: nothing is accepted."
    assert page.evaluate("review.saved && !review.accepted") and read_reviews(folder) == {}
    name = page.evaluate("(release(), review.id)")
    page.wait(WHOLE)
    page.keys("Enter")
    page.wait(f"review.id !== '{name}' && review.saved")
    assert read_reviews(folder)[name].accepted


def test_a_cine_that_cannot_be_read_is_excluded(folder: Path) -> None:
    for part in (folder / "frames.zarr" / NAME).rglob("*"):
        if part.is_file() and part.name != "zarr.json":
            part.write_bytes(part.read_bytes()[:50])
    with at_the_page(folder, name="S00LCA") as (page, _):
        page.keys("Space", "PageDown")
        page.wait(f"review.id === '{NAME}' && !review.playing")
        page.wait("document.getElementById('waiting').innerText.includes('damaged')")
        assert NAME in page.text("#waiting") and page.shown("#waiting")
        page.click("#play")
        page.draw((3, 5), (15, 21))
        assert not page.evaluate("review.playing") and read_reviews(folder) == {}
        page.keys("Enter")
        page.wait(f"review.id !== '{NAME}'")
        assert page.text("#said").startswith(f"{NAME} is not accepted: its frames cannot be read")
        page.keys("PageUp")
        page.wait(f"review.id === '{NAME}'")
        page.keys("4", "x", "ArrowDown", "Escape")
        assert page.state["exclude"] == "implant" and page.state["view"] == "LAD/LCx"
    review = read_reviews(folder)[NAME]
    assert review.state.exclude == "implant" and not review.accepted


def test_a_drag_of_a_phase_can_be_given_up(page: Reader, folder: Path) -> None:
    bounds = "[review.state.introducing_start, review.state.vanishing_start]"
    places = [bound(page, frame) for frame in (7, 6, 5)]
    for key in ("Escape", "PageUp", "PageDown"):
        page.move(places[0])
        page.press(places[0])
        page.move(places[1], "left")
        page.keys(key)
        page.wait(WHOLE)
        page.move(places[2], "left")
        page.release(places[2])
        assert page.evaluate(bounds) == [1, 7]
    assert page.evaluate("review.saved") and read_reviews(folder) == {}


def test_a_box_belongs_to_the_frame_that_it_was_drawn_in(page: Reader) -> None:
    begin, end = page.place((3, 5)), page.place((15, 21))
    page.keys("n")
    page.move(begin)
    page.press(begin)
    page.move(end, "left")
    page.keys("ArrowRight", "Space", "End")
    assert page.evaluate("[review.frame, review.playing]") == [4, False]
    page.release(end)
    assert [3, 5, 15, 21] in [box["box"] for box in page.boxes(4)]


def test_what_is_typed_is_given_up_by_escape(page: Reader, folder: Path) -> None:
    for field in ("#view", "#lesions li input"):
        page.click(field)
        page.keys(*"ostium", "Escape")
        shown = page.evaluate(f"document.querySelector('{field}').value")
        assert shown == "" and page.evaluate("document.activeElement.id") == "viewer"
    assert page.evaluate("review.saved") and read_reviews(folder) == {}
    page.click("#view")
    page.evaluate(
        "document.activeElement.dispatchEvent(new KeyboardEvent('keydown',"
        "{key: 'Enter', isComposing: true, bubbles: true}))"
    )
    assert page.evaluate("document.activeElement.id") == "view"


def test_an_address_of_no_sequence_opens_the_first(folder: Path) -> None:
    with at_the_page(folder, name="%") as (page, _):
        assert page.evaluate("review.id") == "S00LCA" and page.complaints == []


def test_a_reload_shows_what_was_saved(page: Reader, folder: Path) -> None:
    page.keys("n")
    page.draw((3, 5), (15, 21))
    page.keys("ArrowLeft", "a", "4")
    before = page.state
    page.evaluate("location.reload()")
    page.wait(f"window.review?.id === '{NAME}' && {WHOLE} && !review.chosen")
    assert page.state == before
    assert page.evaluate("document.activeElement.id") == "viewer"
    page.keys("Ctrl+z")
    assert page.text("#said").startswith("There is nothing to undo") and page.state == before


def test_a_second_reader_is_told_whose_reading_it_is(folder: Path) -> None:
    boxes = stored(folder)
    with at_the_page(folder, "--reader", "B", name=HEALTHY) as (page, _):
        assert page.text("#reading").startswith("Reading of B")
        page.draw((10, 10), (30, 30))
        page.keys("Enter")
        page.wait("review.saved")
        assert page.text("#done") == "1 of 6 done"
    assert read_reviews(folder, "B")[HEALTHY].accepted
    assert len(read_reviews(folder, "B")[HEALTHY].state.key_boxes) == 1
    assert stored(folder) == boxes and stored(folder, HEALTHY) == []


def test_everything_can_be_done_without_a_mouse(page: Reader) -> None:
    page.keys("?")
    assert page.evaluate("document.getElementById('keys').open")
    assert "previous" in page.text("#keys") and page.evaluate("review.frame") == 4
    page.keys("a", "ArrowRight", "Escape")  # keys of the dialog are its own
    assert page.evaluate("review.frame") == 4 and page.state["boxes"]
    names = set()
    for _ in range(40):
        page.keys("Tab")
        names.add(page.evaluate("document.activeElement.id || document.activeElement.dataset.do"))
    assert {"help", "play", "hide", "view", "reference", "healthy", "exclude", "accept"} <= names
    page.keys("k", "d", "h")
    assert page.evaluate("document.getElementById('hide').checked")
    assert page.text("#said") == "There is no doubt about this sequence."


def test_axe_finds_nothing_that_hinders_a_reader(page: Reader) -> None:
    assert axe_violations(page) == []
    page.keys("b", "e")
    assert page.shown("#banner") and axe_violations(page) == []
    page.keys("?")
    assert page.shown("#keys") and axe_violations(page) == []


def test_areas_to_ignore_are_shown_and_stay(folder: Path) -> None:
    cohort = Cohort.open(folder)
    area = replace(stored(folder)[0], instance_id=0, ignored=True, frame_index=4)
    write_annotations(folder, cohort.sequences.values(), [*cohort.boxes, area])
    with at_the_page(folder) as (page, _):
        assert len(page.evaluate("[...document.querySelectorAll('#lesions li')]")) == 1
        page.keys("b", "Shift+Delete")
        page.wait("review.saved")
        assert page.state["boxes"] == []
    assert Cohort.open(folder).ignored == (area,)


def test_a_page_is_whole_at_its_smallest_size(page: Reader) -> None:
    assert page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    ) == [1280, 720]
    inside = "[...document.querySelectorAll('header button, .transport button, .actions button')]"
    assert page.evaluate(
        f"{inside}.every(b => (r => r.left >= 0 && r.right <= 1280 && r.bottom <= 720)"
        "(b.getBoundingClientRect()))"
    )


def test_nothing_lies_over_the_labels_when_the_page_is_zoomed(page: Reader) -> None:
    page.resize(853, 480)
    edges = (
        "['main', '#viewer', '.transport', '#timeline', '#reset'].map(name => "
        "document.querySelector(name).getBoundingClientRect().right)"
    )
    assert max(page.evaluate(edges)) <= page.evaluate(
        "document.querySelector('aside').getBoundingClientRect().left"
    )


def test_long_names_leave_room_for_the_rest(folder: Path) -> None:
    cohort = Cohort.open(folder)
    sequence = replace(cohort.sequences[NAME], primary_angle_deg=-32.0, secondary_angle_deg=24.0)
    others = (each for name, each in cohort.sequences.items() if name != NAME)
    write_annotations(folder, [sequence, *others], cohort.boxes)
    long = "a name of sixty letters is the longest one that may be given"
    with at_the_page(folder) as (page, _):
        page.keys("n")
        page.draw((48, 30), (62, 44))
        assert len({box["lesion"] for box in page.state["boxes"]}) == 2
        for field in ("#view", "#lesions li:last-child input"):
            page.evaluate(f"document.querySelector('{field}').focus()")
            page.keys(*(letter.replace(" ", "Space") for letter in long), "Enter")
        assert page.state["view"] == long and long in page.state["lesion_names"].values()
        angles = "document.querySelector('nav [aria-current] .angles')"
        assert page.evaluate(f"{angles}.scrollWidth <= {angles}.clientWidth")
        last = "new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
        last += (
            ".then(() => { const canvas = document.querySelectorAll('#viewer canvas')[1];"
            "const {width, height} = canvas; return [...canvas.getContext('2d')"
            ".getImageData(width - 1, 0, 1, height).data].every(value => value === 0); })"
        )
        page.resize(853, 720)
        assert page.evaluate(last)
        title = "document.querySelector('#lesions li:last-child input').title"
        assert page.evaluate(title) == long
        x, _ = bound(page, 0)
        row = page.evaluate("document.querySelector('#timeline canvas').getBoundingClientRect().y")
        page.move((x - 60, row + 80))
        assert page.evaluate("document.querySelector('#timeline canvas').title") == long
