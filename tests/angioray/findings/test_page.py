"""The page of predictions: what it says of a cine, where its marks are, and its pages."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from angioray.findings import page
from angioray.findings.cine_pictures import best_frames, film
from angioray.findings.marks import marks_in
from angioray.findings.page import part_path, render_cine, write_page
from angioray.findings.timeline import lane
from angioray.inference.findings import Findings
from preprocess.cohort import Sequence
from tests.angioray.findings.hand_made import LOOKED_AT, cine, found, pictures
from tests.browser import CHROMIUM, TOO_WIDE, Browser, axe_violations, needs_browser
from tests.hostile_names import ACTS, HOSTILE, words_of


def _decoded(jpeg_base64: str) -> NDArray[np.uint8]:
    content = np.frombuffer(base64.b64decode(jpeg_base64), np.uint8)
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_GRAYSCALE), np.uint8)


def _written(out: Path, cines: list[tuple[Findings, Sequence]]) -> Path:
    (out / "cines").mkdir(parents=True)
    for findings, sequence in cines:
        html = render_cine(findings, sequence, pictures(), score=0.5)
        part_path(out, sequence.sequence_id).write_text(html, encoding="utf-8")
    return write_page(
        out,
        cines,
        score=0.5,
        subtitle="study 1234, 5 models",
        quality=["Recall is 0.61 [0.49, 0.72]."],
        warnings=["The detector of RCA is no better than fixed boxes."],
        banner="Phantom data.",
        private_table="out.results.private.csv",
    )


def test_the_film_has_every_frame_where_it_says() -> None:
    made = film([pictures()[index] for index in LOOKED_AT])
    sheet = _decoded(made.jpeg_base64)
    assert (made.count, made.columns, made.size) == (8, 3, (192, 144))
    assert sheet.shape == (144, 192)
    for position, index in enumerate(LOOKED_AT):
        x, y = made.corner(position)
        middle = sheet[y + made.height // 2, x + made.width // 2]
        assert abs(int(middle) - 10 * index) <= 4, "JPEG is lossy"


def test_large_frames_are_made_smaller_and_keep_their_shape() -> None:
    made = film([np.zeros((512, 1024), np.uint8)] * 2)
    assert (made.width, made.height) == (256, 128)


def test_a_lane_lies_below_the_frames_of_the_film() -> None:
    first, second, _ = found().lesions
    course = lane(first, LOOKED_AT)
    # Frame 5 is the second of eight: from 12.5 % on. Frame 7 is the fourth: its middle is 43.75 %.
    assert [(cell.x, cell.width) for cell in course.cells] == [
        *((12.5, 12.5), (25.0, 12.5), (37.5, 12.5), (50.0, 12.5))
    ]
    assert course.best == 43.75 and course.found == 3
    assert "found in 3 of 8 frames, best in frame 7 with 0.95" in course.words
    assert [cell.x for cell in lane(second, LOOKED_AT).cells] == [75.0]


def test_the_best_frames_are_those_of_each_lesion_and_no_neighbours() -> None:
    lesions = found().lesions[:2]
    # 7 and 10 are the best of each; 8 lies beside 7, and 6 is carried, so 5 is next.
    assert best_frames(lesions) == [7, 10, 5]
    assert best_frames([]) == []


def test_words_stay_in_the_picture_and_off_each_other() -> None:
    # In 64 x 48 pixels words are 64 / 19 = 3.4 high; "1 0.00" is 6 * 0.6 * 3.4 = 12.24 wide.
    first, second, _ = found().lesions
    (mark,) = marks_in([first, second], 5, width=64, height=48)
    assert (mark.x, mark.y) == (10.0, 19.1), "above its box, a quarter of 3.4 higher"
    (mark,) = marks_in([first, second], 10, width=64, height=48)
    assert (mark.x, mark.y) == (50.0, 15.4), "below its box, which is at the upper edge"
    twins = [replace(first, number=n) for n in (1, 2, 3)]
    places = [(m.x, m.y) for m in marks_in(twins, 5, width=64, height=48)]
    assert places == [(10.0, 19.1), (10.0, 33.4), (22.9, 26.7)], "above, below, beside"


def test_a_cine_says_its_view_its_lesions_and_their_scores() -> None:
    html = render_cine(found(), cine(), pictures(), score=0.5)
    words = " ".join(words_of(html).split())
    assert "S1 2 lesions, best score 0.90" in words
    assert "RCA 0.88 · LCA 0.12 · by 5 models · patient P1, not known to the study" in words
    assert "LAO 40 CRA 20 · 8 of 20 frames looked at" in words
    assert "frame 7: lesion 1 0.95" in words and "lesion 3" not in words
    box = '<rect class="found" x="10.0" y="20.0" width="12.0" height="10.0"/>'
    assert html.count(box) == 3 + 2, "three frames of the film, and two large ones"
    assert html.count('<rect class="found carried"') == 1
    windows = re.findall(r'viewBox="(\d+ \d+ \d+ \d+)"><use', html)
    assert windows == [  # the player at frame 7, then each of the eight
        "0 48 64 48",
        *("0 0 64 48", "64 0 64 48", "128 0 64 48", "0 48 64 48"),
        *("64 48 64 48", "128 48 64 48", "0 96 64 48", "64 96 64 48"),
    ]


def test_nothing_found_is_said_in_words() -> None:
    html = render_cine(found(score=0.4), cine(), pictures(), score=0.5)
    assert "No lesion above score 0.5: the best score is 0.400" in words_of(html)
    assert "lane" not in html and 'class="found' not in html
    empty = replace(found(), lesions=(), view=None, probabilities={}, models=0)
    words = words_of(render_cine(empty, cine(), pictures(), score=0.5))
    assert "No lesion above score 0.5: nothing was found" in words
    assert "the study names no views" in words


def test_a_cine_that_nobody_looked_at_is_not_called_free_of_lesions() -> None:
    words = words_of(
        render_cine(replace(found(), frames=(), lesions=()), cine(), pictures(), score=0.5)
    )
    assert "No frame was looked at" in words and "0 of 20 frames looked at" in words
    assert "No lesion" not in words


def test_of_one_frame_there_is_a_picture_and_no_film() -> None:
    lesions = tuple(replace(x, boxes=x.boxes[-1:]) for x in found().lesions[1:2])
    one = replace(found(), frames=(10,), lesions=lesions)
    html = render_cine(one, cine(), pictures(), score=0.5)
    assert "timeline" not in html and html.count("<image") == 1
    assert "frame 10: lesion 2 0.55" in words_of(html)


def test_hostile_names_do_nothing(tmp_path: Path) -> None:
    name = HOSTILE[0]
    odd = replace(found(), view=name, probabilities={name: 1.0}, unlike=(f"Unlike {name}.",))
    path = _written(tmp_path / "out", [(odd, cine())])
    words = words_of(path.read_text(encoding="utf-8"), scripts=1)
    assert words.count(name) == 3, "in the table, of the cine, and what it is unlike"


def test_cines_are_on_pages_and_the_first_has_the_table_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MOST_ON_A_PAGE", 2)
    out = tmp_path / "out"
    scores = {"S1": 0.4, "S2": 0.9, "S3": 0.7}
    cines = [(found(name, score), cine(name)) for name, score in scores.items()]
    first = _written(out, cines).read_text(encoding="utf-8")
    second = (out / "predictions-2.html").read_text(encoding="utf-8")
    assert re.findall(r'<article id="s-(\w+)"', first) == ["S2", "S3"], "the best lesion first"
    assert re.findall(r'<article id="s-(\w+)"', second) == ["S1"]
    assert re.findall(r'<th scope="row"><a href="([^"]*)"', first) == [
        *("#s-S2", "#s-S3", "predictions-2.html#s-S1")
    ]
    assert "<table" not in second and 'href="predictions.html"' in second
    for text in (first, second):
        assert "The detector of RCA is no better than fixed boxes." in text
        assert "no medical device" in text and "Phantom data." in text
    assert "Recall is 0.61 [0.49, 0.72]." in first and "out.results.private.csv" in first
    write_page(out, cines[:1], score=0.5, subtitle="")
    assert not (out / "predictions-2.html").exists(), "a page of before"


def test_without_a_cine_the_page_says_so(tmp_path: Path) -> None:
    path = write_page(tmp_path, [], score=0.5, subtitle="")
    assert "No cine" in words_of(path.read_text(encoding="utf-8"), scripts=1)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that shows three cines."""
    doubted = replace(found("S3", 0.7), unlike=("Its frame rate is unlike.",), view="LCA")
    cines = [(found("S1", 0.4), cine("S1")), (found("S2"), cine("S2")), (doubted, cine("S3"))]
    path = _written(tmp_path_factory.mktemp("page") / "out", cines)
    with Browser(str(CHROMIUM)) as browser:
        browser.open(path)
        yield browser


