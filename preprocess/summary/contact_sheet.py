"""One sequence on the page: some of its frames with their boxes, and its course in time."""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.cohort import Box, BoxSource, Cohort, Phase, Sequence, Verdict
from preprocess.summary.findings import Finding
from preprocess.views import angles_in_words

WIDTH_PX = 256
JPEG_QUALITY = 72


@dataclass(frozen=True, kw_only=True)
class SheetPicture:
    """A frame with its boxes."""

    frame_index: int
    caption: str
    alt: str
    width: int
    height: int
    jpeg_base64: str
    boxes: list[Box]


@dataclass(frozen=True, kw_only=True)
class Course:
    """A bar along the frames of a cine.

    ``paths`` are SVG paths by the kind that colours them; a frame is one unit wide, and the bar's
    height is one unit.
    """

    name: str
    words: str
    paths: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ContactSheet:
    """All that the page shows of one sequence."""

    sequence: Sequence
    about: str
    worst: str
    """The worst verdict of its tracked boxes, or ``none``."""
    findings: list[Finding]
    pictures: list[SheetPicture]
    courses: list[Course]


def kind(box: Box) -> str:
    """What colours a box: its source for a reader's, its verdict for a tracked one."""
    return str(box.verdict if box.source is BoxSource.TRACKED else box.source)


def worst_verdict(boxes: Iterable[Box]) -> str:
    """The worst verdict of the tracked boxes, or ``none`` where nothing was tracked."""
    verdicts = {box.verdict for box in boxes if box.source is BoxSource.TRACKED}
    return next((str(v) for v in reversed(Verdict) if v in verdicts), "none")


def contact_sheet(
    cohort: Cohort, sequence: Sequence, boxes: list[Box], findings: list[Finding], *, count: int
) -> ContactSheet:
    """Read a sequence and choose ``count`` of its frames to show.

    Raises:
        ValueError: its frames are damaged or gone.
    """
    by_frame: dict[int, list[Box]] = defaultdict(list)
    for box in boxes:
        by_frame[box.frame_index].append(box)
    chosen = chosen_frames(sequence, boxes, count)
    stored = cohort.cine(sequence.sequence_id)[chosen]
    frames = sequence.display.apply(stored)
    return ContactSheet(
        sequence=sequence,
        about=" · ".join(_about(sequence, boxes)),
        worst=worst_verdict(boxes),
        findings=findings,
        pictures=[
            _picture(sequence, index, frame, by_frame[index])
            for index, frame in zip(chosen, frames, strict=True)
        ],
        courses=[_intervals(sequence), *_lesions(boxes)],
    )


def chosen_frames(sequence: Sequence, boxes: Iterable[Box], count: int) -> list[int]:
    """The frames to show, in order: the reference, the worst tracked, then evenly between.

    Of ``count`` frames at most a third are there for their doubtful boxes, and those not side by
    side. The middle stands in for a missing reference frame, and the whole cine for an optimal
    interval of too few frames.
    """
    cine, optimal = range(sequence.length), sequence.frames_in(Phase.OPTIMAL)
    candidates = optimal if len(optimal) >= count else cine
    middle = (optimal or cine)[len(optimal or cine) // 2]
    chosen = [middle if sequence.reference_frame is None else sequence.reference_frame]
    doubtful = sorted(
        (box.confidence, box.frame_index) for box in boxes if box.verdict is not Verdict.GOOD
    )
    apart = max(1, len(candidates) // count)
    for _, index in doubtful:
        near = any(abs(index - other) < apart for other in chosen)
        if len(chosen) <= count // 3 and not near:
            chosen.append(index)
    while len(chosen) < count:
        gaps = {index: min(abs(index - other) for other in chosen) for index in candidates}
        farthest = max(gaps, key=lambda index: gaps[index])
        if gaps[farthest] == 0:
            break
        chosen.append(farthest)
    return sorted(chosen)


def _about(sequence: Sequence, boxes: Iterable[Box]) -> Iterator[str]:
    if sequence.patient_id != sequence.sequence_id:
        yield f"patient {sequence.patient_id}"
    yield sequence.view or "no view"
    if words := angles_in_words(sequence):
        yield words
    lesions = len({box.instance_id for box in boxes})
    counted = f"{lesions} lesion{'s' if lesions != 1 else ''}"
    yield "healthy" if sequence.no_lesion else counted if lesions else "no box"
    if sequence.ifr:
        yield "iFR " + ", ".join(f"{value:.2f}" for value in sequence.ifr)
    rate = f" at {1000 / sequence.frame_time_ms:.3g}/s" if sequence.frame_time_ms else ""
    yield f"{sequence.length} frames{rate}" if sequence.length > 1 else "1 frame"


def _picture(
    sequence: Sequence, index: int, frame: NDArray[np.uint8], boxes: list[Box]
) -> SheetPicture:
    kinds = ", ".join(sorted(kind(box) for box in boxes))
    tracked = [box for box in boxes if box.source is BoxSource.TRACKED]
    caption = f"frame {index}"
    if index == sequence.reference_frame:
        caption += ", reference" + (" (proposed)" if sequence.reference_proposed else "")
    elif tracked:
        lowest = min(tracked, key=lambda box: box.confidence)
        caption += f", {lowest.verdict} {lowest.confidence:.2f}"
    elif boxes:
        caption += f", {boxes[0].source} box"
    height = round(WIDTH_PX * frame.shape[0] / frame.shape[1])
    small = cv2.resize(frame, (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return SheetPicture(
        frame_index=index,
        caption=caption,
        alt=f"Frame {index} of {sequence.sequence_id}: {kinds or 'no'} box",
        width=WIDTH_PX,
        height=height,
        jpeg_base64=base64.b64encode(encoded.tobytes()).decode("ascii"),
        boxes=boxes,
    )


def _intervals(sequence: Sequence) -> Course:
    ranges = {phase: sequence.frames_in(phase) for phase in Phase}
    words = ", ".join(
        f"{phase.replace('_', ' ')} {frames[0]} to {frames[-1]}"
        for phase, frames in ranges.items()
        if frames
    )
    return Course(
        name="intervals (proposed)" if sequence.phases_proposed else "intervals",
        words=words or "The intervals are not labelled.",
        paths={
            str(phase): f"M{frames[0]} 0h{len(frames)}v1h-{len(frames)}z"
            for phase, frames in ranges.items()
            if frames
        },
    )


def _lesions(boxes: Iterable[Box]) -> Iterator[Course]:
    lesions: dict[int, list[Box]] = defaultdict(list)
    for box in sorted(boxes, key=lambda box: box.frame_index):
        lesions[box.instance_id].append(box)
    for instance_id, along in lesions.items():
        paths: dict[str, str] = defaultdict(str)
        for box in along:
            at, high = box.frame_index, round(box.confidence, 2)
            paths[f"{kind(box)} pale"] += f"M{at} 0h1v1h-1z"
            paths[kind(box)] += f"M{at} 1v-{high:g}h1v{high:g}z"
        counts = Counter(map(kind, along))
        lowest = min(along, key=lambda box: box.confidence)
        yield Course(
            name=f"lesion {instance_id}",
            words=", ".join(f"{count} {name}" for name, count in counts.items())
            + f"; lowest confidence {lowest.confidence:.2f} in frame {lowest.frame_index}",
            paths=paths,
        )
