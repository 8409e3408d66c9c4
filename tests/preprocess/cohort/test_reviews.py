"""Decisions of readers: kept whole or not at all, and stronger than labels that come again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from preprocess.cohort import Box, BoxSource, Cohort, ManifestRow, Verdict
from preprocess.cohort.records import Exclusion
from preprocess.cohort.reviews import (
    Review,
    ReviewJournal,
    State,
    read_reviews,
    readers,
    with_reviews,
)
from tests.toy_cohort import write_toy_cohort

BOX = Box(
    sequence_id="S00RCA",
    frame_index=4,
    box_xyxy=(0.1, 0.2, 0.1 + 0.2, 1 / 3),
    instance_id=1,
    source=BoxSource.CORRECTED,
)
TRACKED = replace(
    BOX, frame_index=5, source=BoxSource.TRACKED, confidence=0.4, verdict=Verdict.CHECK
)
BEFORE = State(view="RCA", reference_frame=4, boxes=(replace(BOX, source=BoxSource.REFERENCE),))


def decision(revision: int = 1, accepted: bool = True, **changes: object) -> Review:
    return Review(
        sequence_id="S00RCA",
        revision=revision,
        by="A",
        at="2026-01-01T10:00:00+00:00",
        accepted=accepted,
        state=replace(BEFORE, **changes),  # type: ignore[arg-type]
        before=BEFORE,
    )


def test_the_last_decision_about_a_sequence_holds_bit_for_bit(tmp_path: Path) -> None:
    last = decision(2, view="LCA", boxes=(BOX, TRACKED), lesion_names={1: "proximal LAD"})
    with ReviewJournal(tmp_path) as journal:
        journal.append(decision(1, exclude=Exclusion.IMPLANT))
        journal.append(last)
    assert read_reviews(tmp_path) == {"S00RCA": last}


def test_grades_are_kept_and_do_not_undo_what_was_accepted(tmp_path: Path) -> None:
    (drawn,) = BEFORE.boxes
    review = Review.begun("S00RCA", BEFORE).then(BEFORE, by="A", accepted=True)
    (graded,) = current = (replace(drawn, grade="p50_70"),)
    known = review.on(replace(BEFORE, boxes=current))
    assert known.accepted and [box.grade for box in known.state.boxes] == [graded.grade]
    with ReviewJournal(tmp_path) as journal:
        journal.append(replace(known, state=replace(known.state, boxes=(graded, TRACKED))))
    boxes = read_reviews(tmp_path)["S00RCA"].state.boxes
    assert [box.grade for box in boxes] == ["p50_70", None]


def test_a_torn_line_was_never_confirmed(tmp_path: Path) -> None:
    with ReviewJournal(tmp_path) as journal:
        journal.append(decision(1))
        journal.append(decision(2, view="LCA"))
    path = tmp_path / "review.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert read_reviews(tmp_path) == {"S00RCA": decision(1)}
    with ReviewJournal(tmp_path) as journal:
        journal.append(decision(2, no_lesion=True, boxes=()))
    assert read_reviews(tmp_path)["S00RCA"].state.no_lesion
    assert path.read_bytes().count(b"\n") == 2


def test_readers_are_kept_apart(tmp_path: Path) -> None:
    for reader in ("B", "A"):
        with ReviewJournal(tmp_path, reader) as journal:
            journal.append(decision(view=reader))
    assert readers(tmp_path) == ["A", "B"]
    assert read_reviews(tmp_path, "B")["S00RCA"].state.view == "B"
    assert read_reviews(tmp_path) == {}
    with pytest.raises(ValueError, match="slash"):
        read_reviews(tmp_path, "../B")


def test_one_process_at_a_time_decides(tmp_path: Path) -> None:
    with (
        ReviewJournal(tmp_path),
        pytest.raises(ValueError, match="open in another review"),
    ):
        ReviewJournal(tmp_path)
    ReviewJournal(tmp_path).close()


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'"LCA"', b'"\\u001b[2J"'),
        (b'"corrected"', b'"drawn"'),
        (b'"frame": 4', b'"frame": "4"'),
        (b'"revision": 1', b'"revision": NaN'),
        (b"S00RCA", b"../RCA"),
    ],
)
def test_a_damaged_journal_is_named_with_its_line(
    tmp_path: Path, was: bytes, becomes: bytes
) -> None:
    with ReviewJournal(tmp_path) as journal:
        journal.append(decision(view="LCA", boxes=(BOX,)))
    path = tmp_path / "review.jsonl"
    assert was in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(was, becomes))
    with pytest.raises(ValueError, match=r"review.jsonl, line 1, is not what a review wrote"):
        read_reviews(tmp_path)


def test_what_was_decided_stays_and_the_rest_follows_new_labels() -> None:
    review = decision(view="LCA", boxes=(BOX, TRACKED))
    new_labels = replace(BEFORE, view="RCA distal", reference_frame=6, no_lesion=True)
    on = review.on(new_labels)
    assert (on.state.view, on.state.reference_frame, on.state.no_lesion) == ("LCA", 6, True)
    assert on.before == replace(BEFORE, reference_frame=6, no_lesion=True)
    # Accepted: the doubtful box is good now.
    assert on.state.boxes == (BOX, replace(TRACKED, verdict=Verdict.GOOD))
    tracked_anew = replace(TRACKED, box_xyxy=(0.0, 0.0, 9.0, 9.0), verdict=Verdict.GOOD)
    assert review.on(replace(BEFORE, boxes=(BOX, tracked_anew))).state.boxes == (BOX, tracked_anew)
    untouched = decision(boxes=BEFORE.boxes).on(replace(BEFORE, boxes=(BOX,)))
    assert untouched.state.boxes == untouched.before.boxes == (BOX,)


def test_what_was_accepted_is_not_what_comes_later() -> None:
    accepted = decision(boxes=BEFORE.boxes)
    assert accepted.on(BEFORE).accepted
    assert not accepted.on(replace(BEFORE, boxes=(BOX, TRACKED))).accepted
    later = replace(BEFORE, introducing_start=1, optimal_start=2, vanishing_start=3)
    assert not accepted.on(later).accepted


def test_areas_to_ignore_are_decided_like_boxes() -> None:
    area = replace(BOX, ignored=True, instance_id=0, source=BoxSource.REFERENCE)
    added = decision(boxes=(*BEFORE.boxes, area))
    assert added.on(BEFORE).state.areas == (area,)
    removed = replace(added, state=BEFORE, before=added.state)
    assert removed.on(added.state).state.areas == ()
    untouched = decision(view="LCA")
    assert untouched.on(added.state).state.areas == (area,)


def test_the_first_line_of_a_sequence_may_be_removed(tmp_path: Path) -> None:
    with ReviewJournal(tmp_path) as journal:
        journal.append(decision(1))
        journal.append(decision(2, view="LCA"))
    path = tmp_path / "review.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[1])
    found = read_reviews(tmp_path)["S00RCA"]
    assert found.state == found.before == replace(BEFORE, view="LCA")


def test_a_cohort_that_is_assembled_again_is_as_it_was_decided(tmp_path: Path) -> None:
    cohort = write_toy_cohort(tmp_path, patients=2)
    name, other = "S00RCA", "S01RCA"
    rows = [
        ManifestRow(hmac_sha256=s, status="accepted", sequence_id=s, view="RCA")
        for s in (name, other)
    ]
    boxes = [box for box in cohort.boxes if box.sequence_id == name]
    before = State.of(cohort.sequences[name], boxes)
    state = replace(before, view="LCA", vanishing_start=8, boxes=(replace(BOX, instance_id=1),))
    with ReviewJournal(tmp_path) as journal:
        journal.append(replace(decision(), state=state, before=before))
        kept = State.of(cohort.sequences[other], [])
        excluded = replace(kept, exclude=Exclusion.PACEMAKER)
        journal.append(replace(decision(), sequence_id=other, state=excluded, before=kept))
    sequences, decided, manifest = with_reviews(
        tmp_path, read_reviews(tmp_path), cohort.sequences.values(), cohort.boxes, rows
    )
    by_id = {sequence.sequence_id: sequence for sequence in sequences}
    assert other not in by_id and len(by_id) == len(cohort.sequences) - 1
    assert (by_id[name].view, by_id[name].vanishing_start) == ("LCA", 8)
    assert [b for b in decided if b.sequence_id == name] == [replace(BOX, instance_id=1)]
    assert not any(b.sequence_id == other for b in decided)
    assert [(r.status, r.reason, r.exclude, r.view) for r in manifest] == [
        ("accepted", "", "", "LCA"),
        ("rejected", "excluded: pacemaker", "pacemaker", "RCA"),
    ]
    assert Cohort.open(tmp_path).sequences[name].view == "LCA"  # with its cine
