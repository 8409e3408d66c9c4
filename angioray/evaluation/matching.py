"""Matches of predicted boxes with lesions, in each frame, by pycocotools' COCOeval."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]

Truth = Mapping[int, FloatArray]
"""Boxes of each frame that has any: image id to float[G, 4], xyxy in stored-frame pixels."""

Detections = tuple[FloatArray, FloatArray]
"""Boxes of a frame (float[D, 4], xyxy in stored-frame pixels) and their scores (float[D])."""

Predictions = Mapping[int, Detections]
"""Detections by image id."""

_Rows = list[tuple[int, list[float], dict[str, float]]]
"""Boxes as image id, xywh, and what else the object of a box holds."""

_NO_BOXES = np.empty((0, 4))
_NO_SCORES = np.empty(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Matches:
    """Every detection of every evaluated frame that counts, and the lesion that it found.

    D detections, ordered by frame and within a frame by falling score; N frames, ordered by id.
    """

    image_id: IntArray
    """int[D]: the frame of each detection."""
    score: FloatArray
    """float[D]."""
    rank: IntArray
    """int[D]: 0 for the highest score of its frame; boxes in ignored areas leave gaps."""
    is_true_positive: BoolArray
    """bool[D]."""
    truth_index: IntArray
    """int[D]: row of the found box in the frame's truth; -1 for a false positive."""
    frame_image_id: IntArray
    """int[N]: every evaluated frame, those without lesions or detections included."""
    frame_truths: IntArray
    """int[N]: lesions in each frame."""
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
    iou_above: float = 0.2,
    max_detections: int = 5,
) -> Matches:
    """Match at one IoU, which must be exceeded as the paper says (section 4.2).

    COCO itself accepts equality, so the threshold is the next number above.

    Args:
        truth: lesions by frame; a frame without an entry has none.
        predictions: boxes and scores by frame; those of frames not evaluated are ignored.
        image_ids: the frames to evaluate.
        iou_above: 0 to 1.
        max_detections: boxes of highest score that are kept per frame.

    Raises:
        ValueError: ``image_ids`` repeats a frame.
    """
    (matches,) = match_at_each(
        truth,
        predictions,
        image_ids,
        iou_thresholds=[just_above(iou_above)],
        max_detections=max_detections,
    )
    return matches


def just_above(iou: float) -> float:
    """The threshold of those that accept equality, for those that do not."""
    return float(np.nextafter(iou, 1))


def match_at_each(
    truth: Truth,
    predictions: Predictions,
    image_ids: Iterable[int],
    *,
    iou_thresholds: Sequence[float],
    max_detections: int,
    ignored: Truth = MappingProxyType({}),
) -> list[Matches]:
    """Match at several IoU thresholds as COCOeval does, overlaps computed once for all of them.

    Detections choose by falling score: each takes the free lesion that it overlaps most, if their
    IoU reaches the threshold. Of equal scores the one that was listed first comes first; of equal
    overlaps the lesion that was listed last is taken. A lesion is found once; further boxes on it
    are false. A box that finds no lesion but lies in an ignored area, by that share of itself, is
    neither right nor false (COCO's ``iscrowd``): it is not among the matches.

    Args:
        truth: lesions by frame; a frame without an entry has none.
        predictions: boxes and scores by frame; those of frames not evaluated are ignored.
        image_ids: the frames to evaluate.
        iou_thresholds: each 0 to 1, in rising order.
        max_detections: boxes of highest score that are kept per frame.
        ignored: areas to ignore by frame, as lesions are given.

    Raises:
        ValueError: ``image_ids`` repeats a frame.
    """
    ids = np.sort(np.asarray(list(image_ids), dtype=np.int64))
    if (repeated := ids[1:][np.diff(ids) == 0]).size:
        raise ValueError(
            f"Frame {repeated[0]} is to be evaluated more than once; give every image id once."
        )
    truths = np.array([len(truth.get(i, ())) for i in ids.tolist()], dtype=np.int64)
    frames = _evaluated(truth, ignored, predictions, ids.tolist(), iou_thresholds, max_detections)
    scores = [np.asarray(frame["dtScores"]) if frame else _NO_SCORES for frame in frames]
    counts = np.array([len(each) for each in scores], dtype=np.int64)
    frame = np.repeat(np.arange(len(ids)), counts)
    # Lesions are numbered from 1 over all frames in the order of their ids; 0 is no match.
    nothing = np.empty((len(iou_thresholds), 0))
    found = np.hstack([nothing, *(frame["dtMatches"] for frame in frames if frame)]).astype(int)
    first = np.cumsum(truths) - truths + 1
    truth_index = np.where(found > 0, found - first[frame], -1)
    score = np.concatenate([_NO_SCORES, *scores])
    rank = np.arange(len(frame)) - (np.cumsum(counts) - counts)[frame]
    return [
        Matches(
            image_id=ids[frame[counted]],
            score=score[counted],
            rank=rank[counted],
            is_true_positive=index[counted] >= 0,
            truth_index=index[counted],
            frame_image_id=ids,
            frame_truths=truths,
            max_detections=max_detections,
        )
        # Areas to ignore are numbered after all lesions.
        for index, counted in zip(truth_index, found <= truths.sum(), strict=True)
    ]


def box_iou(first_xyxy: FloatArray, second_xyxy: FloatArray) -> FloatArray:
    """IoU of every pair of two sets of boxes (float[M, 4], float[N, 4]) as float64[M, N]."""
    from pycocotools import mask

    if not len(first_xyxy) or not len(second_xyxy):
        return np.zeros((len(first_xyxy), len(second_xyxy)))
    not_crowds = np.zeros(len(second_xyxy), dtype=np.uint8)
    overlap: FloatArray = mask.iou(_xywh(first_xyxy), _xywh(second_xyxy), not_crowds)
    return overlap


def _evaluated(
    truth: Truth,
    ignored: Truth,
    predictions: Predictions,
    ids: Sequence[int],
    iou_thresholds: Sequence[float],
    max_detections: int,
) -> list[dict[str, Any] | None]:
    """COCOeval's answer for each frame (`evalImgs`); None where it has neither lesion nor box."""
    from pycocotools.cocoeval import COCOeval

    lesions: _Rows = [
        (i, box, {"iscrowd": crowd})
        for crowd, areas in enumerate((truth, ignored))
        for i in ids
        for box in _xywh(areas.get(i, _NO_BOXES)).tolist()
    ]
    boxes: _Rows = [
        (i, box, {"score": score})
        for i in ids
        if i in predictions
        for box, score in zip(
            _xywh(predictions[i][0]).tolist(), predictions[i][1].tolist(), strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        evaluation = COCOeval(_coco(ids, lesions), _coco(ids, boxes), "bbox")
        evaluation.params.iouThrs = np.asarray(iou_thresholds, dtype=float)
        evaluation.params.maxDets = [max_detections]
        evaluation.params.areaRng = [[0, float("inf")]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
    frames: list[dict[str, Any] | None] = evaluation.evalImgs
    return frames


def _coco(ids: Sequence[int], rows: _Rows) -> Any:
    """Boxes of frames as the object that COCOeval takes."""
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [{"id": image_id} for image_id in ids],
        "categories": [{"id": 1}],
        "annotations": [
            {
                "id": number,
                "image_id": image_id,
                "category_id": 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
                **more,
            }
            for number, (image_id, box, more) in enumerate(rows, start=1)
        ],
    }
    coco.createIndex()
    return coco


def _xywh(boxes_xyxy: FloatArray) -> NDArray[np.float64]:
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    return np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
