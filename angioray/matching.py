"""Which predicted box found which lesion: matching per frame, apart from any aggregation."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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

_LARGEST_AREA = 1e12
_CATEGORY_ID = 1


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


def match_frames(
    truth: Truth,
    predictions: Predictions,
    image_ids: Iterable[int],
    *,
    iou_threshold: float = 0.2,
    max_detections: int = 5,
) -> Matches:
    """Match detections to lesions in each frame by pycocotools' rule, greedily by falling score.

    A detection takes the free lesion that it overlaps most, if IoU > ``iou_threshold``: strictly,
    as the paper says (section 4.2), where COCO itself accepts equality.

    Args:
        truth: lesions by frame; a frame without an entry has none.
        predictions: boxes and scores by frame; those of frames not evaluated are ignored.
        image_ids: the frames to evaluate.
        iou_threshold: 0 to 1.
        max_detections: boxes of highest score that are kept per frame.

    Raises:
        ValueError: ``image_ids`` repeats a frame.
    """
    ids = np.sort(np.asarray(list(image_ids), dtype=np.int64))
    if (repeated := ids[1:][np.diff(ids) == 0]).size:
        raise ValueError(
            f"Frame {repeated[0]} is to be evaluated more than once; give every image id once."
        )
    counts = np.array([len(truth.get(int(i), ())) for i in ids], dtype=np.int64)
    frames = _evaluate(truth, predictions, ids, iou_threshold, max_detections)
    first_truth_id = dict(zip(ids.tolist(), (np.cumsum(counts) - counts + 1).tolist(), strict=True))
    rows = [
        (frame["image_id"], score, rank, truth_id - first_truth_id[frame["image_id"]], truth_id > 0)
        for frame in frames
        for rank, (score, truth_id) in enumerate(
            zip(frame["dtScores"], frame["dtMatches"][0].astype(int), strict=True)
        )
    ]
    columns = [np.array(column) for column in zip(*rows, strict=True)] or [np.empty(0)] * 5
    image_id, score, rank, truth_index, found = columns
    return Matches(
        image_id=image_id.astype(np.int64),
        score=score.astype(np.float64),
        rank=rank.astype(np.int64),
        is_true_positive=found.astype(bool),
        truth_index=np.where(found, truth_index, -1).astype(np.int64),
        frame_image_id=ids,
        frame_truths=counts,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
    )


def _evaluate(
    truth: Truth,
    predictions: Predictions,
    ids: IntArray,
    iou_threshold: float,
    max_detections: int,
) -> list[dict[str, Any]]:
    """pycocotools' own result per frame that has lesions or detections.

    Truth ids count up from 1 in the order of ``ids``: COCOeval takes a match with id 0 for none.
    ``summarize()`` is wired to other thresholds and is never called.
    """
    # Imported here: training must be importable where pycocotools is not installed.
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    wanted = ids.tolist()
    truths = [(i, box, {"iscrowd": 0}) for i in wanted for box in truth.get(i, ())]
    found = [
        (i, box, {"score": float(score)})
        for i in wanted
        if i in predictions
        for box, score in zip(*predictions[i], strict=True)
    ]
    if not truths and not found:
        return []
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its timings
        evaluation = COCOeval(iouType="bbox")
        evaluation.cocoGt = _coco(COCO(), wanted, truths)
        evaluation.cocoDt = _coco(COCO(), wanted, found)
        evaluation.params.imgIds = wanted
        evaluation.params.catIds = [_CATEGORY_ID]
        evaluation.params.iouThrs = np.array([np.nextafter(iou_threshold, 1)])
        evaluation.params.maxDets = [max_detections]
        evaluation.params.areaRng = [[0, _LARGEST_AREA]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
    return [frame for frame in evaluation.evalImgs if frame is not None]


def _coco(coco: Any, ids: list[int], rows: list[tuple[int, FloatArray, dict[str, Any]]]) -> Any:
    """Fill a COCO object in memory, with annotation ids from 1 in the order given."""
    boxes = np.array([box for _, box, _ in rows], dtype=np.float64).reshape(-1, 4)
    sizes = boxes[:, 2:] - boxes[:, :2]
    coco.dataset = {
        "info": {},
        "images": [{"id": i} for i in ids],
        "categories": [{"id": _CATEGORY_ID, "name": "stenosis"}],
        "annotations": [
            {
                "id": number,
                "image_id": image_id,
                "category_id": _CATEGORY_ID,
                "bbox": xywh,
                "area": xywh[2] * xywh[3],
                **more,
            }
            for number, ((image_id, _, more), xywh) in enumerate(
                zip(rows, np.hstack([boxes[:, :2], sizes]).tolist(), strict=True), start=1
            )
        ],
    }
    coco.createIndex()
    return coco
