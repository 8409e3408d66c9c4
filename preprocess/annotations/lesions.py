"""Lesions through time: which boxes belong to one lesion."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from preprocess.annotations.region_matching import PlacedBox
from preprocess.annotations.regions import BoxXyxy, same_place
from preprocess.cohort import NO_LESION, Box, BoxSource, Cohort
from preprocess.cohort.reviews import read_reviews

MOST_DIGITS = 9
"""Of a lesion's number in a file; longer ones are ids of another kind."""
SAME_LESION_IOU = 0.2
"""A box that was drawn anew and overlaps the earlier one by this is of the same lesion (it is what
the paper counts as found)."""
REACH = 4.0
"""How far a lesion can go between two frames, in sides of its box: beating arteries carry small
boxes by 3 of them (measured on hand-drawn cines); farther off lies another lesion."""


class Remark(StrEnum):
    """What is told of boxes that were corrected; ``{n}`` is how many there are."""

    TRACKS_LEFT_OUT = (
        "{n} tracked boxes are not where the cohort has them and are left out (in a COCO file, "
        'mark those that you moved as "source": "corrected")'
    )
    TRACKS_ABSENT = (
        "{n} tracked boxes are not drawn any more and stay: tracked boxes go with the reader's "
        "boxes of their lesion alone (move the wrong ones instead)"
    )
    READERLESS = (
        "{n} lesions have lost their last reader's box, and their tracked boxes with it, though "
        "these are still drawn (move one of them to keep the lesion)"
    )
    SECOND_BOXES = (
        "{n} boxes are left out: another box of their lesion is drawn on the same frame, and of "
        "these one that was moved counts (a second lesion needs a track, or an instance_id, of its "
        "own)"
    )


