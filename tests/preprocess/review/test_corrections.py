"""Decisions about sequences: what they change in the cohort, and that none is lost."""

from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from preprocess.cohort import (
    Box,
    BoxSource,
    Cohort,
    ManifestRow,
    Verdict,
    read_manifest,
    write_annotations,
    write_manifest,
)
from preprocess.cohort.records import Exclusion
from preprocess.cohort.reviews import ReviewJournal, State, changing, read_reviews
from preprocess.review.corrections import ConflictError, Corrections, UnfinishedError
from preprocess.tracking.propagate import PropagateSettings, propagate
from tests.toy_cohort import write_toy_cohort

NAME, HEALTHY, OTHER = "S00RCA", "S02RCA", "S01RCA"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cohort = write_toy_cohort(tmp_path / "cohort", patients=2)
    rows = [
        ManifestRow(hmac_sha256=name, status="accepted", sequence_id=name, reference_boxes=1)
        for name in cohort.sequences
    ]
    write_manifest(cohort.folder, rows)
    return cohort.folder


def begun(folder: Path, reader: str | None = None) -> Corrections:
    return Corrections(folder, reader=reader, by="A")


def boxes_of(folder: Path, name: str = NAME) -> list[Box]:
    return [box for box in Cohort.open(folder).boxes if box.sequence_id == name]


def key_box(state: State) -> Box:
    return next(iter(state.key_boxes))


def moved(box: Box, by: float) -> Box:
    x1, y1, x2, y2 = box.box_xyxy
    return replace(box, box_xyxy=(x1 + by, y1, x2 + by, y2))


