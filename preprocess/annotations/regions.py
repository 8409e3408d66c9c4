"""What every annotation format is read into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Region:
    """A box that somebody drew on one frame, before it is fitted into the frame.

    ``box_xyxy`` is in frame pixels and ordered (x1 <= x2, y1 <= y2); ``frame_index`` is 0-based.
    A cine is named by its instance, or else by ``file_stem``: the annotation file's name without
    its ending.
    """

    frame_index: int
    box_xyxy: tuple[float, float, float, float]
    name: str = ""
    sop_instance_uid: str | None = None
    file_stem: str = ""
    inverted: bool = False
    """Whether the corners came in the wrong order and were exchanged."""

    def within(self, *, width: int, height: int) -> tuple[float, float, float, float] | None:
        """The part that lies in the frame, or None where nothing of it does."""
        x1, y1, x2, y2 = self.box_xyxy
        clipped = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        # One pixel is the least that a box can mean; thinner ones are clicks, not drags.
        return clipped if clipped[2] - clipped[0] >= 1 and clipped[3] - clipped[1] >= 1 else None


def from_corners(
    xs: Sequence[float],
    ys: Sequence[float],
) -> tuple[tuple[float, float, float, float], bool]:
    """The box around drawn points, and whether two drag corners came in the wrong order."""
    box = (min(xs), min(ys), max(xs), max(ys))
    return box, len(xs) == 2 and (xs[0] > xs[1] or ys[0] > ys[1])