ORDER = """
[[...document.querySelectorAll('#cines tbody th')].map(e => e.textContent).join(' '),
 [...document.querySelectorAll('article')].map(e => e.id.slice(2)).join(' '),
 document.querySelector('[aria-sort]').innerText.trim() + ' '
 + document.querySelector('[aria-sort]').getAttribute('aria-sort')]
"""
"""The cines of the table, those below it, and which column is sorted how."""


@pytest.mark.slow
@needs_browser
def test_headers_sort_the_table_and_the_cines_by_mouse_and_by_key(seen: Browser) -> None:
    assert seen.evaluate(ORDER) == ["S2 S3 S1", "S2 S3 S1", "Best score descending"]
    seen.click("#cines th:nth-child(6) button")
    assert seen.evaluate(ORDER) == ["S1 S3 S2", "S1 S3 S2", "Best score ascending"]
    seen.evaluate("document.querySelector('#cines th button').focus()")
    seen.keys("Enter")
    assert seen.evaluate(ORDER) == ["S1 S2 S3", "S1 S2 S3", "Cine ascending"]
    seen.keys("Enter")
    assert seen.evaluate(ORDER) == ["S3 S2 S1", "S3 S2 S1", "Cine descending"]
    seen.click("#cines th:nth-child(8) button")
    assert seen.evaluate(ORDER)[0].startswith("S3"), "the one with a warning"


