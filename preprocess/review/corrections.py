"""The decisions of one reader: checked, tracked again, and written down one at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from preprocess.cohort import (
    Box,
    BoxSource,
    Cohort,
    Sequence,
    Verdict,
    cine_is_stored,
    read_manifest,
    stored_sequence,
    update_attributes,
    write_annotations,
    write_manifest,
)
from preprocess.cohort.frames import Frames
from preprocess.cohort.reviews import (
    Review,
    ReviewJournal,
    State,
    changing,
    looked_at,
    reviewed_rows,
    reviewed_sequence,
)
from preprocess.console.workers import available_cores
from preprocess.tracking.propagate import LiveTracking, PropagateSettings

CINES_HELD = 4
"""Cines that stay in memory with what tracks their lesions: the one at hand and its neighbours."""
LONGEST_NAME = 60
"""Letters in the name of a view or of a lesion."""
AS_PROPAGATE = PropagateSettings()
LEAST_SIDE = 1.0
"""Of a box, in pixels; thinner ones are clicks."""


class ConflictError(Exception):
    """Somebody else decided about the sequence meanwhile; ``review`` is what they decided."""

    def __init__(self, review: Review) -> None:
        super().__init__(review.sequence_id)
        self.review = review


class UnfinishedError(Exception):
    """A decision is in the journal, but the cohort's files could not be written; it says why."""


@dataclass(frozen=True, kw_only=True)
class _Cine:
    stored: Frames
    tracking: LiveTracking


