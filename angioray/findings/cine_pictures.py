"""The pictures of one cine: a film of all frames that were looked at, and some of them larger."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from angioray.inference.findings import Lesion

FILM_SIDE_PX = 256
"""The longer side of a frame of the film."""
STILL_SIDE_PX = 448
JPEG_QUALITY = 55
"""Noise of angiograms does not repeat from frame to frame: single pictures take half as many bytes
more than VP9 does, and a hundredth of its time."""
BEST_FRAMES = 3
APART = 2
"""Frames between two best frames, at least; neighbours look alike."""


@dataclass(frozen=True, kw_only=True)
class Film:
    """Frames side by side in one picture, row by row.

    Attributes:
        jpeg_base64: the picture.
        count: how many frames it has.
        columns: frames in a row.
        width, height: of one frame, in pixels of the picture.
    """

    jpeg_base64: str
    count: int
    columns: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture."""
        return self.columns * self.width, -(-self.count // self.columns) * self.height

    def corner(self, position: int) -> tuple[int, int]:
        """The left upper corner of a frame in the picture, by its place in the film from 0."""
        row, column = divmod(position, self.columns)
        return column * self.width, row * self.height


@dataclass(frozen=True, kw_only=True)
class Still:
    """One frame as a picture of its own."""

    frame_index: int
    jpeg_base64: str


def film(frames: Sequence[NDArray[np.uint8]]) -> Film:
    """Frames (uint8[H, W], at least one, all of one shape) as a film."""
    columns = math.ceil(math.sqrt(len(frames)))
    small = [_shrunk(frame, FILM_SIDE_PX) for frame in frames]
    height, width = small[0].shape
    sheet = np.zeros((-(-len(frames) // columns) * height, columns * width), np.uint8)
    made = Film(jpeg_base64="", count=len(frames), columns=columns, width=width, height=height)
    for position, frame in enumerate(small):
        x, y = made.corner(position)
        sheet[y : y + height, x : x + width] = frame
    return Film(**{**vars(made), "jpeg_base64": _jpeg(sheet)})


def still(frames: NDArray[np.uint8], frame_index: int) -> Still:
    """One of the frames of a cine (uint8[T, H, W])."""
    shrunk = _shrunk(frames[frame_index], STILL_SIDE_PX)
    return Still(frame_index=frame_index, jpeg_base64=_jpeg(shrunk))


def best_frames(lesions: Iterable[Lesion]) -> list[int]:
    """The frames to show larger: the best of each lesion, then those of the next best boxes.

    A frame beside a chosen one is left out, for what is in it is seen there too.
    """
    shown = list(lesions)
    rest = [box for lesion in shown for box in lesion.boxes if not box.carried]
    rest.sort(key=lambda box: (-box.score, box.frame_index))
    chosen: list[int] = []
    for box in (*(lesion.best for lesion in shown), *rest):
        if all(abs(box.frame_index - other) >= APART for other in chosen):
            chosen.append(box.frame_index)
    return chosen[:BEST_FRAMES]


def _shrunk(frame: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    shrink = side_px / max(frame.shape)
    if shrink >= 1:
        return frame
    size = (round(frame.shape[1] * shrink), round(frame.shape[0] * shrink))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(picture: NDArray[np.uint8]) -> str:
    smaller = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1)
    done, encoded = cv2.imencode(".jpg", picture, smaller)
    assert done
    return base64.b64encode(encoded.tobytes()).decode("ascii")
