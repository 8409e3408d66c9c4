"""Which predicted box found which lesion: matching per frame, apart from any aggregation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]

Truth = Mapping[int, FloatArray]
"""Boxes of each frame that has any: image id to float[G, 4], xyxy in stored-frame pixels."""

Predictions = Mapping[int, tuple[FloatArray, FloatArray]]
"""Image id to boxes (float[P, 4], xyxy in stored-frame pixels) and scores (float[P])."""

_NO_BOXES = np.empty((0, 4))
_NO_SCORES = np.empty(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Matches:
    """Every kept detection of every evaluated frame, and the lesion that it found.

    D detections, ordered by frame and within a frame by falling score; N frames, ordered by id.
    """

    image_id: IntArray
    """int[D]: the frame of each detection."""
    score: FloatArray
    """float[D]."""
    rank: IntArray
    """int[D]: 0 for the highest score of its frame."""
    is_true_positive: BoolArray
    """bool[D]."""
    truth_index: IntArray
    """int[D]: row of the found box in the frame's truth; -1 for a false positive."""
    frame_image_id: IntArray
    """int[N]: every evaluated frame, those without lesions or detections included."""
    frame_truths: IntArray
    """int[N]: lesions in each frame."""
    iou_threshold: float
    max_detections: int

    @property
    def frame_position(self) -> IntArray:
        """int[D]: where each detection's frame stands in ``frame_image_id``."""
        position: IntArray = np.searchsorted(self.frame_image_id, self.image_id)
        return position

    def kept(self, *, score_above: float, max_detections: int) -> BoolArray:
        """bool[D]: the detections that remain under a stricter score or number of boxes.

        Matching is greedy by score, so what a detection finds depends only on those of higher
        score in its frame: a threshold on score or rank keeps a prefix of each frame, and the
        prefix is matched exactly as if it had been matched alone. One matching therefore serves
        every score threshold and every maximum up to the one it was made with.
        """
        assert max_detections <= self.max_detections
        return (self.score > score_above) & (self.rank < max_detections)

    def best(self, max_detections: int) -> Matches:
        """The same with fewer boxes per frame, those of highest score."""
        if max_detections >= self.max_detections:
            return self
        first = self.rank < max_detections
        columns = ("image_id", "score", "rank", "is_true_positive", "truth_index")
        return replace(
            self,
            max_detections=max_detections,
            **{name: getattr(self, name)[first] for name in columns},
        )


def match_frames(
    truth: Truth,
    predictions: Predictions,
    image_ids: Iterable[int],
    *,
    iou_threshold: float = 0.2,
    max_detections: int = 5,
) -> Matches:
    """Match detections to lesions in each frame as pycocotools does, greedily by falling score.

    A detection takes the free lesion that it overlaps most, if IoU > ``iou_threshold``: strictly,
    as the paper says (section 4.2), where COCO itself accepts equality. Of equal scores the one
    that was listed first comes first; of equal overlaps the lesion that was listed last is taken.
    A lesion is found once; further boxes on it are false.

    Args:
        truth: lesions by frame; a frame without an entry has none.
        predictions: boxes and scores by frame; those of frames not evaluated are ignored.
        image_ids: the frames to evaluate.
        iou_threshold: 0 to 1.
        max_detections: boxes of highest score that are kept per frame.

    Raises:
        ValueError: ``image_ids`` repeats a frame.
    """
    (matches,) = match_at_each(
        truth, predictions, image_ids, iou_thresholds=[iou_threshold], max_detections=max_detections
    )
    return matches


