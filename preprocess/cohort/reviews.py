"""``review.jsonl``: what readers decided about sequences in the browser, one decision a line.

A line is the whole state of one sequence after a decision, and the last line of a sequence holds.
A line that is torn, because its writer was killed, was never confirmed to anybody.

The boxes of a second reader are in ``readers/NAME.jsonl`` and never enter ``annotations.json``.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from preprocess.cohort.annotations import polygons
from preprocess.cohort.cines import update_attributes
from preprocess.cohort.manifest import ManifestRow
from preprocess.cohort.records import (
    Bounds,
    Box,
    BoxSource,
    Exclusion,
    Sequence,
    Verdict,
    check_types,
)
from preprocess.storage import FolderStorage
from preprocess.storage.atomic import sync_folder
from preprocess.storage.names import check_name

JOURNAL = "review.jsonl"
READERS = "readers"
ENDING = ".jsonl"
NOT_SHOWN = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What no name of a view or lesion has: control characters, those that turn the direction of text,
and halves of characters."""
GROUPS = (
    ("view",),
    ("reference_frame",),
    ("introducing_start", "optimal_start", "vanishing_start"),
    ("no_lesion",),
    ("exclude",),
)
"""Fields of a state that are decided together."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What a reader may correct of a sequence; the fields are those of ``Sequence``."""

    view: str | None = None
    reference_frame: int | None = None
    introducing_start: int | None = None
    optimal_start: int | None = None
    vanishing_start: int | None = None
    no_lesion: bool = False
    exclude: Exclusion | None = None
    boxes: tuple[Box, ...] = ()
    """Key boxes, tracked ones, and areas to ignore."""
    lesion_names: Mapping[int, str] = field(default_factory=dict)
    """By ``instance_id``, where a reader has named one."""

    @classmethod
    def of(cls, sequence: Sequence, boxes: Iterable[Box]) -> State:
        """The state of a sequence in a cohort; ``boxes`` are its own."""
        return cls(
            view=sequence.view,
            reference_frame=sequence.reference_frame,
            introducing_start=sequence.introducing_start,
            optimal_start=sequence.optimal_start,
            vanishing_start=sequence.vanishing_start,
            no_lesion=sequence.no_lesion,
            boxes=tuple(boxes),
        )

    @property
    def bounds(self) -> Bounds:
        """The first frames of the introducing, optimal and vanishing intervals."""
        return self.introducing_start, self.optimal_start, self.vanishing_start

    @property
    def lesion_boxes(self) -> tuple[Box, ...]:
        """Key boxes and tracked ones."""
        return tuple(box for box in self.boxes if not box.ignored)

    @property
    def areas(self) -> tuple[Box, ...]:
        """Areas to ignore."""
        return tuple(box for box in self.boxes if box.ignored)

    @property
    def key_boxes(self) -> frozenset[Box]:
        """The boxes of lesions that readers placed."""
        return frozenset(box for box in self.lesion_boxes if box.source is not BoxSource.TRACKED)


@dataclass(frozen=True, kw_only=True)
class Review:
    """The last decision about a sequence."""

    sequence_id: str
    revision: int
    """Counts the decisions about this sequence, from 1."""
    by: str
    at: str
    """UTC, ISO 8601, to the second."""
    accepted: bool
    state: State
    before: State
    """As the sequence would be without any review."""

    @classmethod
    def begun(cls, sequence_id: str, state: State) -> Review:
        """What there is before the first decision about a sequence."""
        return cls(
            sequence_id=sequence_id,
            revision=0,
            by="",
            at="",
            accepted=False,
            state=state,
            before=state,
        )

    def on(self, current: State) -> Review:
        """The same decision on a sequence that may have other labels or regions by now.

        What the reader changed stays; what was left alone is as it is now.
        """
        kept, before = current, current
        for group in GROUPS:
            decided = {name: getattr(self.state, name) for name in group}
            earlier = {name: getattr(self.before, name) for name in group}
            if decided != earlier:
                kept, before = replace(kept, **decided), replace(before, **earlier)
        lesions, areas = current.lesion_boxes, current.areas
        if self.state.key_boxes != self.before.key_boxes:
            before = replace(before, boxes=(*self.before.lesion_boxes, *before.areas))
            if current.key_boxes != self.state.key_boxes:  # else they may have been tracked anew
                lesions = self.state.lesion_boxes
        if set(self.state.areas) != set(self.before.areas):
            before = replace(before, boxes=(*before.lesion_boxes, *self.before.areas))
            areas = self.state.areas
        kept = replace(kept, boxes=(*lesions, *areas), lesion_names=self.state.lesion_names)
        # What was accepted is not what there is now, if another box or interval came since.
        accepted = self.accepted and (kept.key_boxes, kept.bounds) == (
            self.state.key_boxes,
            self.state.bounds,
        )
        if accepted:
            kept = replace(kept, boxes=tuple(map(looked_at, kept.boxes)))
        return replace(self, accepted=accepted, state=kept, before=before)

    def then(self, state: State, *, by: str, accepted: bool) -> Review:
        """The decision that follows this one, made now."""
        return replace(
            self,
            revision=self.revision + 1,
            by=by,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            accepted=accepted,
            state=state,
        )


