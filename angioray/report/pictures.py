"""Frames with the truth in cyan and predictions in orange: misses, false boxes and hits."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from angioray.evaluation.detection import PAPER
from angioray.evaluation.matching import FloatArray, Matches, box_iou
from angioray.report.evidence import DetectorEvidence

SHOWN = 4
"""Pictures of each kind."""

_JPEG_QUALITY = 85
_LARGEST_SIDE_PX = 640


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One frame of the page."""

    svg: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures of one kind."""

    title: str
    note: str
    pictures: tuple[Picture, ...]


def galleries(evidence: DetectorEvidence) -> tuple[Gallery, ...]:
    """Worst misses, worst false boxes and typical hits of one detector group.

    Where healthy arteries were judged, the worst false boxes on those as well.
    """
    name = f"{evidence.group.view}, variant {evidence.group.variant}"
    on_healthy = Gallery(
        title=f"{name}: worst false boxes on healthy arteries",
        note="Boxes of the highest score on frames of cines that a reader found free of lesions.",
        pictures=tuple(_pictures(evidence, _false_boxes(evidence.matches_on_healthy))),
    )
    return (
        Gallery(
            title=f"{name}: worst misses",
            note="Lesions that no box above score 0.5 found, those first whose best overlap with "
            "any box of any score is least; large ones before small ones.",
            pictures=tuple(_pictures(evidence, _misses(evidence))),
        ),
        Gallery(
            title=f"{name}: worst false boxes",
            note="Boxes of the highest score that overlap no lesion by more than 0.2.",
            pictures=tuple(_pictures(evidence, _false_boxes(evidence.matches))),
        ),
        Gallery(
            title=f"{name}: typical hits",
            note="Correct boxes whose score lies nearest the median score of correct boxes.",
            pictures=tuple(_pictures(evidence, _hits(evidence))),
        ),
        *([on_healthy] if evidence.healthy_patients else []),
    )


Choice = tuple[int, str]
"""An image id, and what is to be seen there."""


def _misses(evidence: DetectorEvidence) -> Iterator[Choice]:
    matches = evidence.matches
    kept = matches.kept(score_above=PAPER.score, max_detections=PAPER.max_detections)
    found = set(zip(matches.image_id[kept], matches.truth_index[kept], strict=True))
    missed = []
    for image_id, lesions in evidence.truth.items():
        boxes, _ = evidence.predictions.get(image_id, (np.empty((0, 4)), np.empty(0)))
        best = box_iou(lesions, boxes).max(axis=1, initial=0.0)
        areas = (lesions[:, 2:] - lesions[:, :2]).prod(axis=1)
        missed += [
            (best[i], -areas[i], image_id)
            for i in range(len(lesions))
            if (image_id, i) not in found
        ]
    for overlap, _, image_id in sorted(missed):
        yield image_id, f"best overlap of any box: IoU {overlap:.2f}"


def _false_boxes(matches: Matches) -> Iterator[Choice]:
    for i in np.argsort(-matches.score, kind="stable"):
        if not matches.is_true_positive[i] and matches.score[i] > PAPER.score:
            yield int(matches.image_id[i]), f"false box at score {matches.score[i]:.2f}"


def _hits(evidence: DetectorEvidence) -> Iterator[Choice]:
    matches = evidence.matches
    right = np.flatnonzero(matches.is_true_positive & (matches.score > PAPER.score))
    if not len(right):
        return
    distance = np.abs(matches.score[right] - np.median(matches.score[right]))
    for i in right[np.argsort(distance, kind="stable")]:
        yield int(matches.image_id[i]), f"found at score {matches.score[i]:.2f}"


def _pictures(evidence: DetectorEvidence, choices: Iterable[Choice]) -> Iterator[Picture]:
    """The first pictures of different sequences."""
    shown: set[str] = set()
    for image_id, why in choices:
        sequence_id, frame_index = evidence.frames.frame(image_id)
        if sequence_id in shown:
            continue
        shown.add(sequence_id)
        boxes, scores = evidence.predictions.get(image_id, (np.empty((0, 4)), np.empty(0)))
        visible = np.flatnonzero(scores > PAPER.score)[: PAPER.max_detections]
        frame = evidence.frames.cohort.cine_8bit(sequence_id)[frame_index]
        lesions = evidence.truth.get(image_id, np.empty((0, 4)))
        alt = (
            f"Frame {frame_index} of sequence {sequence_id}: {len(lesions)} lesions, "
            f"{len(visible)} boxes above score 0.5; {why}."
        )
        marks = _truth_marks(lesions, max(frame.shape))
        marks += _prediction_marks(boxes[visible], scores[visible], max(frame.shape))
        yield Picture(
            svg=framed(frame, marks, alt), caption=f"{sequence_id}, frame {frame_index}: {why}"
        )
        if len(shown) == SHOWN:
            return


def framed(frame: NDArray[np.uint8], marks: str, alt: str) -> str:
    """A frame (uint8[H, W], or [H, W, 3] in OpenCV's order of colours) under SVG marks."""
    height, width = frame.shape[:2]
    return (
        f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {width} {height}">'
        f'<image width="{width}" height="{height}" href="{_jpeg(frame)}"/>{marks}</svg>'
    )


def _truth_marks(boxes_xyxy: FloatArray, side_px: int) -> str:
    return "".join(_rectangle(box, "truth", side_px) for box in boxes_xyxy)


def _prediction_marks(boxes_xyxy: FloatArray, scores: FloatArray, side_px: int) -> str:
    marks = ""
    for box, score in zip(boxes_xyxy, scores, strict=True):
        size = side_px / 19
        # Above the box, or inside it where it touches the upper edge.
        y = box[1] - size / 4 if box[1] > 1.3 * size else box[1] + size
        marks += _rectangle(box, "found", side_px)
        marks += (
            f'<text class="score" x="{box[0]:.1f}" y="{y:.1f}" font-size="{size:.1f}" '
            f'stroke-width="{side_px / 220:.1f}">{score:.2f}</text>'
        )
    return marks


def _rectangle(box_xyxy: FloatArray, kind: str, side_px: int) -> str:
    x1, y1, x2, y2 = (float(v) for v in box_xyxy)
    return (
        f'<rect class="{kind}" x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" '
        f'height="{y2 - y1:.1f}" stroke-width="{side_px / 170:.2f}"/>'
    )


def _jpeg(frame: NDArray[np.uint8]) -> str:
    """A frame as a data address, no larger than a page needs."""
    shrink = _LARGEST_SIDE_PX / max(frame.shape[:2])
    if shrink < 1:
        size = (round(frame.shape[1] * shrink), round(frame.shape[0] * shrink))
        picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    else:
        picture = frame
    done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
