"""The server of a review, as a browser and as others meet it; and a process that is killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from preprocess.cohort import Cohort, Sequence, frames_digest, store_cine, write_annotations
from preprocess.cohort.display import Display
from preprocess.cohort.reviews import read_reviews
from tests.preprocess.review.reviewing import Review, reviewed
from tests.toy_cohort import write_toy_cohort

NAME, HEALTHY = "S00RCA", "S01RCA"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_cohort(tmp_path_factory.mktemp("review") / "cohort", patients=1).folder


@pytest.fixture(scope="module")
def review(folder: Path) -> Iterator[Review]:
    with reviewed(folder) as begun:
        begun.enter()
        yield begun


def test_only_the_browser_that_brought_the_token_gets_anything(review: Review) -> None:
    paths = ["/", "/api/cohort", f"/api/sequences/{NAME}", f"/api/sequences/{NAME}/frames"]
    for path in [*paths, "/review.js", "/?token=wrong", "/?token="]:
        answer = review.ask(path, headers={"Cookie": f"review-{review.port}=wrong"})
        assert answer.status == 403 and b"once" in answer.body, path
    # The token has been used, by this browser.
    assert review.ask(f"/?token={review.token}", headers={"Cookie": ""}).status == 403
    assert review.ask(f"/?token={review.token}").status == 303
    put = review.ask(f"/api/sequences/{NAME}", method="PUT", body={}, headers={"Cookie": ""})
    assert put.status == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example"])
def test_other_names_of_this_host_get_nothing(review: Review, host: str) -> None:
    assert review.ask("/api/cohort", headers={"Host": host}).status == 400


def test_the_page_may_load_nothing_from_elsewhere(review: Review) -> None:
    for path in ("/", "/api/cohort", "/nothing.js"):
        headers = review.ask(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Access-Control-Allow-Origin"] is None
    assert "HttpOnly" in review.ask("/").headers.get("Set-Cookie", "HttpOnly")


@pytest.mark.parametrize(
    "path",
    ["/command.py", "/..%2fcommand.py", "/%2e%2e/page.css", "/__init__.py", "/api/sequences/x"],
)
def test_other_files_are_not_there(review: Review, path: str) -> None:
    assert review.ask(path).status == 404


def test_a_cine_comes_as_it_was_acquired(review: Review, folder: Path) -> None:
    answer = review.ask(f"/api/sequences/{NAME}/frames")
    stored = Cohort.open(folder).cine(NAME)
    assert answer.body == stored.tobytes()
    assert int(answer.headers["Content-Length"]) == stored.size


def test_sixteen_bits_come_as_little_endian(tmp_path: Path) -> None:
    frames = np.arange(3 * 5 * 7, dtype=np.uint16).reshape(3, 5, 7) * 37
    sequence = Sequence(
        sequence_id="S1",
        patient_id="P1",
        view=None,
        length=3,
        height=5,
        width=7,
        bits_stored=12,
        display=Display(lower=100, upper=3000, inverted=True),
        frames_digest=frames_digest(frames),
    )
    store_cine(tmp_path, sequence, frames)
    write_annotations(tmp_path, [sequence], [])
    with reviewed(tmp_path) as review:
        review.enter()
        assert review.ask("/api/sequences/S1/frames").body == frames.astype("<u2").tobytes()
        found = review.sequence("S1")
        assert found["bytes_per_pixel"] == 2
        assert found["display"] == {
            "lower": 100,
            "upper": 3000,
            "inverted": True,
            "modality_lut": [],
        }
        # Nothing is known of it, and all can be said.
        saved = review.save(found, view="RCA", reference_frame=1).json
        assert saved["state"]["view"] == "RCA" and saved["revision"] == 1


def test_the_overview_counts_what_was_decided(review: Review) -> None:
    overview = review.ask("/api/cohort").json
    assert overview["reader"] is None
    lines = {line["id"]: line for line in overview["sequences"]}
    assert set(lines) == {f"S{i:02d}{view}" for i in range(3) for view in ("RCA", "LCA")}
    assert lines[HEALTHY]["revision"] == 0 and not lines[HEALTHY]["accepted"]
    review.save(review.sequence(HEALTHY), accepted=True)
    review.save(review.sequence("S02RCA"), exclude="other")
    lines = {line["id"]: line for line in review.ask("/api/cohort").json["sequences"]}
    assert (lines[HEALTHY]["accepted"], lines[HEALTHY]["changed"]) == (True, False)
    assert (lines["S02RCA"]["exclude"], lines["S02RCA"]["changed"]) == ("other", True)


def test_what_is_no_decision_is_refused_and_changes_nothing(review: Review, folder: Path) -> None:
    before = review.sequence(NAME)
    path = f"/api/sequences/{NAME}"
    for body in (b"{", b"[]", b"null", b'{"revision": 0}', b'"' + b"[" * 100_000):
        assert review.ask(path, method="PUT", body=body).status == 422, body[:20]
    broken = json.loads(json.dumps(before))
    broken["state"]["boxes"][0]["box"] = [1, 2, "3", 4]
    assert review.save(broken).status == 422
    for view in ("\ud83d", "LCA\u202eACL", "a\u2028b", "\x1b[2J"):
        assert review.save(before, view=view).status == 422, ascii(view)
    assert review.save({**before, "revision": 1e400}).status == 409
    answer = review.save(before, no_lesion=True)
    assert answer.status == 422 and "Delete its boxes" in answer.json["error"]
    assert review.ask(path, method="PUT", body=b" " * (5 << 20)).status == 413
    assert review.sequence(NAME) == before
    assert NAME not in read_reviews(folder)


def test_the_second_of_two_pages_is_told_and_gets_the_newest(review: Review) -> None:
    name = "S02LCA"
    seen = review.sequence(name)
    first = review.save(seen, view="LAD/LCx").json
    second = review.save(seen, view="RCA")
    assert second.status == 409
    assert "another page" in second.json["error"] and second.json["sequence"] == first
    assert review.save(second.json["sequence"], view="RCA").json["state"]["view"] == "RCA"


def test_killed_in_the_middle_it_loses_nothing_that_was_confirmed(tmp_path: Path) -> None:
    folder = write_toy_cohort(tmp_path / "cohort", patients=1).folder
    with reviewed(folder) as review:
        review.enter()
        found = review.sequence(NAME)
        moved = [
            {**box, "box": [v + 1 for v in box["box"]]} if box["source"] == "reference" else box
            for box in found["state"]["boxes"]
        ]
        confirmed = review.save(found, boxes=moved).json
        os.kill(review.process.pid, 9)
    cohort = Cohort.open(folder)
    assert sum(b.source == "corrected" for b in cohort.boxes) == 1
    with reviewed(folder) as again:
        again.enter()
        assert again.sequence(NAME) == confirmed
        said = again.end()
    assert "6 sequences: 0 accepted, 1 changed." in said and "Wrote" in said and "Next:" in said


def test_a_cohort_is_corrected_in_one_process_and_read_beside_it(
    folder: Path, review: Review
) -> None:
    with pytest.raises(AssertionError, match="is open in a review"), reviewed(folder):
        pass
    with reviewed(folder, "--reader", "B") as second:
        second.enter()
        assert second.sequence(NAME)["state"]["boxes"] == []
        assert second.ask("/api/cohort").json["reader"] == "B"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--reader", "cohort"], "Give the reader another name"),
        (["--reader", "../B"], "slash"),
        (["--reader", "B", "--runs", "runs"], "Leave it out with --reader"),
    ],
)
def test_a_review_that_cannot_be_says_why(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    with pytest.raises(AssertionError, match=sentence), reviewed(tmp_path, *arguments):
        pass