def match_at_each(
    truth: Truth,
    predictions: Predictions,
    image_ids: Iterable[int],
    *,
    iou_thresholds: Sequence[float],
    max_detections: int = 5,
) -> list[Matches]:
    """:func:`match_frames` at several IoU thresholds, overlaps computed once for all of them."""
    ids = np.sort(np.asarray(list(image_ids), dtype=np.int64))
    if (repeated := ids[1:][np.diff(ids) == 0]).size:
        raise ValueError(
            f"Frame {repeated[0]} is to be evaluated more than once; give every image id once."
        )
    lesions, truths = _padded([truth.get(i, _NO_BOXES) for i in ids.tolist()])
    best = [
        _best(*predictions.get(i, (_NO_BOXES, _NO_SCORES)), max_detections) for i in ids.tolist()
    ]
    boxes, kept = _padded([found for found, _ in best])
    real = np.arange(lesions.shape[1]) < truths[:, None]
    overlaps = np.where(real[:, None], iou_matrix(boxes, lesions), 0.0)
    taken = _take(overlaps, np.asarray(iou_thresholds, dtype=float))
    listed = np.arange(boxes.shape[1]) < kept[:, None]
    frame, rank = np.nonzero(listed)
    return [
        Matches(
            image_id=ids[frame],
            score=np.concatenate([_NO_SCORES, *(scores for _, scores in best)]),
            rank=rank,
            is_true_positive=found >= 0,
            truth_index=found,
            frame_image_id=ids,
            frame_truths=truths,
            iou_threshold=float(iou_threshold),
            max_detections=max_detections,
        )
        for iou_threshold, found in zip(iou_thresholds, taken[:, listed], strict=True)
    ]


def iou_matrix(first_xyxy: FloatArray, second_xyxy: FloatArray) -> FloatArray:
    """IoU of every pair (float[..., M, N]) of two sets of boxes, float[..., M or N, 4].

    Leading dimensions are those of a batch. Boxes without area overlap nothing.
    """
    low = np.maximum(first_xyxy[..., :, None, :2], second_xyxy[..., None, :, :2])
    high = np.minimum(first_xyxy[..., :, None, 2:], second_xyxy[..., None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    first, second = ((b[..., 2:] - b[..., :2]).prod(axis=-1) for b in (first_xyxy, second_xyxy))
    union = first[..., :, None] + second[..., None, :] - shared
    overlap: FloatArray = shared / np.maximum(union, np.finfo(float).tiny)
    return overlap


def _take(overlaps: FloatArray, thresholds: FloatArray) -> IntArray:
    """What each box takes (int[T, N, D], -1 for nothing) at each of T thresholds.

    All frames and thresholds go through the ranks together: the best box of every frame chooses
    first, then the second of every frame among the lesions that are left.

    Args:
        overlaps: float[N, D, G], boxes by rank.
        thresholds: float[T].
    """
    N, D, G = overlaps.shape
    taken = np.full((len(thresholds), N, D), -1, dtype=np.int64)
    if G == 0:
        return taken
    free = np.ones((len(thresholds), N, G), dtype=bool)
    for rank in range(D):
        overlap = overlaps[:, rank]
        possible = np.where(free & (overlap > thresholds[:, None, None]), overlap, -1.0)
        last_best = G - 1 - possible[..., ::-1].argmax(axis=-1)
        found = possible.max(axis=-1) > 0
        taken[..., rank] = np.where(found, last_best, -1)
        threshold, frame = np.nonzero(found)
        free[threshold, frame, last_best[found]] = False
    return taken


def _best(boxes_xyxy: FloatArray, scores: FloatArray, most: int) -> tuple[FloatArray, FloatArray]:
    """A frame's boxes of highest score, best first; equals in the order given."""
    assert len(boxes_xyxy) == len(scores)
    order = np.argsort(-scores, kind="stable")[:most]
    return boxes_xyxy[order], scores[order]


def _padded(frames: Sequence[FloatArray]) -> tuple[FloatArray, IntArray]:
    """Boxes of N frames as float64[N, M, 4], filled up with zeros, and how many are real."""
    counts = np.array([len(boxes) for boxes in frames], dtype=np.int64)
    padded = np.zeros((len(frames), int(counts.max(initial=0)), 4))
    padded[np.arange(padded.shape[1]) < counts[:, None]] = np.concatenate([_NO_BOXES, *frames])
    return padded, counts