@pytest.mark.slow
@needs_browser
def test_the_film_plays_and_follows_the_slider_and_the_lane(seen: Browser) -> None:
    frame = "document.querySelector('#s-S2 output').textContent"
    box = "document.querySelector('#s-S2 .player .picture').getAttribute('viewBox')"
    seen.evaluate("document.querySelector('#s-S2').scrollIntoView({behavior: 'instant'}), 0")
    seen.evaluate("document.querySelector('#s-S2 input').focus()")
    seen.keys("Home")
    assert [seen.evaluate(frame), seen.evaluate(box)] == ["4", "0 0 64 48"]
    seen.keys("ArrowRight")
    assert [seen.evaluate(frame), seen.evaluate(box)] == ["5", "64 0 64 48"]
    seen.click("#s-S2 .lane rect:nth-of-type(4)")
    assert [seen.evaluate(frame), seen.evaluate(box)] == ["8", "64 48 64 48"]
    seen.click("#s-S2 .player button")
    seen.wait(f"{frame} !== '8'")
    seen.click("#s-S2 .player button")
    stopped = seen.evaluate(frame)
    seen.evaluate("new Promise(later => setTimeout(later, 250))")
    assert seen.evaluate(frame) == stopped


@pytest.mark.slow
@needs_browser
def test_nobody_is_hindered_and_nothing_is_asked_for(seen: Browser, tmp_path: Path) -> None:
    assert axe_violations(seen) == []
    for width in (390, 1280, 1920):
        seen.resize(width, 900)
        assert seen.evaluate(TOO_WIDE) == 0
    seen.pdf(tmp_path / "page.pdf")
    assert seen.complaints == []
    assert seen.evaluate(ACTS) == "undefined"