def test_to_open_a_review_changes_nothing(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    begun(folder).close()
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert after == {**before, folder / "review.jsonl": b"", folder / ".lock": b""}


def test_a_moved_box_is_a_corrected_one_and_its_lesion_is_tracked_again(folder: Path) -> None:
    corrections = begun(folder)
    state = corrections.review(NAME).state
    box = moved(key_box(state), 1.5)
    review = corrections.decide(NAME, 0, accepted=False, state=replace(state, boxes=(box,)))
    found = boxes_of(folder)
    assert sorted(found, key=lambda b: b.frame_index) == list(review.state.boxes)
    assert [b.frame_index for b in found] == [2, 3, 4, 5, 6]
    assert {b.source for b in found if b.frame_index != 4} == {BoxSource.TRACKED}
    assert found[2] == replace(box, source=BoxSource.CORRECTED)
    # And back: the box is the reference again, though another was there meanwhile.
    undone = corrections.decide(NAME, 1, accepted=False, state=state).state
    assert undone.key_boxes == state.key_boxes
    assert {b.source for b in boxes_of(folder) if b.frame_index == 4} == {BoxSource.REFERENCE}


def test_a_box_keeps_its_grade_when_it_is_moved_and_loses_its_outline(folder: Path) -> None:
    cohort = Cohort.open(folder)
    boxes = [
        box
        if box.source is BoxSource.TRACKED
        else replace(box, grade="p50_70", segmentation=((1.0, 1.0, 5.0, 1.0, 5.0, 5.0),))
        for box in cohort.boxes
    ]
    write_annotations(folder, cohort.sequences.values(), boxes)
    corrections = begun(folder)
    state = corrections.review(NAME).state
    view = corrections.decide(NAME, 0, accepted=True, state=replace(state, view="LAD/LCx")).state
    assert key_box(view).grade == "p50_70"
    assert [box.segmentation is not None for box in boxes_of(folder)].count(True) == 1
    # The page does not send the grade of a box that it draws.
    box = replace(moved(key_box(state), 1.5), grade=None)
    corrections.decide(NAME, 1, accepted=False, state=replace(state, boxes=(box,)))
    grades = {(box.frame_index, box.grade) for box in boxes_of(folder)}
    assert grades == {(2, None), (3, None), (4, "p50_70"), (5, None), (6, None)}
    assert not any(box.segmentation for box in boxes_of(folder))


def test_what_is_not_changed_stays_bit_for_bit(folder: Path) -> None:
    before = boxes_of(folder)
    corrections = begun(folder)
    state = corrections.review(NAME).state
    corrections.decide(NAME, 0, accepted=True, state=replace(state, view="LAD/LCx"))
    assert boxes_of(folder) == before
    assert Cohort.open(folder).sequences[NAME].view == "LAD/LCx"
    assert {row.sequence_id: row.view for row in read_manifest(folder)}[NAME] == "LAD/LCx"


def test_new_lesions_get_numbers_that_nobody_had(folder: Path) -> None:
    corrections = begun(folder)
    state = corrections.review(HEALTHY).state
    boxes = tuple(
        Box(
            sequence_id=HEALTHY,
            frame_index=frame,
            box_xyxy=(10.0, 56.0, 20.0, 70.0),
            instance_id=lesion,
        )
        for frame, lesion in ((3, -1), (5, -1), (4, -2))
    )
    drawn = replace(
        state, no_lesion=False, boxes=boxes, lesion_names={-1: "proximal", -2: "distal", 7: "gone"}
    )
    review = corrections.decide(HEALTHY, 0, accepted=False, state=drawn)
    highest = max(
        box.instance_id for box in Cohort.open(folder).boxes if box.sequence_id != HEALTHY
    )
    assert review.state.lesion_names == {highest + 1: "proximal", highest + 2: "distal"}
    # Nobody had labelled it: these are a reader's first boxes. They end at the frame's edge.
    assert {(b.source, b.box_xyxy) for b in review.state.key_boxes} == {
        (BoxSource.REFERENCE, (10.0, 56.0, 20.0, 64.0))
    }
    assert len(boxes_of(folder, HEALTHY)) == 2 * 5


def test_accepting_trusts_doubtful_boxes_and_no_lost_ones(folder: Path) -> None:
    cohort = Cohort.open(folder)
    verdicts = {3: Verdict.CHECK, 5: Verdict.LOST}
    boxes = [
        replace(box, verdict=verdicts[box.frame_index], confidence=0.4)
        if box.sequence_id == NAME and box.frame_index in verdicts
        else box
        for box in cohort.boxes
    ]
    write_annotations(folder, cohort.sequences.values(), boxes)
    corrections = begun(folder)
    state = corrections.review(NAME).state
    corrections.decide(NAME, 0, accepted=True, state=state)
    assert {b.frame_index: b.verdict for b in boxes_of(folder) if b.frame_index in verdicts} == {
        3: Verdict.GOOD,
        5: Verdict.LOST,
    }
    # Opened again, it is as doubtful as it was.
    assert corrections.decide(NAME, 1, accepted=False, state=state).state == state


def test_propagate_keeps_what_a_reader_accepted(folder: Path) -> None:
    corrections = begun(folder)
    for name, accepted in ((NAME, True), (OTHER, False)):
        state = corrections.review(name).state
        noise = replace(key_box(state), box_xyxy=(2.0, 2.0, 12.0, 12.0))  # can hardly be followed
        corrections.decide(name, 0, accepted=accepted, state=replace(state, boxes=(noise,)))
    corrections.close()
    propagate(folder, PropagateSettings(good=1, lost=0, processes=1))
    assert {b.verdict for b in boxes_of(folder)} == {Verdict.GOOD}
    assert Verdict.CHECK in {b.verdict for b in boxes_of(folder, OTHER)}


def test_an_excluded_sequence_leaves_the_cohort_and_comes_back_whole(folder: Path) -> None:
    before = boxes_of(folder)
    corrections = begun(folder)
    state = corrections.review(NAME).state
    corrections.decide(NAME, 0, accepted=True, state=replace(state, exclude=Exclusion.IMPLANT))
    corrections.close()
    assert NAME not in Cohort.open(folder).sequences
    row = {row.sequence_id: row for row in read_manifest(folder)}[NAME]
    assert (row.status, row.reason, row.exclude) == ("rejected", "excluded: implant", "implant")
    again = begun(folder)
    review = again.review(NAME)
    again.decide(NAME, 1, accepted=True, state=replace(review.state, exclude=None))
    assert boxes_of(folder) == before
    assert {row.sequence_id: row.status for row in read_manifest(folder)}[NAME] == "accepted"


def test_a_decision_that_reached_the_journal_alone_is_completed(folder: Path) -> None:
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    corrections = begun(copy)
    state = corrections.review(NAME).state
    corrections.decide(NAME, 0, accepted=True, state=replace(state, view="LCA", boxes=()))
    corrections.close()
    with ReviewJournal(folder) as journal:
        journal.append(read_reviews(copy)[NAME])
    begun(folder).close()
    for name in ("annotations.json", "manifest.csv", f"frames.zarr/{NAME}/zarr.json"):
        assert (folder / name).read_bytes() == (copy / name).read_bytes()


def test_the_second_of_two_decisions_on_one_state_is_refused(folder: Path) -> None:
    corrections = begun(folder)
    state = corrections.review(NAME).state
    first = corrections.decide(NAME, 0, accepted=True, state=state)
    with pytest.raises(ConflictError) as refused:
        corrections.decide(NAME, 0, accepted=False, state=replace(state, view="LCA"))
    assert refused.value.review == first == corrections.review(NAME)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"optimal_start": None}, "all three bounds"),
        ({"introducing_start": 5, "optimal_start": 4}, "must follow each other"),
        ({"vanishing_start": 9}, "must follow each other"),
        ({"reference_frame": 8}, "no frame 8; the cine has 8"),
        ({"no_lesion": True}, "Delete its boxes first"),
        ({"view": " "}, "1 to 60 letters"),
        ({"lesion_names": {1: "x" * 61}}, "1 to 60 letters"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(
    folder: Path, changes: dict[str, object], sentence: str
) -> None:
    corrections = begun(folder)
    state = corrections.review(NAME).state
    with pytest.raises(ValueError, match=sentence):
        corrections.decide(NAME, 0, accepted=True, state=replace(state, **changes))  # type: ignore[arg-type]
    assert corrections.review(NAME).revision == 0
    assert read_reviews(folder) == {}


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        ((10.0, 10.0, 10.5, 30.0), "at least one pixel"),
        ((70.0, 10.0, 90.0, 30.0), "at least one pixel"),
    ],
)
def test_a_box_is_in_the_frame(
    folder: Path, box: tuple[float, float, float, float], sentence: str
) -> None:
    corrections = begun(folder)
    state = corrections.review(NAME).state
    drawn = replace(key_box(state), box_xyxy=box)
    with pytest.raises(ValueError, match=sentence):
        corrections.decide(NAME, 0, accepted=True, state=replace(state, boxes=(drawn,)))
    twice = replace(state, boxes=(key_box(state), moved(key_box(state), 1)))
    with pytest.raises(ValueError, match="one box in a frame"):
        corrections.decide(NAME, 0, accepted=True, state=twice)


