"""The metrics of a detector: the paper's Table 3, and more.

Names carry their thresholds (``recall@IoU0.20/score0.50/max1``). A value that is undefined, such
as the precision of no detection, is None and never enters a mean. Definitions follow the paper's
section 4 and Tables 2 and 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from angioray.evaluation.average_precision import FALSE_PER_FRAME, AveragePrecision, Sensitivity
from angioray.evaluation.calibration import CalibrationError
from angioray.evaluation.matching import (
    BoolArray,
    FloatArray,
    Matches,
    Predictions,
    Truth,
    just_above,
    match_at_each,
)
from angioray.evaluation.measures import MeanOf, Measure, Metrics, Ratio, value
from angioray.evaluation.subgroups import subgroup_recalls
from angioray.extensions import registered
from preprocess.console.settings import Count, Proportion, Settings

COCO_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
LENIENT_IOU = 0.3
"""Beside COCO's: the field reports AP at this IoU for lesions as small as these."""
COCO_BOXES = 100
"""Boxes per frame at which AP is published."""


@dataclass(frozen=True, kw_only=True)
class Thresholds(Settings):
    """What counts as a correct detection (paper, section 4.2)."""

    iou: Proportion = 0.2
    """A detection is right if its IoU with a lesion is greater than this, 0 to 1."""
    score: Proportion = 0.5
    """Detections count if their score is greater than this, 0 to 1."""
    max_detections: Count = 5
    """Boxes kept per frame, those of highest score."""

    def name(self, measure: str, *, score: float | None = None, boxes: int | None = None) -> str:
        """A metric's name, such as ``recall@IoU0.20/score0.50/max5``."""
        score = self.score if score is None else score
        ending = "" if boxes is None else f"/max{boxes}"
        return f"{self.at(measure)}/score{score:.2f}{ending}"

    def at(self, measure: str) -> str:
        """The name of a metric that no score threshold enters, such as ``AP@IoU0.20``."""
        return f"{measure}@IoU{self.iou:.2f}"


PAPER = Thresholds()


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedFrames:
    """What is known of the frames that a detector is judged on."""

    sequence: Mapping[int, str]
    """The sequence of every evaluated frame, by image id."""
    truth: Truth
    """The lesions of each frame that has any, xyxy in stored-frame pixels."""
    ifr: Mapping[int, float] = field(default_factory=dict)
    """The lowest iFR of each frame's sequence, where any is known."""
    ignored: Truth = field(default_factory=dict)
    """Areas of frames in which a box is neither right nor false."""

    @property
    def image_ids(self) -> list[int]:
        """Every evaluated frame."""
        return list(self.sequence)


