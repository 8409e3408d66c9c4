"""Precision-recall and FROC curves of folds, at common points so that they form bands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from angioray.evaluation.detection import PAPER
from angioray.evaluation.matching import FloatArray, Matches

_FEWEST_FALSE, _MOST_FALSE = 0.1, 8.0
"""False boxes per frame between which FROC curves are drawn, on a logarithmic scale."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """A curve over folds: its mean, and the lowest and highest fold, at common points."""

    x: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray


def precision_recall(folds: Iterable[Matches]) -> Band | None:
    """Interpolated precision against recall, as far as every fold with lesions reaches.

    Returns:
        None if no fold has both lesions and detections.
    """
    recall = np.linspace(0, 1, 201)
    curves = []
    for matches in folds:
        found, kept, lesions = _cumulative(matches)
        if not lesions or not len(kept):
            continue
        best = np.maximum.accumulate((found / kept)[::-1])[::-1]
        place = np.searchsorted(found / lesions, recall, side="left")
        curves.append(np.append(best, np.nan)[np.minimum(place, len(best))])
    if not curves:
        return None
    reached = ~np.isnan(curves).any(axis=0)
    return _band(recall[reached], np.array(curves)[:, reached])


def free_response(folds: Iterable[Matches]) -> Band | None:
    """FROC: recall against false boxes per frame, each fold flat beyond its last detection.

    Returns:
        None if no fold has lesions.
    """
    folds = [matches for matches in folds if matches.frame_truths.sum()]
    if not folds:
        return None
    false_per_frame = np.geomspace(_FEWEST_FALSE, _MOST_FALSE, 251)
    curves = []
    for matches in folds:
        found, kept, lesions = _cumulative(matches)
        false = (kept - found) / len(matches.frame_image_id)
        place = np.searchsorted(false, false_per_frame + 1e-9, side="right")
        curves.append(np.append(0.0, found / lesions)[place])
    return _band(false_per_frame, np.array(curves))


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Where the paper's score threshold lies on the pooled curves."""

    recall: float
    precision: float
    false_per_frame: float


def operating_point(matches: Matches) -> OperatingPoint | None:
    """Recall, precision and false boxes per frame at score > 0.5; None without such a box."""
    kept = matches.kept(score_above=PAPER.score, max_detections=PAPER.max_detections)
    lesions = int(matches.frame_truths.sum())
    if not kept.any() or not lesions:
        return None
    found = int((kept & matches.is_true_positive).sum())
    return OperatingPoint(
        recall=found / lesions,
        precision=found / int(kept.sum()),
        false_per_frame=(int(kept.sum()) - found) / len(matches.frame_image_id),
    )


def _cumulative(matches: Matches) -> tuple[FloatArray, FloatArray, int]:
    """Found lesions and kept boxes as the score falls (float[D] each), and all lesions.

    Boxes of equal score come together: no threshold can tell them apart.
    """
    order = np.argsort(-matches.score, kind="stable")
    score = matches.score[order]
    last_of_score = np.append(np.diff(score) != 0, True)[: len(score)]
    found = np.cumsum(matches.is_true_positive[order])[last_of_score].astype(float)
    kept = np.arange(1, len(score) + 1)[last_of_score].astype(float)
    return found, kept, int(matches.frame_truths.sum())


def _band(x: FloatArray, curves: FloatArray) -> Band:
    return Band(x=x, mean=curves.mean(axis=0), low=curves.min(axis=0), high=curves.max(axis=0))
