"""The marks of an exported box: attributes that come back from another tool with it.

Tools round corners (CVAT to two decimals), and give the attributes of one box to the next that is
drawn. So a box carries where it was when it was exported. One that is still there is that box to
the bit; one that is somewhere else, or on another frame, was drawn since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from preprocess.annotations import values
from preprocess.annotations.mismatches import Kind
from preprocess.annotations.regions import Region, same_place
from preprocess.annotations.values import EntryError
from preprocess.cohort import Box, BoxSource, Verdict

NAMES = ("instance_id", "source", "confidence", "verdict", "exported")


def marks_of(box: Box) -> dict[str, str]:
    """The marks of a box, by name; ``exported`` is its frame and its corners."""
    corners = map(repr, map(float, box.box_xyxy))
    lesion = "" if box.ignored else str(box.instance_id)
    exported = " ".join([str(box.frame_index), *corners])
    marks = (lesion, str(box.source), repr(float(box.confidence)), str(box.verdict), exported)
    return dict(zip(NAMES, marks, strict=True))


def with_marks(region: Region, said: Mapping[str, Any], frame_index: int | None) -> Region:
    """The region with what its marks say of it; without any, it is as it was.

    Args:
        region: as it is drawn.
        said: its attributes; those that are no marks do not matter.
        frame_index: of the frame that it is drawn on, where that is known.

    Raises:
        EntryError: a mark cannot be read.
    """
    if exported := str(said.get("exported") or "").split():
        numbers = [values.number(text, "exported") for text in exported]
        if len(numbers) != 5:
            raise EntryError(Kind.UNREADABLE_VALUE, "exported is no frame and four corners")
        frame, x1, y1, x2, y2 = numbers
        box = (x1, y1, x2, y2)
        if frame_index not in (None, frame) or not same_place(region.box_xyxy, box):
            return replace(region, source=BoxSource.CORRECTED, moved=True)
        region = replace(region, box_xyxy=box)
    source = said.get("source")
    if source not in list(BoxSource):
        return region
    region = replace(region, source=BoxSource(source))
    if region.source is not BoxSource.TRACKED:
        return region
    confidence = said.get("confidence")
    return replace(
        region,
        confidence=1.0 if confidence is None else values.number(confidence, "confidence"),
        verdict=_verdict(said.get("verdict")),
    )


def _verdict(written: Any) -> Verdict:
    if written is None:
        return Verdict.GOOD
    if written not in list(Verdict):
        known = ", ".join(Verdict)
        raise EntryError(Kind.UNREADABLE_VALUE, f"the verdict is none of {known}")
    return Verdict(written)