class Corrections:
    """What one reader decides about the sequences of a cohort.

    A decision is on the disk before it is confirmed: first in the journal, then in the cohort. If
    the process ends between the two, the next one completes the cohort from the journal. The
    decisions of a second reader stay in that reader's journal alone.

    Attributes:
        cohort: as it was opened.
        reader: whose boxes are kept apart; None where the cohort itself is corrected.
        by: who decides.
        sequences: every sequence that can be looked at, those included that a review excluded.
    """

    def __init__(self, folder: Path, *, reader: str | None, by: str) -> None:
        """Open a cohort, and the journal of its corrections or of a reader.

        Raises:
            ValueError: it is no cohort, or is open in another review.
        """
        with ExitStack() as held:
            if reader is None:
                held.enter_context(changing(folder))
            self.cohort = Cohort.open(folder)
            self._journal = ReviewJournal(folder, reader)
            held.callback(self._journal.close)
            self._held = held.pop_all()
        self.reader = reader
        self.by = by
        self._changing = threading.Lock()
        self._reading = threading.Lock()
        self._cines: OrderedDict[str, _Cine] = OrderedDict()
        self._rows = read_manifest(folder)
        self.sequences = dict(self.cohort.sequences)
        for name, review in self._journal.latest.items():
            is_new = name not in self.sequences
            if review.state.exclude and is_new and cine_is_stored(folder, name):
                self.sequences[name] = stored_sequence(folder, name)
        self._stored: dict[str, State | None] = {}
        self._unwritten: set[str] = set()
        self._reviews = self._resumed()
        self._write(self.sequences)

    @property
    def path(self) -> Path:
        """The journal."""
        return self._journal.path

    def close(self) -> None:
        """Let other commands change the cohort."""
        self._held.close()

    def review(self, sequence_id: str) -> Review:
        """The last decision about a sequence; revision 0 before the first.

        Raises:
            KeyError: there is no such sequence.
        """
        return self._reviews[sequence_id]

    def frames(self, sequence_id: str) -> Frames:
        """The frames of a cine as acquired (uint8 or uint16 [T, H, W]).

        Raises:
            KeyError: there is no such sequence.
            ValueError: they are damaged.
        """
        return self._cine(sequence_id).stored

    def decide(self, sequence_id: str, revision: int, *, accepted: bool, state: State) -> Review:
        """Write down a decision, and give it back with its lesions tracked.

        Args:
            sequence_id: of the cine.
            revision: of the decision that it was made on.
            accepted: whether the reader has looked at the whole cine.
            state: with the key boxes; tracked boxes in it are not read. A lesion with a number
                below 0 is new.

        Raises:
            KeyError: there is no such sequence.
            ConflictError: there is a later decision.
            ValueError: the state contradicts itself or the cine.
            OSError: it could not be written down, and is not taken.
            UnfinishedError: it is taken; the next decision, or the next start, writes the rest.
        """
        with self._changing:
            known = self._reviews[sequence_id]
            if known.revision != revision:
                raise ConflictError(known)
            sequence = self.sequences[sequence_id]
            if problem := next(problems(state, sequence), None):
                raise ValueError(problem)
            numbers = self._numbers(sequence_id, state)
            placed = self._placed(state, numbers, known)
            boxes = self._with_tracks(state, placed, known)
            names = {numbers.get(lesion, lesion): n for lesion, n in state.lesion_names.items()}
            drawn = {box.instance_id for box in placed}
            decided = replace(
                state,
                boxes=tuple(map(looked_at, boxes)) if accepted else boxes,
                lesion_names={lesion: name for lesion, name in names.items() if lesion in drawn},
            )
            review = known.then(decided, by=self.by, accepted=accepted)
            if known.state.exclude and not decided.exclude:
                # If the process ends before the journal has it, it is excluded again: the journal
                # alone knows of excluded sequences, and this was not confirmed.
                self._include(review)
            else:
                self._journal.append(review)
                self._reviews[sequence_id] = review
                try:
                    self._write([sequence_id])
                except OSError as failed:
                    raise UnfinishedError(failed.strerror or str(failed)) from failed
            return review

    def _include(self, review: Review) -> None:
        """Take a sequence back into the cohort, then note it."""
        known = self._reviews[review.sequence_id]
        self._reviews[review.sequence_id] = review
        try:
            self._write([review.sequence_id])
            self._journal.append(review)
        except OSError:
            self._reviews[review.sequence_id] = known
            self._unwritten.add(review.sequence_id)
            raise

    def _resumed(self) -> dict[str, Review]:
        """Where every sequence is, as the cohort and the journal have it."""
        boxes: dict[str, list[Box]] = defaultdict(list)
        for box in (*self.cohort.boxes, *self.cohort.ignored):
            boxes[box.sequence_id].append(box)
        reviews = {}
        for name, sequence in self.sequences.items():
            current = State.of(sequence, boxes[name])
            self._stored[name] = current if name in self.cohort.sequences else None
            if self.reader is not None:  # who reads for the second time sees nothing of the first
                current = replace(current, boxes=(), no_lesion=False, view=None)
            known = self._journal.latest.get(name) or Review.begun(name, current)
            # Of an excluded sequence the journal alone has the boxes.
            reviews[name] = known.on(current) if name in self.cohort.sequences else known
        return reviews

    def _numbers(self, sequence_id: str, state: State) -> dict[int, int]:
        """The numbers of lesions that are new, by the numbers below 0 that they have yet.

        A number that a lesion ever had is given to no other: an undo may bring the first one back.

        Raises:
            ValueError: a lesion has a number that this sequence never had.
        """
        now = {box.instance_id for box in state.key_boxes}
        known = {box.instance_id for box in self._reviews[sequence_id].state.lesion_boxes}
        known |= self._journal.lesions[sequence_id]
        new = now - known
        if strange := {lesion for lesion in new if lesion >= 0}:
            raise ValueError(
                f"There is no lesion {min(strange)} in this sequence. Reload the page."
            )
        if not new:
            return {}
        taken = [
            *(number for numbers in self._journal.lesions.values() for number in numbers),
            *(box.instance_id for box in self.cohort.boxes),
        ]
        first = max(taken, default=0) + 1
        return {lesion: first + i for i, lesion in enumerate(sorted(new, reverse=True))}

    def _placed(self, state: State, numbers: Mapping[int, int], known: Review) -> list[Box]:
        """The key boxes of a state, within the frame, with who placed each of them."""
        sequence = self.sequences[known.sequence_id]
        source = BoxSource.CORRECTED if known.before.key_boxes else BoxSource.REFERENCE
        earlier = {_place(box): box for box in (*known.before.key_boxes, *known.state.key_boxes)}
        grades = {(box.instance_id, box.frame_index): box.grade for box in earlier.values()}
        placed = []
        for box in state.key_boxes:
            drawn = replace(
                box,
                box_xyxy=_within(box, sequence),
                instance_id=numbers.get(box.instance_id, box.instance_id),
                source=source,
                confidence=1.0,
                verdict=Verdict.GOOD,
                grade=grades.get((box.instance_id, box.frame_index)),  # it is the same lesion
                segmentation=None,  # it outlines what is in the box that was there
            )
            placed.append(earlier.get(_place(drawn), drawn))
        return placed

    def _with_tracks(self, state: State, placed: list[Box], known: Review) -> tuple[Box, ...]:
        """Every box: tracked ones stay where neither their key boxes nor the interval changed."""
        sequence = self.sequences[known.sequence_id]
        same_interval = state.bounds[1:] == known.state.bounds[1:]
        keys, earlier = _by_lesion(placed), _by_lesion(known.state.key_boxes)
        same = {n for n, boxes in keys.items() if same_interval and earlier.get(n) == boxes}
        found = [_as_tracked(box) if known.accepted else box for box in known.state.boxes]
        boxes = [box for box in placed if box.instance_id in same]
        boxes += [
            box
            for box in found
            if box.ignored or (box.source is BoxSource.TRACKED and box.instance_id in same)
        ]
        if changed := [box for box in placed if box.instance_id not in same]:
            tracking = self._cine(sequence.sequence_id).tracking
            now = replace(
                sequence,
                introducing_start=state.introducing_start,
                optimal_start=state.optimal_start,
                vanishing_start=state.vanishing_start,
            )
            boxes += tracking.boxes(now, changed, found if same_interval else ())
        return tuple(sorted(boxes, key=lambda box: (box.frame_index, box.instance_id)))

    def _cine(self, sequence_id: str) -> _Cine:
        with self._reading:
            cine = self._cines.pop(sequence_id, None)
            if cine is None:
                sequence = self.sequences[sequence_id]
                stored = Cohort(self.cohort.folder, self.sequences, ()).cine(sequence_id)
                frames = sequence.display.apply(stored)
                tracking = LiveTracking(frames, threads=available_cores())
                cine = _Cine(stored=stored, tracking=tracking)
            self._cines[sequence_id] = cine
            while len(self._cines) > CINES_HELD:
                self._cines.popitem(last=False)
        return cine

    def _write(self, changed: Iterable[str]) -> None:
        """Bring the cohort's files to what was decided; what is so already is not written."""
        if self.reader is not None:
            return
        folder = self.cohort.folder
        self._unwritten.update(changed)  # until all is written; another decision tries again
        reviews = {n: self._reviews[n] for n in self._unwritten if self._reviews[n].revision}
        for name, review in reviews.items():
            decided = reviewed_sequence(self.sequences[name], review)
            if decided != self.sequences[name]:
                update_attributes(folder, decided)
                self.sequences[name] = decided
        wanted = {**self._stored, **{name: _in_cohort(r) for name, r in reviews.items()}}
        if wanted != self._stored:
            included = {n: s for n, s in self.sequences.items() if wanted[n]}
            boxes = (box for name in included for box in self._reviews[name].state.boxes)
            write_annotations(folder, included.values(), boxes)
            self._stored = wanted
        rows = reviewed_rows(self._rows, reviews)
        if rows != self._rows:
            write_manifest(folder, rows)
            self._rows = rows
        self._unwritten.clear()


