"""A cohort whose boxes are hard to carry: no round number, two at one place, lost ones, areas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from preprocess.cohort import (
    NO_LESION,
    Box,
    BoxSource,
    Cohort,
    Verdict,
    frames_digest,
    store_cine,
    write_annotations,
)
from preprocess.cohort.display import Display
from tests.preprocess.drawn_cohort import sequence, still
from tests.preprocess.tiny_archive import SIZE, noise

THIRD = 1 / 3
AWKWARD = (0.1 + 0.2, 2.0000000000000004, 10 * THIRD + 8, 30.123456789012345)
NEXT_ONE = (np.nextafter(3.0, 4.0).item(), 5e-324, SIZE - THIRD, 7.7)
EDGE = (0.0, 0.0, float(SIZE), float(SIZE))
DEEP = "S4"
"""The cine of 12 bits."""


def box(
    name: str, frame_index: int, lesion: int, corners: tuple[float, ...], **more: object
) -> Box:
    """A box; of a reader, if nothing else is said."""
    x1, y1, x2, y2 = corners
    made = Box(
        sequence_id=name, frame_index=frame_index, box_xyxy=(x1, y1, x2, y2), instance_id=lesion
    )
    return replace(made, **more)


def tracked(name: str, frame: int, lesion: int, confidence: float, verdict: Verdict) -> Box:
    """A box of the tracker, a little further right in each frame."""
    x1, y1, x2, y2 = AWKWARD
    shift = frame * THIRD
    corners = (x1 + shift, y1, x2 + shift, y2)
    more = {"source": BoxSource.TRACKED, "confidence": confidence, "verdict": verdict}
    return box(name, frame, lesion, corners, **more)


BOXES = [
    # Two lesions at one place, each with a correction; numbers that are not 1, 2, 3.
    box("S1", 4, 3, AWKWARD),
    box("S1", 4, 7, AWKWARD),
    box("S1", 6, 3, NEXT_ONE, source=BoxSource.CORRECTED),
    tracked("S1", 3, 3, 0.123456789, Verdict.LOST),
    tracked("S1", 5, 3, 0.4321, Verdict.CHECK),
    tracked("S1", 5, 7, 0.9999, Verdict.GOOD),
    # A frame between that has none, areas to ignore, a lesion that ends with the cine.
    box("S2", 4, 12, NEXT_ONE),
    tracked("S2", 9, 12, 0.5, Verdict.GOOD),
    box("S2", 0, NO_LESION, EDGE, ignored=True),
    box("S2", 0, NO_LESION, AWKWARD, ignored=True),
    box(DEEP, 4, 5, EDGE),
]


def write_awkward_cohort(folder: Path, boxes: list[Box] | None = None) -> Cohort:
    """S1 and S2 with boxes, S3 without, S4 of 12 bits, S5 labelled as healthy, and a still."""
    sequences = [sequence(name, "P1", "RCA") for name in ("S1", "S2", "S3", DEEP)]
    sequences += [sequence("S5", "P2", "LCA", healthy=True)]
    sequences += [replace(still("S6"), may_hold_text=True)]
    for made in sequences:
        frames = noise(made.length)
        if made.sequence_id == DEEP:
            frames = noise(made.length, bits=12)
            made = replace(
                made,
                bits_stored=12,
                display=Display(lower=100, upper=3000, inverted=True),
                frames_digest=frames_digest(frames),
            )
            sequences[3] = made
        store_cine(folder, made, frames)
    write_annotations(folder, sequences, BOXES if boxes is None else boxes)
    return Cohort.open(folder)
