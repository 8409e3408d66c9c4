"""Metrics as pure reductions of matches and probabilities.

Names carry their thresholds (``recall@IoU0.20/score0.50/max1``). A value that is undefined, such
as the precision of no detection, is None and never enters a mean. Definitions follow the paper's
section 4 and Tables 2 and 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from angioray.fixed_boxes import best_fixed_boxes as best_fixed_boxes
from angioray.matching import (
    BoolArray,
    FloatArray,
    IntArray,
    Matches,
    Predictions,
    Truth,
    match_frames,
)

SMALLEST_PROBABILITY = 1e-7
_RECALL_POINTS = np.linspace(0.0, 1.0, 101)

Metrics = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What counts as a correct detection (paper, section 4.2)."""

    iou: float = 0.2
    """A detection is right if its IoU with a lesion is greater than this, 0 to 1."""
    score: float = 0.5
    """Detections count if their score is greater than this, 0 to 1."""
    max_detections: int = 5
    """Boxes kept per frame, those of highest score."""

    def name(self, measure: str, *, score: float | None = None, boxes: int | None = None) -> str:
        """A metric's name, such as ``recall@IoU0.20/score0.50/max5``."""
        score = self.score if score is None else score
        ending = "" if boxes is None else f"/max{boxes}"
        return f"{measure}@IoU{self.iou:.2f}/score{score:.2f}{ending}"


PAPER = Thresholds()


@dataclass(frozen=True, kw_only=True, eq=False)
class Ratio:
    """A metric that is one count over another, kept per frame so that it can be resampled."""

    numerator: FloatArray
    """float[N], one per evaluated frame."""
    denominator: FloatArray
    """float[N]."""

    @property
    def value(self) -> float | None:
        """The ratio over all frames; None where there is nothing to divide by."""
        below = float(self.denominator.sum())
        return float(self.numerator.sum()) / below if below > 0 else None


def detector_metrics(
    truth: Truth,
    predictions: Predictions,
    image_ids: Iterable[int],
    sequence_of_image: Mapping[int, str],
    *,
    baseline: Predictions | None = None,
    thresholds: Thresholds = PAPER,
) -> Metrics:
    """The paper's Table 3 measures, average precision, and the baseline of fixed boxes.

    Args:
        truth: lesions by frame, xyxy in stored-frame pixels.
        predictions: boxes and scores by frame, likewise; pass them before any score threshold.
        image_ids: the evaluated frames.
        sequence_of_image: the sequence that each evaluated frame belongs to.
        baseline: the fixed boxes as predictions, by :func:`fixed_predictions`; None leaves the
            baseline's metric out.
        thresholds: IoU, score and number of boxes; the paper's by default.

    Returns:
        ``recall`` and ``precision`` at max 1 and max 5, ``at_least_one``, ``recall`` without a
        score threshold, ``AP@IoU0.20``, ``AP@IoU0.50`` and ``baseline/recall``; None where
        undefined.
    """
    ids = list(image_ids)
    matches = match_with(truth, predictions, ids, thresholds)
    fixed = None if baseline is None else match_with(truth, baseline, ids, thresholds)
    ratios = detector_ratios(matches, sequence_of_image, baseline=fixed, thresholds=thresholds)
    metrics: Metrics = {name: ratio.value for name, ratio in ratios.items()}
    metrics[ap_name(thresholds.iou)] = average_precision(matches)
    if ap_name(0.5) not in metrics:
        strict = match_frames(
            truth, predictions, ids, iou_threshold=0.5, max_detections=thresholds.max_detections
        )
        metrics[ap_name(0.5)] = average_precision(strict)
    return metrics


def match_with(
    truth: Truth, predictions: Predictions, image_ids: Iterable[int], thresholds: Thresholds
) -> Matches:
    """:func:`angioray.matching.match_frames` under these thresholds; scores are not cut yet."""
    return match_frames(
        truth,
        predictions,
        image_ids,
        iou_threshold=thresholds.iou,
        max_detections=thresholds.max_detections,
    )