def _in_cohort(review: Review) -> State | None:
    """What ``annotations.json`` has of a sequence; nothing of an excluded one."""
    return None if review.state.exclude else replace(review.state, lesion_names={})


def problems(state: State, sequence: Sequence) -> Iterator[str]:
    """Why a state cannot be that of a sequence, in sentences for the reader."""
    known = [bound for bound in state.bounds if bound is not None]
    if known and len(known) < len(state.bounds):
        yield "The phases need all three bounds, or none."
    elif [0, *known, sequence.length] != sorted([0, *known, sequence.length]):
        yield (
            "The phases must follow each other within the cine: introducing, optimal, vanishing. "
            f"Found frames {', '.join(map(str, known))} of {sequence.length}."
        )
    if state.reference_frame is not None and not 0 <= state.reference_frame < sequence.length:
        yield f"There is no frame {state.reference_frame}; the cine has {sequence.length}."
    if state.no_lesion and state.key_boxes:
        yield "A sequence without a lesion has no boxes. Delete its boxes first."
    for name in (state.view, *state.lesion_names.values()):
        if name is not None and not 0 < len(name.strip()) <= LONGEST_NAME:
            yield f"A name has 1 to {LONGEST_NAME} letters."
    places = [(box.instance_id, box.frame_index) for box in state.key_boxes]
    if len(set(places)) < len(places):
        yield "A lesion has one box in a frame. Give the other box a lesion of its own."
    for box in state.key_boxes:
        x1, y1, x2, y2 = _within(box, sequence)
        if not 0 <= box.frame_index < sequence.length:
            yield f"There is no frame {box.frame_index}; the cine has {sequence.length}."
        if x2 - x1 < LEAST_SIDE or y2 - y1 < LEAST_SIDE:
            yield "A box is at least one pixel wide and high, within the frame."


def _within(box: Box, sequence: Sequence) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box.box_xyxy
    return max(x1, 0.0), max(y1, 0.0), min(x2, sequence.width), min(y2, sequence.height)


def _as_tracked(box: Box) -> Box:
    """A box of a cine that was accepted, with the verdict that tracking gives it."""
    if box.ignored or box.verdict is Verdict.LOST:
        return box
    return replace(box, verdict=AS_PROPAGATE.verdict(box.confidence))


def _place(box: Box) -> tuple[object, ...]:
    return box.instance_id, box.frame_index, box.box_xyxy


def _by_lesion(boxes: Iterable[Box]) -> Mapping[int, set[Box]]:
    found: dict[int, set[Box]] = defaultdict(set)
    for box in boxes:
        found[box.instance_id].add(box)
    return found