@dataclass(frozen=True, kw_only=True, eq=False)
class Matched:
    """Detections of judged frames, matched at every threshold that a measure asks for."""

    frames: JudgedFrames
    thresholds: Thresholds
    every: Matches
    """At the paper's IoU, at most 100 boxes per frame: FROC curves reach beyond five."""
    coco: Mapping[float, Matches]
    """At IoU 0.30, and at COCO's IoUs from 0.50 to 0.95, at most 100 boxes per frame."""
    baseline: Matches | None
    """The fixed boxes at the paper's IoU."""

    @classmethod
    def of(
        cls,
        frames: JudgedFrames,
        predictions: Predictions,
        *,
        baseline: Predictions | None = None,
        thresholds: Thresholds = PAPER,
    ) -> Matched:
        """Match detections (before any score threshold) and fixed boxes with the lesions."""
        iou = just_above(thresholds.iou)

        def matched(found: Predictions, ious: Sequence[float], boxes: int) -> list[Matches]:
            return match_at_each(
                frames.truth,
                found,
                frames.image_ids,
                iou_thresholds=ious,
                max_detections=boxes,
                ignored=frames.ignored,
            )

        ious = (LENIENT_IOU, *COCO_IOUS)
        every, *coco = matched(predictions, [iou, *ious], COCO_BOXES)
        fixed = None if baseline is None else matched(baseline, [iou], thresholds.max_detections)[0]
        return cls(
            frames=frames,
            thresholds=thresholds,
            every=every,
            coco=dict(zip(ious, coco, strict=True)),
            baseline=fixed,
        )

    @property
    def best(self) -> Matches:
        """At the paper's IoU, at most five boxes per frame."""
        return self.every.best(self.thresholds.max_detections)

    def measures(self) -> dict[str, Measure]:
        """Every measure of a detector by name, those of installed packages included.

        Such a package registers a function ``(matched) -> Measure`` under the entry point group
        ``angioray.metrics``; the entry's name is the metric's.
        """
        at = self.thresholds
        everything = at.name("recall", score=0, boxes=at.max_detections)
        measures: dict[str, Measure] = dict(self.at_score(at.score))
        measures[everything] = recall_of_all(self.best)
        if self.baseline is not None:
            measures[f"baseline/{everything}"] = recall_of_all(self.baseline)
        measures |= self._ranked()
        best = self.best
        measures[f"{at.at('ECE')}/max{at.max_detections}"] = CalibrationError(
            frame=best.frame_position, confidence=best.score, right=best.is_true_positive
        )
        kept = best.kept(score_above=at.score, max_detections=at.max_detections)
        whole = at.name("recall", boxes=at.max_detections)
        for name, ratio in subgroup_recalls(best, kept, self.frames.truth, self.frames.ifr).items():
            measures[f"{whole}/{name}"] = ratio
        for name, entry in registered("metrics").items():
            measures[name] = entry.load()(self)
        return measures

    def at_score(self, score: float, *, label: str | None = None) -> dict[str, Ratio]:
        """The paper's Table 3 and F1 at one score threshold.

        Args:
            score: boxes count if their score is greater.
            label: stands in the names for the score, such as ``score-chosen``.
        """
        at, best = self.thresholds, self.best
        whole = f"{at.at('{}')}/{label or f'score{score:.2f}'}"
        truths = best.frame_truths.astype(float)
        ratios = {}
        for boxes in sorted({1, at.max_detections}):
            kept = best.kept(score_above=score, max_detections=boxes)
            found = per_frame(best, kept & best.is_true_positive)
            said = per_frame(best, kept)
            for measure, above, below in (
                ("recall", found, truths),
                ("precision", found, said),
                ("F1", 2 * found, truths + said),
            ):
                name = f"{whole.format(measure)}/max{boxes}"
                ratios[name] = Ratio(numerator=above, denominator=below)
        kept = best.kept(score_above=score, max_detections=at.max_detections)
        ratios[whole.format("at_least_one")] = self._at_least_one(kept)
        return ratios

    def _ranked(self) -> dict[str, Measure]:
        """Average precision and FROC, which need no score threshold."""
        at = self.thresholds
        coco = {iou: AveragePrecision(matches) for iou, matches in self.coco.items()}
        measures: dict[str, Measure] = {
            at.at("AP"): AveragePrecision(self.best),
            f"{at.at('AP')}/max{COCO_BOXES}": AveragePrecision(self.every),
            ap_name(LENIENT_IOU): coco[LENIENT_IOU],
            ap_name(0.5): coco[0.5],
            f"AP@IoU0.50:0.95/max{COCO_BOXES}": MeanOf(tuple(coco[iou] for iou in COCO_IOUS)),
        }
        curve = {false: Sensitivity(self.every, false) for false in FALSE_PER_FRAME}
        for false, sensitivity in curve.items():
            measures[f"{at.at('sensitivity')}/false{false:g}"] = sensitivity
        measures[f"{at.at('sensitivity')}/mean"] = MeanOf(tuple(curve.values()))
        return measures

    def _at_least_one(self, kept: BoolArray) -> Ratio:
        """Sequences with a lesion where at least one box is right, counted at their first frame."""
        best = self.best
        found = per_frame(best, kept & best.is_true_positive) > 0
        names = np.array([self.frames.sequence[int(i)] for i in best.frame_image_id], dtype=str)
        _, first, sequence = np.unique(names, return_index=True, return_inverse=True)
        with_lesion, with_hit = np.zeros((2, len(names)))
        with_lesion[first] = np.bincount(sequence, best.frame_truths > 0) > 0
        with_hit[first] = np.bincount(sequence, found) > 0
        return Ratio(numerator=with_hit, denominator=with_lesion)


def detector_metrics(
    frames: JudgedFrames,
    predictions: Predictions,
    *,
    baseline: Predictions | None = None,
    thresholds: Thresholds = PAPER,
) -> Metrics:
    """Every metric of a detector by name; None where undefined.

    Args:
        frames: the evaluated frames and what is true of them.
        predictions: boxes and scores by frame, before any score threshold.
        baseline: the fixed boxes as predictions, by :func:`fixed_predictions`; None leaves the
            baseline's metric out.
        thresholds: IoU, score and number of boxes; the paper's by default.

    Returns:
        ``recall``, ``precision``, ``F1`` at max 1 and max 5, ``at_least_one``, ``recall`` without
        a score threshold and that of the ``baseline``, ``AP``, ``sensitivity`` (FROC), ``ECE``, and
        recall by subgroup (:data:`angioray.evaluation.subgroups.SUBGROUPS`).
    """
    matched = Matched.of(frames, predictions, baseline=baseline, thresholds=thresholds)
    count = len(frames.sequence)
    return {name: value(measure, count) for name, measure in matched.measures().items()}


def ap_name(iou: float) -> str:
    """The name of average precision at one of COCO's IoUs, or at IoU 0.30."""
    return f"AP@IoU{iou:.2f}/max{COCO_BOXES}"


def per_frame(matches: Matches, chosen: BoolArray) -> FloatArray:
    """How many of the chosen detections each frame has (float[N])."""
    frames = len(matches.frame_image_id)
    return np.bincount(matches.frame_position[chosen], minlength=frames).astype(float)


def recall_of_all(matches: Matches) -> Ratio:
    """The share of lesions that any of the boxes finds, whatever its score."""
    found = per_frame(matches, matches.is_true_positive)
    return Ratio(numerator=found, denominator=matches.frame_truths.astype(float))


def fixed_predictions(
    boxes_xyxy: FloatArray, image_ids: Iterable[int]
) -> dict[int, tuple[FloatArray, FloatArray]]:
    """The same boxes in every frame, in falling order of score, to be scored as a detector is.

    Args:
        boxes_xyxy: float[K, 4], best first (``fixed_boxes.best_fixed_boxes``).
        image_ids: the frames.
    """
    scores = np.arange(len(boxes_xyxy), 0, -1) / max(len(boxes_xyxy), 1)
    return {image_id: (boxes_xyxy, scores) for image_id in image_ids}


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