def ap_name(iou: float) -> str:
    """The name of average precision at one IoU."""
    return f"AP@IoU{iou:.2f}"


def detector_ratios(
    matches: Matches,
    sequence_of_image: Mapping[int, str],
    *,
    baseline: Matches | None = None,
    thresholds: Thresholds = PAPER,
) -> dict[str, Ratio]:
    """Every detector metric that is a ratio of counts, by name."""
    most = thresholds.max_detections
    truths = matches.frame_truths.astype(float)
    ratios = {}
    for boxes in sorted({1, most}):
        kept = matches.kept(score_above=thresholds.score, max_detections=boxes)
        found = _per_frame(matches, kept & matches.is_true_positive)
        ratios[thresholds.name("recall", boxes=boxes)] = Ratio(numerator=found, denominator=truths)
        ratios[thresholds.name("precision", boxes=boxes)] = Ratio(
            numerator=found, denominator=_per_frame(matches, kept)
        )
    ratios[thresholds.name("at_least_one")] = _at_least_one(matches, sequence_of_image, thresholds)
    everything = thresholds.name("recall", score=0, boxes=most)
    ratios[everything] = _recall_of_all(matches)
    if baseline is not None:
        ratios[f"baseline/{everything}"] = _recall_of_all(baseline)
    return ratios


def _per_frame(matches: Matches, chosen: BoolArray) -> FloatArray:
    """How many of the chosen detections each frame has (float[N])."""
    frames = len(matches.frame_image_id)
    return np.bincount(matches.frame_position[chosen], minlength=frames).astype(float)


def _recall_of_all(matches: Matches) -> Ratio:
    kept = matches.kept(score_above=0.0, max_detections=matches.max_detections)
    found = _per_frame(matches, kept & matches.is_true_positive)
    return Ratio(numerator=found, denominator=matches.frame_truths.astype(float))


def _at_least_one(
    matches: Matches, sequence_of_image: Mapping[int, str], thresholds: Thresholds
) -> Ratio:
    """Sequences with a lesion where at least one box is right, counted at their first frame."""
    kept = matches.kept(score_above=thresholds.score, max_detections=thresholds.max_detections)
    found = _per_frame(matches, kept & matches.is_true_positive) > 0
    names = np.array([sequence_of_image[int(i)] for i in matches.frame_image_id], dtype=str)
    _, first, sequence = np.unique(names, return_index=True, return_inverse=True)
    with_lesion, with_hit = np.zeros((2, len(names)))
    with_lesion[first] = np.bincount(sequence, matches.frame_truths > 0) > 0
    with_hit[first] = np.bincount(sequence, found) > 0
    return Ratio(numerator=with_hit, denominator=with_lesion)


def average_precision(matches: Matches, weights: FloatArray | None = None) -> float | None:
    """COCO's 101-point average precision: the mean of the best precision at recall 0 to 1.

    Args:
        matches: all detections, before any score threshold.
        weights: float[N], how often each frame counts (for resampling); once if None.

    Returns:
        None where the frames hold no lesion.
    """
    frame_weights = np.ones(len(matches.frame_image_id)) if weights is None else weights
    lesions = float((frame_weights * matches.frame_truths).sum())
    if lesions <= 0:
        return None
    order = np.argsort(-matches.score, kind="stable")
    weight = frame_weights[matches.frame_position][order]
    found = np.cumsum(weight * matches.is_true_positive[order])
    kept = np.cumsum(weight)
    recall = found / lesions
    precision = found / np.maximum(kept, np.finfo(float).tiny)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    position = np.searchsorted(recall, _RECALL_POINTS, side="left")
    return float(np.append(best, 0.0)[np.minimum(position, len(best))].mean())


