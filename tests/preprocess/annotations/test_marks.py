"""What the attributes of an exported box say when they come back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from preprocess.annotations.marks import marks_of, with_marks
from preprocess.annotations.regions import Region
from preprocess.annotations.values import EntryError
from preprocess.cohort import Box, BoxSource, Verdict

EXACT = (0.1 + 0.2, 2.0000000000000004, 20 / 3, 30.123456789012345)
TRACKED = Box(
    sequence_id="S1",
    frame_index=5,
    box_xyxy=EXACT,
    instance_id=7,
    source=BoxSource.TRACKED,
    confidence=0.123456789,
    verdict=Verdict.CHECK,
)
DRAWN = Region(places=(), box_xyxy=EXACT)


def rounded(*moved: float) -> Region:
    """The box as CVAT writes it, its first corners moved."""
    corners = [round(value, 2) for value in EXACT]
    for position, by in enumerate(moved):
        corners[position] += by
    x1, y1, x2, y2 = corners
    return replace(DRAWN, box_xyxy=(x1, y1, x2, y2))


def test_a_rounded_box_is_the_exported_one_to_the_bit() -> None:
    said = marks_of(TRACKED)
    assert said["instance_id"] == "7"
    found = with_marks(rounded(), said, 5)
    assert found.box_xyxy == EXACT and found.source is BoxSource.TRACKED
    assert (found.confidence, found.verdict) == (0.123456789, Verdict.CHECK)


@pytest.mark.parametrize(("region", "frame"), [(rounded(0.02), 5), (rounded(0, -1), 5), (DRAWN, 6)])
def test_a_box_that_is_elsewhere_was_drawn_since(region: Region, frame: int) -> None:
    found = with_marks(region, marks_of(TRACKED), frame)
    assert (found.box_xyxy, found.source) == (region.box_xyxy, BoxSource.CORRECTED)
    assert (found.confidence, found.verdict) == (1.0, Verdict.GOOD)


def test_without_marks_it_is_as_it_was() -> None:
    empty = dict.fromkeys(marks_of(TRACKED), "")
    assert with_marks(DRAWN, empty, 5) == with_marks(DRAWN, {}, 5) == DRAWN


@pytest.mark.parametrize(
    ("name", "value"),
    [("exported", "5 1 2 3"), ("exported", "5 1 2 3 x"), ("confidence", "?"), ("verdict", "fine")],
)
def test_a_mark_that_cannot_be_read_is_told(name: str, value: str) -> None:
    with pytest.raises(EntryError):
        with_marks(DRAWN, {**marks_of(TRACKED), name: value}, 5)
