"""One HTML file, without network, on which a person checks the boxes of a cohort by eye."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

from preprocess.cohort import Box, BoxSource, Cohort, Phase, Sequence, Verdict
from preprocess.table_1 import TableRow

WIDTH_PX = 320
JPEG_QUALITY = 80
COLOURS = {
    "reference": "#00e5ff",
    "corrected": "#ff5cf4",
    "good": "#3ddc68",
    "check": "#ffd23d",
    "lost": "#ff4d4d",
}
"""By source for a reader's boxes, by verdict for tracked ones."""


@dataclass(frozen=True, kw_only=True)
class _Picture:
    caption: str
    jpeg_base64: str


@dataclass(frozen=True, kw_only=True)
class _Card:
    """One sequence on the page; ``strips`` holds a colour per optimal frame for each lesion."""

    sequence: Sequence
    pictures: list[_Picture]
    strips: list[list[str]]
    doubtful: int


def quality_page(
    cohort: Cohort,
    rows: list[TableRow],
    columns: Mapping[str, str],
    reasons: Mapping[str, int],
    verdicts: Mapping[str, int],
    *,
    shown: int,
) -> str:
    """The page as HTML.

    Args:
        cohort: what is shown.
        rows: Table 1.
        columns: its titles by field name.
        reasons: how many files were rejected for each.
        verdicts: how many tracked boxes bear each.
        shown: how many sequences at most, those with the most doubtful boxes first.
    """
    template = files("preprocess").joinpath("quality_page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        rows=rows,
        columns=columns,
        reasons=reasons,
        verdicts=verdicts,
        cards=_cards(cohort, shown),
        total=len(cohort.sequences),
        colours=COLOURS,
    )


def _cards(cohort: Cohort, shown: int) -> Iterator[_Card]:
    boxes: dict[str, list[Box]] = defaultdict(list)
    for box in cohort.boxes:
        boxes[box.sequence_id].append(box)

    def doubtful(sequence_id: str) -> int:
        return sum(box.verdict is not Verdict.GOOD for box in boxes[sequence_id])

    order = sorted(cohort.sequences, key=lambda name: (-doubtful(name), name))
    for sequence_id in order[:shown]:
        sequence = cohort.sequences[sequence_id]
        yield _Card(
            sequence=sequence,
            pictures=_pictures(cohort, sequence, boxes[sequence_id]),
            strips=_strips(sequence, boxes[sequence_id]),
            doubtful=doubtful(sequence_id),
        )


def _pictures(cohort: Cohort, sequence: Sequence, boxes: list[Box]) -> list[_Picture]:
    """The reference frame between the first and the last optimal frame."""
    optimal = sequence.frames_in(Phase.OPTIMAL) or range(sequence.length)
    reference = sequence.reference_frame
    middle = optimal[len(optimal) // 2] if reference is None else reference
    frames = cohort.cine_8bit(sequence.sequence_id)
    captions = {optimal[0]: "optimal from", middle: "reference", optimal[-1]: "optimal to"}
    if reference is None:
        captions[middle] = "middle"
    return [
        _Picture(
            caption=f"{caption} {index}",
            jpeg_base64=_jpeg(frames[index], [b for b in boxes if b.frame_index == index]),
        )
        for index, caption in sorted(captions.items())
    ]


def _jpeg(frame: NDArray[np.uint8], boxes: list[Box]) -> str:
    scale = WIDTH_PX / frame.shape[1]
    picture = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    for box in boxes:
        x1, y1, x2, y2 = (round(value * scale) for value in box.box_xyxy)
        cv2.rectangle(picture, (x1, y1), (x2, y2), _bgr(_colour(box)), 1, cv2.LINE_AA)
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return base64.b64encode(encoded.tobytes()).decode()


def _strips(sequence: Sequence, boxes: list[Box]) -> list[list[str]]:
    optimal = sequence.frames_in(Phase.OPTIMAL)
    lesions: dict[int, dict[int, str]] = defaultdict(dict)
    for box in boxes:
        lesions[box.instance_id][box.frame_index] = _colour(box)
    return [[strip.get(index, "#333") for index in optimal] for strip in lesions.values()]


def _colour(box: Box) -> str:
    return COLOURS[str(box.verdict if box.source is BoxSource.TRACKED else box.source)]


def _bgr(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return blue, green, red
