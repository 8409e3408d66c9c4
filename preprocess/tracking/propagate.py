"""``python -m preprocess propagate``: reference boxes to the whole optimal interval."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.cohort import Box, BoxSource, Cohort, Phase, Sequence, Verdict, write_annotations
from preprocess.cohort.reviews import State, changing, looked_at, read_reviews
from preprocess.console.progress import track
from preprocess.console.settings import CountOrZero, Proportion, Settings
from preprocess.console.workers import map_unordered
from preprocess.tracking.boxes import KeyBox, TrackedBox, spans
from preprocess.tracking.methods import TRACKERS


@dataclass(frozen=True, kw_only=True)
class PropagateSettings(Settings):
    """How boxes are tracked and judged."""

    method: Literal["joint", "csrt"] = "joint"
    """joint: the path that looks most like the lesion over all frames at once; csrt: the paper's
    tracker, from frame to frame."""
    good: Proportion = 0.5
    """Confidence (0 to 1) from which a box is trusted."""
    lost: Proportion = 0.3
    """Confidence (0 to 1) below which a box is given up."""
    processes: CountOrZero = 0
    """Processes that track; 0 = one per core."""

    def conflicts(self) -> Iterator[str]:
        """Thresholds out of their order."""
        if self.lost > self.good:
            yield f"lost is {self.lost:g}; it must be at most good, which is {self.good:g}"

    def verdict(self, confidence: float) -> Verdict:
        """The verdict on one frame."""
        if confidence >= self.good:
            return Verdict.GOOD
        return Verdict.CHECK if confidence >= self.lost else Verdict.LOST


class LiveTracking:
    """The lesions of one cine, tracked again whenever a key box or the interval changes.

    What a change leaves as it was is kept for the next call: the frames as they are compared, the
    boxes of spans between the same key boxes, and how alike each frame is to the latest key boxes.
    So a first call, in the background, makes the first correction quick as well.

    Args:
        frames: uint8[T, H, W] as a reader sees them.
        threads: so many of its own work at the same time; they change no box.
    """

    def __init__(
        self,
        frames: NDArray[np.uint8],
        settings: PropagateSettings | None = None,
        *,
        threads: int = 1,
    ):
        self._settings = settings or PropagateSettings()
        self._tracker = TRACKERS[self._settings.method](frames, threads)
        self._tracking = threading.Lock()

    def boxes(
        self, sequence: Sequence, placed: Iterable[Box], known: Iterable[Box] = ()
    ) -> list[Box]:
        """The placed boxes, and a tracked one in each other frame of the optimal interval.

        Args:
            sequence: of these frames; its phase bounds may be others than in the call before.
            placed: the boxes that readers placed, of any lesions and in any order.
            known: every box before the change, where the optimal interval is the same: tracked
                boxes stay between key boxes that stayed.
        """
        optimal = sequence.frames_in(Phase.OPTIMAL)
        lesions, earlier = _by_lesion(placed), _by_lesion(known)
        found = [box for boxes in lesions.values() for box in boxes]
        with self._tracking:
            for lesion, boxes in lesions.items():
                keys, tracks = _keys_and_tracks(earlier[lesion])
                stayed = spans(keys, optimal)
                for span in spans(_keys_and_tracks(boxes)[0], optimal):
                    wanted = [index for index in span.frames if index in optimal]
                    kept = [box for box in tracks if box.frame_index in wanted]
                    if span in stayed and len(kept) == len(wanted):
                        found += kept
                    else:
                        tracked = self._tracker.through(span)
                        found += [
                            self._box(sequence, lesion, box)
                            for box in tracked
                            if box.frame_index in optimal
                        ]
        return found

    def _box(self, sequence: Sequence, lesion: int, found: TrackedBox) -> Box:
        return Box(
            sequence_id=sequence.sequence_id,
            frame_index=found.frame_index,
            box_xyxy=found.box_xyxy,
            instance_id=lesion,
            source=BoxSource.TRACKED,
            confidence=round(found.confidence, 4),
            verdict=self._settings.verdict(found.confidence),
        )


def _by_lesion(boxes: Iterable[Box]) -> dict[int, list[Box]]:
    lesions: dict[int, list[Box]] = defaultdict(list)
    for box in sorted(boxes, key=lambda box: box.frame_index):
        lesions[box.instance_id].append(box)
    return lesions


def _keys_and_tracks(boxes: list[Box]) -> tuple[list[KeyBox], list[Box]]:
    tracks = [box for box in boxes if box.source is BoxSource.TRACKED]
    placed = [box for box in boxes if box.source is not BoxSource.TRACKED]
    for box in placed:
        x1, y1, x2, y2 = box.box_xyxy
        if min(x2 - x1, y2 - y1) < 1:
            raise ValueError(
                f"the box on frame {box.frame_index} of sequence {box.sequence_id} is "
                f"{x2 - x1:g} x {y2 - y1:g} pixels. A box to follow is at least one pixel wide and "
                "high: correct it or delete it."
            )
    return [KeyBox(frame_index=b.frame_index, box_xyxy=b.box_xyxy) for b in placed], tracks


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A sequence and the boxes that readers placed in it."""

    sequence: Sequence
    boxes: list[Box]


