"""Findings made by hand: one lesion with a gap, one beside it, and pictures whose grey is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from angioray.inference.findings import Findings, FoundBox, Lesion
from preprocess.cohort import Sequence
from preprocess.cohort.display import Display

LOOKED_AT = tuple(range(4, 12))
"""Eight frames of a cine of twenty."""


def cine(sequence_id: str = "S1") -> Sequence:
    """A cine of 20 frames of 64 x 48 pixels at 12.5 a second, from LAO 40 CRA 20."""
    return Sequence(
        sequence_id=sequence_id,
        patient_id="P1",
        view=None,
        length=20,
        height=48,
        width=64,
        bits_stored=8,
        display=Display(lower=0, upper=255),
        frames_digest="",
        frame_time_ms=80.0,
        primary_angle_deg=40.0,
        secondary_angle_deg=20.0,
    )


def pictures() -> NDArray[np.uint8]:
    """Frames of one grey each: ten times their index."""
    return np.broadcast_to(10 * np.arange(20, dtype=np.uint8)[:, None, None], (20, 48, 64)).copy()


def found(sequence_id: str = "S1", score: float = 0.9) -> Findings:
    """Lesion 1 in frames 5 to 8, carried in 6 and best in 7; lesion 2 in frame 10 alone; a third
    that is too weak to be shown.
    """
    box = FoundBox(frame_index=5, box_xyxy=(10.0, 20.0, 22.0, 30.0), score=0.6)
    first = Lesion(
        number=1,
        score=score,
        stability=3 / 8,
        boxes=(
            box,
            replace(box, frame_index=6, score=0.7, carried=True),
            replace(box, frame_index=7, score=0.95),
            replace(box, frame_index=8, score=0.8),
        ),
    )
    second = Lesion(
        number=2,
        score=min(score, 0.55),
        stability=1 / 8,
        boxes=(FoundBox(frame_index=10, box_xyxy=(50.0, 2.0, 62.0, 12.0), score=0.55),),
    )
    third = replace(second, number=3, score=min(score, 0.3))
    return Findings(
        sequence_id=sequence_id,
        patient_id="P1",
        new_patient=True,
        view="RCA",
        probabilities={"LCA": 0.125, "RCA": 0.875},
        models=5,
        frames=LOOKED_AT,
        boxes=(),
        lesions=(first, second, third),
    )
