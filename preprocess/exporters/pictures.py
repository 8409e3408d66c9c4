"""The frames of a cine as PNG files, with boxes drawn into them where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.cohort import Box, BoxSource, Cohort
from preprocess.cohort import Sequence as Cine

Pictures = NDArray[np.uint8]
"""uint8 [T, H, W] in grey, or [T, H, W, 3] in blue, green, red."""

COLOURS_BGR = {
    "reference": (255, 229, 0),
    "corrected": (244, 92, 255),
    "good": (104, 220, 61),
    "check": (0, 196, 255),
    "lost": (77, 77, 255),
}
IGNORED_BGR = (160, 160, 160)


def write_cine(folder: Path, sequence: Cine, pictures: Pictures, boxes: Sequence[Box]) -> None:
    """Write ``SEQUENCE/000012.png`` and so on."""
    write_pictures(folder / sequence.sequence_id, pictures, "{:06d}.png")


def finish(folder: Path, cohort: Cohort) -> None:
    """PNG files say nothing more."""


def write_pictures(folder: Path, pictures: Pictures, name: str) -> None:
    """Write every frame as PNG; ``name`` becomes its file's name by its index, from 0."""
    folder.mkdir(parents=True)
    for index, picture in enumerate(pictures):
        _, content = cv2.imencode(".png", picture)
        (folder / name.format(index)).write_bytes(content.tobytes())


def with_boxes(pictures: Pictures, boxes: Iterable[Box]) -> Pictures:
    """The frames in colour (uint8[T, H, W, 3]), each box by a line of a pixel around it."""
    drawn = np.repeat(pictures[..., None], 3, axis=-1)
    for box in boxes:
        x1, y1, x2, y2 = _edges(box, drawn.shape[2], drawn.shape[1])
        cv2.rectangle(drawn[box.frame_index], (x1, y1), (x2, y2), _colour(box), 1)
    return drawn


def _edges(box: Box, width: int, height: int) -> Iterator[int]:
    """The outermost pixels of a box, in the frame."""
    x1, y1, x2, y2 = box.box_xyxy
    corners = (np.floor(x1), np.floor(y1), np.ceil(x2) - 1, np.ceil(y2) - 1)
    for corner, side in zip(corners, (width, height) * 2, strict=True):
        yield int(np.clip(corner, 0, side - 1))


def _colour(box: Box) -> tuple[int, int, int]:
    """That of the summary's page: by the source of a reader's box, by a tracked one's verdict."""
    if box.ignored:
        return IGNORED_BGR
    return COLOURS_BGR[box.verdict if box.source is BoxSource.TRACKED else box.source]