def test_a_second_reader_sees_no_boxes_and_changes_none(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    corrections = begun(folder, "B")
    state = corrections.review(NAME).state
    # Nor the view: to leave it would not be to agree.
    assert (state.boxes, state.view, state.reference_frame) == ((), None, 4)
    assert not corrections.review(HEALTHY).state.no_lesion
    drawn = Box(sequence_id=NAME, frame_index=4, box_xyxy=(8.0, 8.0, 20.0, 20.0), instance_id=-1)
    corrections.decide(NAME, 0, accepted=True, state=replace(state, boxes=(drawn,)))
    corrections.close()
    kept = read_reviews(folder, "B")[NAME].state
    assert len(kept.boxes) == 5 and key_box(kept).box_xyxy == (8.0, 8.0, 20.0, 20.0)
    assert before == {path: path.read_bytes() for path in before}
    again = begun(folder, "B")
    assert again.review(NAME).state == kept


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full for files that are larger; what fits is written, as on a full one."""
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_tears_no_line_of_the_journal(folder: Path) -> None:
    corrections = begun(folder)
    state = corrections.review(NAME).state
    corrections.decide(NAME, 0, accepted=False, state=replace(state, view="LCA"))
    written = (folder / "review.jsonl").read_bytes()
    with files_of_at_most(len(written) + 100), pytest.raises(OSError):
        corrections.decide(OTHER, 0, accepted=True, state=corrections.review(OTHER).state)
    assert (folder / "review.jsonl").read_bytes() == written
    assert corrections.review(OTHER).revision == 0
    corrections.decide(OTHER, 0, accepted=True, state=corrections.review(OTHER).state)
    corrections.close()
    assert begun(folder).review(OTHER).accepted


def test_what_could_not_be_written_is_written_with_the_next_decision(folder: Path) -> None:
    corrections = begun(folder)
    state = corrections.review(NAME).state
    room = (folder / "annotations.json").stat().st_size - 2000
    with files_of_at_most(room), pytest.raises(UnfinishedError):
        corrections.decide(NAME, 0, accepted=True, state=replace(state, boxes=()))
    assert corrections.review(NAME).revision == 1 and len(boxes_of(folder)) == 5
    corrections.decide(OTHER, 0, accepted=True, state=corrections.review(OTHER).state)
    assert boxes_of(folder) == []


def test_no_other_command_changes_the_cohort_meanwhile(folder: Path) -> None:
    corrections = begun(folder)
    with pytest.raises(ValueError, match="open in a review"):
        propagate(folder, PropagateSettings(processes=1))
    corrections.close()
    with changing(folder), pytest.raises(ValueError, match="another command is changing it"):
        begun(folder)
    propagate(folder, PropagateSettings(processes=1))


def test_a_kill_while_an_excluded_sequence_comes_back_loses_no_more_than_that(
    folder: Path,
) -> None:
    before = boxes_of(folder)
    corrections = begun(folder)
    state = corrections.review(NAME).state
    corrections.decide(NAME, 0, accepted=True, state=replace(state, exclude=Exclusion.OTHER))
    journal = (folder / "review.jsonl").read_bytes()
    corrections.decide(NAME, 1, accepted=True, state=state)
    corrections.close()
    assert boxes_of(folder) == before
    (folder / "review.jsonl").write_bytes(journal)  # the kill: the cohort has it, the journal not
    again = begun(folder)
    assert again.review(NAME).state.exclude is Exclusion.OTHER
    assert NAME not in Cohort.open(folder).sequences
    again.decide(NAME, 1, accepted=True, state=state)
    assert boxes_of(folder) == before


def test_the_number_of_a_lesion_is_given_once(folder: Path) -> None:
    corrections = begun(folder)

    def drawn(name: str, lesion: int) -> State:
        box = replace(key_box(corrections.review(NAME).state), sequence_id=name)
        return replace(
            corrections.review(name).state,
            no_lesion=False,
            boxes=(replace(box, instance_id=lesion),),
        )

    healthy = corrections.review(HEALTHY).state
    first = corrections.decide(HEALTHY, 0, accepted=False, state=drawn(HEALTHY, -1)).state
    corrections.decide(HEALTHY, 1, accepted=False, state=healthy)
    corrections.close()
    corrections = begun(folder)
    second = corrections.decide(OTHER, 0, accepted=False, state=drawn(OTHER, -1)).state
    undone = corrections.decide(HEALTHY, 2, accepted=False, state=first).state
    assert key_box(undone).instance_id == key_box(first).instance_id
    assert key_box(second).instance_id > key_box(first).instance_id
    for strange in (0, 999, key_box(second).instance_id):
        with pytest.raises(ValueError, match=f"no lesion {strange} in this"):
            corrections.decide(NAME, 0, accepted=False, state=drawn(NAME, strange))


def test_a_cine_whose_frames_are_damaged_can_be_excluded(folder: Path) -> None:
    (folder / "frames.zarr" / NAME / "c" / "0" / "0" / "0").write_bytes(b"damaged")
    corrections = begun(folder)
    with pytest.raises(ValueError, match="damaged"):
        corrections.frames(NAME)
    state = replace(corrections.review(NAME).state, exclude=Exclusion.OTHER)
    corrections.decide(NAME, 0, accepted=True, state=state)
    corrections.close()
    shutil.rmtree(folder / "frames.zarr" / NAME)
    assert NAME not in begun(folder).sequences