def looked_at(box: Box) -> Box:
    """A box of a sequence that a reader accepted: a doubtful one is good, a lost one stays lost."""
    return replace(box, verdict=Verdict.GOOD) if box.verdict is Verdict.CHECK else box


class ReviewJournal:
    """A journal that decisions are added to, locked while it is open.

    Attributes:
        latest: the last decision about each sequence.
        lesions: every lesion's number that a sequence ever had in it.
    """

    def __init__(self, folder: Path, reader: str | None = None) -> None:
        """Open the journal of a cohort, or of one of its readers.

        Raises:
            ValueError: another process has it open, or it is damaged.
        """
        self.path = journal_path(folder, reader)
        self.path.parent.mkdir(exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.latest: dict[str, Review] = {}
        self.lesions: dict[str, set[int]] = defaultdict(set)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            content = self.path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            for review in _decisions(self.path, whole):
                self._remember(review)
            os.ftruncate(self._file, len(whole))
            sync_folder(self.path.parent)
        except BlockingIOError:
            self.close()
            raise ValueError(
                f"{self.path} is open in another review. Use its page, or end it first."
            ) from None
        except ValueError:
            self.close()
            raise

    def __enter__(self) -> ReviewJournal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock."""
        os.close(self._file)

    def append(self, review: Review) -> None:
        """Add a decision; it is on the disk when this returns."""
        known = self.latest.get(review.sequence_id)
        entry = {
            "sequence_id": review.sequence_id,
            "revision": review.revision,
            "by": review.by,
            "at": review.at,
            "accepted": review.accepted,
            "state": state_as_json(review.state),
        }
        if known is None or known.before != review.before:
            entry["before"] = state_as_json(review.before)
        line = json.dumps(entry, allow_nan=False).encode() + b"\n"
        end = os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, end)  # the next line must not follow half of this one
            raise
        self._remember(review)

    def _remember(self, review: Review) -> None:
        self.latest[review.sequence_id] = review
        boxes = (*review.before.lesion_boxes, *review.state.lesion_boxes)
        self.lesions[review.sequence_id].update(box.instance_id for box in boxes)


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Keep every other command out that changes the same cohort.

    Raises:
        ValueError: one is at it.
    """
    with ExitStack() as stack:
        try:
            if folder.is_dir():  # else there is nothing to change, as its reader will say
                stack.enter_context(FolderStorage(folder).locked(wait=False))
        except BlockingIOError:
            raise ValueError(
                f"{folder} is open in a review, or another command is changing it. End the review, "
                "or wait until the command is done."
            ) from None
        yield


def journal_path(folder: Path, reader: str | None = None) -> Path:
    """Where the decisions about a cohort are kept, or the boxes of one of its readers."""
    if reader is None:
        return folder / JOURNAL
    return folder / READERS / check_name(reader + ENDING, "a reader")


def read_reviews(folder: Path, reader: str | None = None) -> dict[str, Review]:
    """The last decision about each sequence of a cohort; nothing where there is no journal.

    Raises:
        ValueError: the journal is damaged.
    """
    path = journal_path(folder, reader)
    if not path.is_file():
        return {}
    content = path.read_bytes()
    decisions = _decisions(path, content[: content.rfind(b"\n") + 1])
    return {review.sequence_id: review for review in decisions}


def readers(folder: Path) -> list[str]:
    """The readers whose boxes are kept apart, by name."""
    return sorted(path.stem for path in (folder / READERS).glob(f"*{ENDING}"))


def reviewed_sequence(sequence: Sequence, review: Review) -> Sequence:
    """A sequence as it was decided; what a reader has looked at is no proposal any more."""
    state, before = review.state, review.before
    kept = state.bounds == before.bounds
    same_reference = state.reference_frame == before.reference_frame
    looked_at = review.accepted
    return replace(
        sequence,
        view=state.view,
        reference_frame=state.reference_frame,
        introducing_start=state.introducing_start,
        optimal_start=state.optimal_start,
        vanishing_start=state.vanishing_start,
        no_lesion=state.no_lesion,
        phases_proposed=sequence.phases_proposed and kept and not looked_at,
        reference_proposed=sequence.reference_proposed and same_reference and not looked_at,
    )


def reviewed_rows(rows: Iterable[ManifestRow], reviews: Mapping[str, Review]) -> list[ManifestRow]:
    """The manifest as it was decided; a file that was rejected for a reason of its own stays so."""
    rows = list(rows)
    files = Counter(row.sequence_id for row in rows)
    decided = []
    for row in rows:
        review = reviews.get(row.sequence_id)
        if review and (row.status == "accepted" or row.exclude):
            state = review.state
            placed = sum(box.source is BoxSource.REFERENCE for box in state.key_boxes)
            row = replace(
                row,
                status="rejected" if state.exclude else "accepted",
                reason=f"excluded: {state.exclude}" if state.exclude else "",
                exclude=state.exclude or "",
                view=state.view or "",
                no_lesion=state.no_lesion,
                # Of a cine of several files, each row counts its own.
                reference_boxes=placed if files[row.sequence_id] == 1 else row.reference_boxes,
            )
        decided.append(row)
    return decided


def with_reviews(
    folder: Path,
    reviews: Mapping[str, Review],
    given: Iterable[Sequence],
    boxes: Iterable[Box],
    rows: Iterable[ManifestRow],
) -> tuple[list[Sequence], list[Box], list[ManifestRow]]:
    """What labels and regions say of a cohort, with what its reviews decided (by sequence).

    The attributes of stored cines are changed where a review says so. A sequence that a review
    excluded is left out, with its boxes.
    """
    by_sequence: dict[str, list[Box]] = defaultdict(list)
    for box in boxes:
        by_sequence[box.sequence_id].append(box)
    sequences, kept, applied = list[Sequence](), list[Box](), dict[str, Review]()
    for sequence in given:
        found = by_sequence[sequence.sequence_id]
        if known := reviews.get(sequence.sequence_id):
            review = applied[sequence.sequence_id] = known.on(State.of(sequence, found))
            found = [*review.state.boxes]
            decided = reviewed_sequence(sequence, review)
            if decided != sequence:
                update_attributes(folder, decided)
                sequence = decided
            if review.state.exclude:
                continue
        sequences.append(sequence)
        kept += found
    return sequences, kept, reviewed_rows(rows, applied)


def _decisions(path: Path, lines: bytes) -> Iterator[Review]:
    before: dict[str, State] = {}
    for number, line in enumerate(lines.splitlines(), start=1):
        try:
            entry = json.loads(line)
            sequence_id = check_name(entry["sequence_id"], "a sequence")
            state = state_from_json(sequence_id, entry["state"])
            if "before" in entry:
                before[sequence_id] = state_from_json(sequence_id, entry["before"])
            review = Review(
                sequence_id=sequence_id,
                revision=entry["revision"],
                by=entry["by"],
                at=entry["at"],
                accepted=entry["accepted"],
                state=state,
                # Its first line may have been removed by hand, as the error below advises.
                before=before.setdefault(sequence_id, state),
            )
            check_types(review)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
            raise ValueError(
                f"{path}, line {number}, is not what a review wrote ({problem}). Put the file back "
                "from a copy, or remove that line: the decision in it is lost then."
            ) from None
        yield review


def state_as_json(state: State) -> dict[str, Any]:
    """A state as the journal and the page have it."""
    return {
        **{name: getattr(state, name) for group in GROUPS for name in group},
        "lesion_names": dict(state.lesion_names),
        "boxes": [
            {
                "frame": box.frame_index,
                "box": box.box_xyxy,
                "lesion": box.instance_id,
                "source": box.source,
                "confidence": box.confidence,
                "verdict": box.verdict,
                **({"ignored": True} if box.ignored else {}),
                **({} if box.grade is None else {"grade": box.grade}),
                **({} if box.segmentation is None else {"segmentation": box.segmentation}),
            }
            for box in state.boxes
        ],
    }


def state_from_json(sequence_id: str, values: Mapping[str, Any]) -> State:
    """The state of a sequence, as :func:`state_as_json` gave it.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    boxes = tuple(
        Box(
            sequence_id=sequence_id,
            frame_index=box["frame"],
            box_xyxy=tuple(box["box"]),
            instance_id=box["lesion"],
            source=BoxSource(box["source"]),
            confidence=box["confidence"],
            verdict=Verdict(box["verdict"]),
            ignored=box.get("ignored", False),
            grade=box.get("grade"),
            segmentation=polygons(box.get("segmentation")),
        )
        for box in values["boxes"]
    )
    state = State(
        **{name: values[name] for group in GROUPS for name in group if name != "exclude"},
        exclude=Exclusion(values["exclude"]) if values["exclude"] else None,
        boxes=boxes,
        lesion_names={int(lesion): name for lesion, name in values["lesion_names"].items()},
    )
    for record in (state, *boxes):
        check_types(record)
    for text in (state.view or "", *state.lesion_names.values()):
        if not isinstance(text, str) or NOT_SHOWN.search(text):
            raise ValueError(f"{ascii(text)[:80]} is no name")
    return state
