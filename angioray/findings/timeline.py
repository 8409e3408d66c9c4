"""Time from left to right: a strip of frames, and a lane for each lesion below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from angioray.inference.findings import FoundBox, Lesion
from preprocess.console.words import counted

MOST_IN_A_STRIP = 10


@dataclass(frozen=True, kw_only=True)
class LaneCell:
    """A box of a lesion, where its frame is in the film: left edge and width in percent."""

    box: FoundBox
    x: float
    width: float


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A lesion through the frames that were looked at.

    Attributes:
        words: the lane for those who cannot see it.
        found: in how many frames a detector found the lesion.
        best: the middle of its best frame, in percent.
    """

    lesion: Lesion
    found: int
    words: str
    cells: tuple[LaneCell, ...]
    best: float


def lane(lesion: Lesion, looked_at: Sequence[int]) -> Lane:
    """A lesion over the frames that were looked at, each of the same width."""
    width = 100 / len(looked_at)
    found = sum(not box.carried for box in lesion.boxes)
    return Lane(
        lesion=lesion,
        found=found,
        words=(
            f"Lesion {lesion.number}: score {lesion.score:.2f}, found in {found} of "
            f"{counted(len(looked_at), 'frame')}, best in frame {lesion.best.frame_index} with "
            f"{lesion.best.score:.2f}"
        ),
        cells=tuple(
            LaneCell(
                box=box,
                x=round(looked_at.index(box.frame_index) * width, 3),
                width=round(width, 3),
            )
            for box in lesion.boxes
        ),
        best=round((looked_at.index(lesion.best.frame_index) + 0.5) * width, 3),
    )


def strip(count: int) -> list[int]:
    """The frames of a film of ``count`` that stand above the lanes, by their place from 0.

    Each is the middle of one of a few equal parts, so every lane lies below its frames.
    """
    cells = min(count, MOST_IN_A_STRIP)
    return [int((cell + 0.5) * count / cells) for cell in range(cells)]