def fixed_predictions(
    boxes_xyxy: FloatArray, image_ids: Iterable[int]
) -> dict[int, tuple[FloatArray, FloatArray]]:
    """The same boxes in every frame, in falling order of score, to be scored as a detector is.

    Args:
        boxes_xyxy: float[K, 4] of :func:`best_fixed_boxes`, best first.
        image_ids: the frames.
    """
    scores = np.arange(len(boxes_xyxy), 0, -1) / max(len(boxes_xyxy), 1)
    return {image_id: (boxes_xyxy, scores) for image_id in image_ids}


def view_metrics(
    labels: Sequence[str], probabilities: FloatArray, classes: Sequence[str]
) -> Metrics:
    """Accuracy, macro F1 and cross entropy of a classifier (paper, Table 2).

    Args:
        labels: the true class of each frame.
        probabilities: float[N, K], rows sum to 1.
        classes: the K classes in the order of the columns.

    Returns:
        ``accuracy``, ``f1_macro``, ``cross_entropy`` (natural logarithm, probabilities clipped at
        1e-7); None without frames.

    Raises:
        ValueError: a label is not among the classes.
    """
    confusion = confusion_matrix(labels, probabilities, classes)
    losses = cross_entropies(labels, probabilities, classes)
    f1 = float(f1_macro(confusion[None])[0])
    return {
        "accuracy": float(np.trace(confusion) / confusion.sum()) if len(labels) else None,
        "f1_macro": f1 if len(labels) else None,
        "cross_entropy": float(losses.mean()) if len(labels) else None,
    }


def confusion_matrix(
    labels: Sequence[str], probabilities: FloatArray, classes: Sequence[str]
) -> NDArray[np.int64]:
    """int[K, K]: frames by true class (row) and most probable class (column)."""
    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    predicted = probabilities.reshape(-1, len(classes)).argmax(axis=1)
    np.add.at(matrix, (class_indices(labels, classes), predicted), 1)
    return matrix


def cross_entropies(
    labels: Sequence[str], probabilities: FloatArray, classes: Sequence[str]
) -> FloatArray:
    """float[N]: minus the natural logarithm of each true class's probability, clipped at 1e-7."""
    rows = np.arange(len(labels))
    of_truth = probabilities.reshape(-1, len(classes))[rows, class_indices(labels, classes)]
    losses: FloatArray = -np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1.0))
    return losses


def f1_macro(confusions: NDArray[np.number]) -> FloatArray:
    """float[R]: the mean F1 over classes of each matrix in ``confusions`` (number[R, K, K]).

    A class that is neither true nor predicted anywhere has no F1 and does not enter the mean;
    a matrix without any frame gives NaN.
    """
    right = np.diagonal(confusions, axis1=1, axis2=2).astype(float)
    total = (confusions.sum(axis=1) + confusions.sum(axis=2)).astype(float)
    with np.errstate(invalid="ignore"):
        means: FloatArray = (2 * right / np.where(total > 0, total, 1)).sum(axis=1) / (
            total > 0
        ).sum(axis=1)
    return means


def class_indices(labels: Sequence[str], classes: Sequence[str]) -> IntArray:
    """int[N]: the column of each label.

    Raises:
        ValueError: a label is not among the classes.
    """
    column = {name: index for index, name in enumerate(classes)}
    if unknown := sorted(set(labels) - set(column)):
        raise ValueError(
            f"The label {unknown[0]!r} is not among the classes {', '.join(classes)}; "
            "map it to one of them or leave its sequences out."
        )
    return np.array([column[label] for label in labels], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """A metric over the folds of a cross-validation."""

    mean: float | None
    """Over the folds where the metric is defined; None if it is in none."""
    std: float | None
    """Of the sample (n - 1 in the denominator); None with fewer than two values."""


def aggregate(values: Iterable[float | None]) -> Aggregate:
    """Mean and standard deviation over folds, undefined ones left out."""
    defined = np.array([value for value in values if value is not None], dtype=float)
    return Aggregate(
        mean=float(defined.mean()) if len(defined) else None,
        std=float(defined.std(ddof=1)) if len(defined) > 1 else None,
    )