def propagate(cohort: Path, settings: PropagateSettings) -> None:
    """Track the reference boxes through the optimal interval, forwards and backwards.

    Every tracked box gets a confidence and a verdict: good, check (look at it) or lost (never
    trained on). Boxes that a reader corrected are key frames like the reference: they stay, and
    only the frames between them and the next key frame change. The same command again gives the
    same boxes.

    Args:
        cohort: the cohort folder that ingest wrote.

    Raises:
        ValueError: it is no cohort, it is open in a review, or none of its sequences has boxes and
            an optimal interval.

    Examples:
        python -m preprocess propagate cohort
        python -m preprocess propagate cohort --method csrt
    """
    with changing(cohort):
        _propagate(cohort, settings)


def _propagate(cohort: Path, settings: PropagateSettings) -> None:
    opened = Cohort.open(cohort)
    placed: dict[str, list[Box]] = defaultdict(list)
    for box in opened.boxes:
        if box.source is not BoxSource.TRACKED:
            placed[box.sequence_id].append(box)
    known = [
        _Task(sequence=sequence, boxes=placed[name])
        for name, sequence in opened.sequences.items()
        if placed[name] and sequence.frames_in(Phase.OPTIMAL)
    ]
    if not known:
        raise ValueError(
            f"no sequence in {cohort} has both boxes and an optimal interval. Give ingest the "
            "regions (--rois); where it found no contrast, give the phase bounds in sequences.csv."
        )
    tasks = [
        task
        for task in known
        if any(set(task.sequence.frames_in(Phase.OPTIMAL)) - {b.frame_index} for b in task.boxes)
    ]
    followed = {task.sequence.sequence_id for task in tasks}
    boxes = [box for name, found in placed.items() if name not in followed for box in found]
    work = partial(_track_sequence, folder=cohort, settings=settings)
    results = map_unordered(work, tasks, processes=settings.processes, died=_nothing)
    for found in track(results, total=len(tasks), label="sequences"):
        boxes += found
    accepted = {
        name
        for name, review in read_reviews(cohort).items()
        if name in opened.sequences
        and review.on(State.of(opened.sequences[name], placed[name])).accepted
    }
    boxes = [looked_at(box) if box.sequence_id in accepted else box for box in boxes]
    write_annotations(cohort, opened.sequences.values(), [*boxes, *opened.ignored])
    _print_outcome(opened, boxes, len(tasks), cohort)


def _track_sequence(task: _Task, *, folder: Path, settings: PropagateSettings) -> list[Box]:
    """The boxes of one sequence, in a worker."""
    cv2.setNumThreads(1)
    stored = Cohort(folder, {task.sequence.sequence_id: task.sequence}, ())
    frames = stored.cine_8bit(task.sequence.sequence_id)
    return LiveTracking(frames, settings).boxes(task.sequence, task.boxes)


def _nothing(task: _Task) -> list[Box]:
    raise ValueError(
        f"tracking sequence {task.sequence.sequence_id} ended its process, perhaps for want of "
        "memory. Try again with --processes 1."
    )


def _print_outcome(cohort: Cohort, boxes: list[Box], sequences: int, folder: Path) -> None:
    tracked = [box for box in boxes if box.source is BoxSource.TRACKED]
    verdicts = Counter(box.verdict for box in tracked)
    shares = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in Verdict)
    print(f"Tracked {len(tracked)} boxes in {sequences} sequences: {shares}.")
    unbound = {
        box.sequence_id
        for box in boxes
        if not cohort.sequences[box.sequence_id].frames_in(Phase.OPTIMAL)
    }
    if unbound:
        print(
            f"Note: {len(unbound)} sequences with boxes have no phase bounds and stay as they are."
        )
    print(f"Wrote {folder / 'annotations.json'}.")
    print(f"Next: python -m preprocess summary {folder}")
