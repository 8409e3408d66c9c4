"""What readers say of a toy cohort, by the journals that a review writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from angioray.study.readings import readings
from preprocess.cohort import Box, Cohort, Verdict
from preprocess.cohort.records import Exclusion
from preprocess.cohort.reviews import State, journal_path
from preprocess.views import VIEW_CLASSES
from tests.journals import write_readings
from tests.toy_cohort import write_toy_cohort


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Patients 0 and 1 have a lesion in either view, 2 and 3 have none."""
    return write_toy_cohort(tmp_path / "cohort", patients=2)


def boxes_of(cohort: Cohort, name: str) -> tuple[Box, ...]:
    return tuple(box for box in cohort.boxes if box.sequence_id == name)


def test_the_cohort_is_the_first_reader(cohort: Cohort) -> None:
    found = readings(cohort, VIEW_CLASSES)
    assert list(found) == ["cohort"]
    said = found["cohort"]
    assert said.keys() == cohort.sequences.keys()
    lesion, healthy = said["S00RCA"], said["S03LCA"]
    assert (lesion.patient_id, lesion.view, lesion.has_lesion) == ("P00", "RCA", True)
    expected = next(b for b in boxes_of(cohort, "S00RCA") if b.frame_index == 4).box_xyxy
    assert lesion.boxes_xyxy is not None and lesion.boxes_xyxy.tolist() == [list(expected)]
    assert (healthy.has_lesion, healthy.view) == (False, "LCA")
    assert healthy.boxes_xyxy is not None and len(healthy.boxes_xyxy) == 0


def test_a_reader_has_read_what_was_accepted_and_not_excluded(cohort: Cohort) -> None:
    boxes = boxes_of(cohort, "S00RCA")
    write_readings(
        cohort.folder,
        "B",
        {
            "S00RCA": State(view="LCx/LAD", boxes=boxes),
            "S00LCA": State(),
            "S01RCA": State(exclude=Exclusion.IMPLANT),
            "S99RCA": State(),  # no longer in the cohort
        },
    )
    write_readings(cohort.folder, "B", {"S01LCA": State(boxes=boxes)}, accepted=False)
    said = readings(cohort, VIEW_CLASSES)["B"]
    assert said.keys() == {"S00RCA", "S00LCA"}
    assert (said["S00RCA"].view, said["S00RCA"].has_lesion) == ("LCA", True)
    nothing = said["S00LCA"]
    assert (nothing.view, nothing.has_lesion) == (None, False)
    assert nothing.boxes_xyxy is not None and len(nothing.boxes_xyxy) == 0


def test_boxes_are_those_on_the_cohorts_reference_frame(cohort: Cohort) -> None:
    """Wherever the reader's own is: what was tracked to frame 4 counts, what was lost does not."""
    drawn = replace(boxes_of(cohort, "S00RCA")[0], frame_index=6, box_xyxy=(1.0, 2.0, 11.0, 12.0))
    tracked = replace(drawn, frame_index=4, box_xyxy=(3.0, 2.0, 13.0, 12.0))
    lost = replace(tracked, verdict=Verdict.LOST)
    journal = {
        "tracked": (drawn, tracked),
        "lost": (drawn, lost),
        "elsewhere": (drawn,),
        "ignored": (drawn, tracked, replace(tracked, ignored=True, instance_id=0)),
    }
    for reader, boxes in journal.items():
        write_readings(cohort.folder, reader, {"S00RCA": State(reference_frame=6, boxes=boxes)})
    found = readings(cohort, VIEW_CLASSES)
    tracked_there = found["tracked"]["S00RCA"].boxes_xyxy
    assert tracked_there is not None and tracked_there.tolist() == [[3.0, 2.0, 13.0, 12.0]]
    for reader in ("lost", "elsewhere", "ignored"):
        said = found[reader]["S00RCA"]
        assert said.has_lesion and said.boxes_xyxy is None, reader


def test_where_the_cohort_says_nothing_nothing_is_compared(cohort: Cohort) -> None:
    """A sequence without a box that nobody called healthy was not read for lesions."""
    silent = replace(cohort.sequences["S03LCA"], no_lesion=False)
    cohort.sequences["S03LCA"] = silent
    cohort.sequences["S03RCA"] = replace(silent, sequence_id="S03RCA", view=None)
    said = readings(cohort, VIEW_CLASSES)["cohort"]
    assert "S03RCA" not in said
    assert (said["S03LCA"].view, said["S03LCA"].has_lesion) == ("LCA", None)
    assert said["S03LCA"].boxes_xyxy is None


def test_no_reader_is_called_as_the_cohort_is(cohort: Cohort) -> None:
    write_readings(cohort.folder, "cohort", {"S00RCA": State()})
    with pytest.raises(ValueError, match="A reader is called 'cohort'"):
        readings(cohort, VIEW_CLASSES)


def test_a_damaged_journal_is_told_with_its_line(cohort: Cohort) -> None:
    write_readings(cohort.folder, "B", {"S00RCA": State()})
    with journal_path(cohort.folder, "B").open("a") as file:
        file.write("{}\n")
    with pytest.raises(ValueError, match=r"B.jsonl, line 2, is not what a review wrote"):
        readings(cohort, VIEW_CLASSES)