class Lesions:
    """Numbers the lesions of a cohort, and keeps what an earlier run left where it still holds.

    Attributes:
        tracks_dropped: sequences that lost tracked boxes, for the boxes they came from changed.
        remarks: how often each thing was found that is told of corrected boxes.
    """

    def __init__(self, cohort: Path):
        self._earlier: dict[str, list[Box]] = defaultdict(list)
        self._areas: dict[str, list[Box]] = defaultdict(list)
        if (cohort / "annotations.json").is_file():
            opened = Cohort.open(cohort)
            for box in opened.boxes:
                self._earlier[box.sequence_id].append(box)
            for box in opened.ignored:
                self._areas[box.sequence_id].append(box)
        reviewed = [review.state.boxes for review in read_reviews(cohort).values()]
        known = (box.instance_id for boxes in (*self._earlier.values(), *reviewed) for box in boxes)
        self._taken = {NO_LESION, *known}
        self._next = max(self._taken) + 1
        self.tracks_dropped = 0
        self.remarks = Counter[Remark]()

    def merged(self, sequence_id: str, placed: Iterable[PlacedBox]) -> list[Box]:
        """All boxes of a sequence: those of readers, and earlier ones that still hold.

        Areas to ignore are those that are drawn now; they belong to no lesion.

        A lesion keeps its number while a box of it stays where it was, or nearly. Corrections
        stay until another box is placed for the same lesion and frame; tracked boxes stay while
        none of the boxes that they were tracked from has changed.
        """
        placed = list(placed)
        ignored = [_area_to_ignore(sequence_id, one) for one in placed if one.ignored]
        earlier = self._earlier.get(sequence_id, [])
        by_readers = [box for box in earlier if box.source is not BoxSource.TRACKED]
        lesions = [one for one in placed if not one.ignored]
        now = [box for _, box, _ in self._numbered(sequence_id, lesions, by_readers)]
        corrections = {
            (box.instance_id, box.frame_index): box
            for box in [*by_readers, *now]
            if box.source is BoxSource.CORRECTED
        }
        # A correction takes the place of the reference box of its lesion and frame.
        found = [b for b in now if (b.instance_id, b.frame_index) not in corrections]
        found += corrections.values()
        return found + self._tracks(earlier, found) + ignored

    def corrected(
        self, sequence_id: str, placed: Iterable[PlacedBox], is_shown: Callable[[int], bool]
    ) -> list[Box]:
        """All boxes of a sequence whose boxes were corrected in another tool.

        A box that is where it was is kept, with all that is known of it, unless its file calls it
        corrected. A box of a known lesion that has moved is a correction. A new lesion is taken as
        it is, with its tracked boxes. A reader's box on a frame that is shown is gone where it is
        not drawn; tracked boxes stay while the reader's boxes of their lesion do. A lesion has one
        box on a frame: of several, as files of overlapping jobs have them, one that was moved.

        Args:
            sequence_id: whose boxes they are.
            placed: what is drawn now, tracked boxes too.
            is_shown: whether a file shows this frame, so that what is not drawn there is gone.
        """
        placed = list(placed)
        earlier = self._earlier.get(sequence_id, [])
        numbers = {box.instance_id for box in earlier}
        grades = {(box.instance_id, box.frame_index): box.grade for box in earlier}
        drawn: dict[tuple[int, int], Box] = {}
        lesions = [one for one in placed if not one.ignored]
        numbered = self._numbered(sequence_id, lesions, earlier)
        for one, box, known in sorted(numbered, key=_precedence, reverse=True):
            place = (box.instance_id, box.frame_index)
            taken = box
            if box.instance_id in numbers:
                if known and known.instance_id == box.instance_id:
                    is_told = one.source_is_said and box.source is BoxSource.CORRECTED
                    taken = box if is_told and box.source is not known.source else known
                    if taken.source is BoxSource.TRACKED:
                        continue  # it stays while the boxes do that it was tracked from
                elif box.source is BoxSource.TRACKED:
                    self.remarks[Remark.TRACKS_LEFT_OUT] += 1
                    continue
                elif place in grades:
                    taken = replace(box, source=BoxSource.CORRECTED, grade=grades[place])
            self.remarks[Remark.SECOND_BOXES] += place in drawn
            drawn.setdefault(place, taken)
        found = list(drawn.values())
        found += [
            box
            for box in earlier
            if box.source is not BoxSource.TRACKED
            and not is_shown(box.frame_index)
            and (box.instance_id, box.frame_index) not in drawn
        ]
        areas = self._areas.get(sequence_id, [])
        ignored = [_area_to_ignore(sequence_id, one) for one in placed if one.ignored]
        at = _by_frame(areas)
        ignored = [_known_box(area, at[area.frame_index]) or area for area in ignored]
        ignored += [a for a in areas if not is_shown(a.frame_index) and a not in ignored]
        tracks = self._tracks(earlier, found)
        here = {(box.instance_id, box.frame_index) for _, box, _ in numbered}
        self.remarks[Remark.TRACKS_ABSENT] += sum(
            is_shown(box.frame_index) and (box.instance_id, box.frame_index) not in here
            for box in tracks
        )
        readerless = _anchors(earlier).keys() - _anchors(found).keys()
        are_drawn = {
            known.instance_id
            for _, _, known in numbered
            if known and known.source is BoxSource.TRACKED
        }
        self.remarks[Remark.READERLESS] += len(readerless & are_drawn)
        return found + tracks + ignored

    def _numbered(
        self, sequence_id: str, placed: Iterable[PlacedBox], earlier: Sequence[Box]
    ) -> list[tuple[PlacedBox, Box, Box | None]]:
        """Each box with the number of its lesion, and with the one that was at its place."""
        lesions: dict[str | int, list[PlacedBox]] = defaultdict(list)
        for position, one in enumerate(placed):
            lesions[one.lesion or position].append(one)
        at = _by_frame(earlier)
        numbers: dict[str | int, int] = {}
        # A lesion that is known for sure is not given away to one that is only near.
        for known_number in (_number_by_place_or_name, _number_by_nearness):
            for lesion, found in lesions.items():
                if lesion not in numbers:
                    # Two lesions that their files name are never one, nor are two that they do not
                    # name (they are called by a position); but one of each may be.
                    alike = {n for other, n in numbers.items() if type(other) is type(lesion)}
                    free = [box for box in earlier if box.instance_id not in alike]
                    if number := known_number(lesion, found, free):
                        numbers[lesion] = number
        boxes = []
        for lesion, found in lesions.items():
            number = numbers.get(lesion) or self._new_number(lesion)
            for one in found:
                box = Box(
                    sequence_id=sequence_id,
                    frame_index=one.frame_index,
                    box_xyxy=one.box_xyxy,
                    instance_id=number,
                    source=one.source,
                    confidence=one.confidence,
                    verdict=one.verdict,
                    segmentation=one.segmentation,
                )
                known = _known_box(box, at[box.frame_index])
                box = replace(box, box_xyxy=known.box_xyxy) if known else box
                boxes.append((one, box, known))
        return boxes

    def _new_number(self, lesion: str | int) -> int:
        """The number that its file gives it, if that is free, else the next one."""
        is_number = isinstance(lesion, str) and lesion.isdecimal() and len(lesion) <= MOST_DIGITS
        number = int(lesion) if is_number else NO_LESION
        if number in self._taken:
            while self._next in self._taken:
                self._next += 1
            number = self._next
        self._taken.add(number)
        return number

    def _tracks(self, earlier: list[Box], now: list[Box]) -> list[Box]:
        tracked = [box for box in earlier if box.source is BoxSource.TRACKED]
        before, after = _anchors(earlier), _anchors(now)
        kept = [box for box in tracked if before[box.instance_id] == after[box.instance_id]]
        self.tracks_dropped += len(kept) < len(tracked)
        return kept


