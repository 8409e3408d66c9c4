"""MP4: a video of each cine at its own rate, for talks.

VP9 is what OpenCV's wheels encode that browsers play. They have no encoder of H.264, and the
packages that do bring x264, which is under the GPL. Lossy: fine noise is smoothed away.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from preprocess.cohort import Box, Cohort
from preprocess.cohort import Sequence as Cine
from preprocess.exporters.pictures import Pictures

CODEC = "vp09"
USUAL_RATE = 15.0
"""Frames a second of a cine that does not say its own."""
MILLISECONDS = 1000.0


def write_cine(folder: Path, sequence: Cine, pictures: Pictures, boxes: Sequence[Box]) -> None:
    """Write ``SEQUENCE.mp4``; a cine of odd sides gets one black row or column more.

    Raises:
        ValueError: this machine's OpenCV cannot write it, or not all of it.
    """
    path = folder / f"{sequence.sequence_id}.mp4"
    margins = [(0, side % 2) for side in pictures.shape[1:3]]
    rest = [(0, 0)] * (pictures.ndim - 3)
    even = np.pad(pictures, [(0, 0), *margins, *rest])
    height, width = even.shape[1:3]
    code = cv2.VideoWriter.fourcc(*CODEC)
    # Grey pictures stay grey to a level; in colour every level would come out 2 or 3 darker.
    in_colour = pictures.ndim == 4
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, code, rate(sequence), (width, height), in_colour
    )
    for picture in even:
        writer.write(picture)
    writer.release()
    # The writer says nothing of a codec that it does not have, nor of a full disk.
    written = cv2.VideoCapture(str(path))
    frames = max(0, int(written.get(cv2.CAP_PROP_FRAME_COUNT)))
    written.release()
    if frames != len(pictures):
        raise ValueError(
            f"the video of sequence {sequence.sequence_id} has {frames} of {len(pictures)} frames: "
            "the disk may be full, or this OpenCV has no VP9 (that of PyPI has it)"
        )


def finish(folder: Path, cohort: Cohort) -> None:
    """Videos say nothing more."""


def rate(sequence: Cine) -> float:
    """Frames a second at which a cine is shown."""
    return MILLISECONDS / sequence.frame_time_ms if sequence.frame_time_ms else USUAL_RATE
