"""``python -m preprocess propagate``: reference boxes to the whole optimal interval."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import cv2

from preprocess.cohort import Box, BoxSource, Cohort, Phase, Sequence, Verdict, write_annotations
from preprocess.cohort.reviews import looked_at, read_reviews
from preprocess.console.progress import track
from preprocess.console.settings import CountOrZero, Proportion, Settings
from preprocess.console.workers import map_unordered
from preprocess.tracking.boxes import KeyBox
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
        ValueError: it is no cohort, or none of its sequences has boxes and an optimal interval.

    Examples:
        python -m preprocess propagate cohort
        python -m preprocess propagate cohort --method csrt
    """
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
    tasks = [task for task in known if len(task.sequence.frames_in(Phase.OPTIMAL)) > 1]
    boxes = [box for found in placed.values() for box in found]
    work = partial(_track_sequence, folder=cohort, settings=settings)
    results = map_unordered(work, tasks, processes=settings.processes, died=_nothing)
    for tracked in track(results, total=len(tasks), label="sequences"):
        boxes += tracked
    accepted = {name for name, review in read_reviews(cohort).items() if review.accepted}
    boxes = [looked_at(box) if box.sequence_id in accepted else box for box in boxes]
    write_annotations(cohort, opened.sequences.values(), [*boxes, *opened.ignored])
    _print_outcome(opened, boxes, len(tasks), cohort)


def _track_sequence(task: _Task, *, folder: Path, settings: PropagateSettings) -> list[Box]:
    """Every box of one sequence, in a worker."""
    cv2.setNumThreads(1)
    stored = Cohort(folder, {task.sequence.sequence_id: task.sequence}, ())
    frames = stored.cine_8bit(task.sequence.sequence_id)
    lesions: dict[int, list[Box]] = defaultdict(list)
    for box in task.boxes:
        lesions[box.instance_id].append(box)
    tracker = TRACKERS[settings.method](frames)
    optimal = task.sequence.frames_in(Phase.OPTIMAL)
    return [
        Box(
            sequence_id=task.sequence.sequence_id,
            frame_index=found.frame_index,
            box_xyxy=found.box_xyxy,
            instance_id=instance_id,
            source=BoxSource.TRACKED,
            confidence=round(found.confidence, 4),
            verdict=settings.verdict(found.confidence),
        )
        for instance_id, boxes in lesions.items()
        for found in tracker.track(_keys(boxes), optimal)
    ]


def _keys(boxes: list[Box]) -> list[KeyBox]:
    return [
        KeyBox(frame_index=box.frame_index, box_xyxy=box.box_xyxy)
        for box in sorted(boxes, key=lambda box: box.frame_index)
    ]


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