def _area_to_ignore(sequence_id: str, placed: PlacedBox) -> Box:
    return Box(
        sequence_id=sequence_id,
        frame_index=placed.frame_index,
        box_xyxy=placed.box_xyxy,
        instance_id=NO_LESION,
        source=placed.source,
        ignored=True,
    )


def _precedence(numbered: tuple[PlacedBox, Box, Box | None]) -> tuple[bool, ...]:
    """Which box of a lesion and frame counts, the greatest first.

    What the file or the cohort knows of it decides before its place does: so a box that files moved
    stays moved where they are given once more.
    """
    one, box, known = numbered
    is_correction = BoxSource.CORRECTED in (box.source, known.source if known else None)
    return box.source is not BoxSource.TRACKED, one.moved, is_correction, known is None


def _by_frame(boxes: Iterable[Box]) -> Mapping[int, list[Box]]:
    found: dict[int, list[Box]] = defaultdict(list)
    for box in boxes:
        found[box.frame_index].append(box)
    return found


def _known_box(box: Box, earlier: Iterable[Box]) -> Box | None:
    """The earlier box of its frame at its place, of its own lesion where there are several."""
    there = [known for known in earlier if same_place(known.box_xyxy, box.box_xyxy)]
    own = (known for known in there if known.instance_id == box.instance_id)
    return next(own, there[0] if there else None)


def follow(frames: Sequence[Sequence[BoxXyxy]]) -> list[list[int]]:
    """Number the lesions of a cine of which every frame was drawn by hand.

    A box continues the lesion of the box in the frame before that is nearest to it, if it is the
    nearest to that one too and both lie within ``REACH`` box sides; otherwise it begins another.

    Args:
        frames: the boxes of each frame, in order of time.

    Returns:
        A number for each of them, counted from 0.
    """
    numbers: list[list[int]] = []
    count = 0
    before: Sequence[BoxXyxy] = ()
    for boxes in frames:
        here: list[int] = []
        for box in boxes:
            last = _nearest(box, before)
            mutual = last is not None and _nearest(before[last], boxes) == len(here)
            if last is not None and mutual and _distance(box, before[last]) <= REACH:
                here.append(numbers[-1][last])
            else:
                here.append(count)
                count += 1
        numbers.append(here)
        before = boxes
    return numbers


def overlap(a: BoxXyxy, b: BoxXyxy) -> float:
    """Intersection over union."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (_area(a) + _area(b) - width * height)


def _number_by_place_or_name(
    lesion: str | int, found: Iterable[PlacedBox], free: Iterable[Box]
) -> int | None:
    """The number of an earlier lesion with a box at the place of one of these, or of that name."""
    at: dict[int, list[BoxXyxy]] = defaultdict(list)
    for one in found:
        at[one.frame_index].append(one.box_xyxy)
    there = [
        box.instance_id
        for box in free
        if any(same_place(box.box_xyxy, corners) for corners in at[box.frame_index])
    ]
    named = [box.instance_id for box in free if lesion == str(box.instance_id)]
    # Two lesions may have a box at one place: that of its name is meant.
    return next(iter([*(n for n in there if n in named), *there, *named]), None)


def _number_by_nearness(
    lesion: str | int, found: Iterable[PlacedBox], free: Iterable[Box]
) -> int | None:
    """The number of the earlier lesion whose box overlaps one of these most, if any does enough."""
    at = _by_frame(free)
    near = [
        (overlap(box.box_xyxy, one.box_xyxy), -box.instance_id)
        for one in found
        for box in at[one.frame_index]
    ]
    best, negative = max(near, default=(0.0, 0))
    return -negative if best >= SAME_LESION_IOU else None


def _anchors(boxes: Iterable[Box]) -> dict[int, set[tuple[float, ...]]]:
    """The places of readers' boxes by lesion."""
    found: dict[int, set[tuple[float, ...]]] = defaultdict(set)
    for box in boxes:
        if box.source is not BoxSource.TRACKED:
            found[box.instance_id].add((box.frame_index, *box.box_xyxy))
    return found


def _nearest(box: BoxXyxy, others: Sequence[BoxXyxy]) -> int | None:
    return min(range(len(others)), key=lambda i: _distance(box, others[i]), default=None)


def _distance(a: BoxXyxy, b: BoxXyxy) -> float:
    """How far the centres are apart, in sides of the larger box."""
    apart = max(abs(a[0] + a[2] - b[0] - b[2]), abs(a[1] + a[3] - b[1] - b[3])) / 2
    return apart / math.sqrt(max(_area(a), _area(b)))


def _area(box: BoxXyxy) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
