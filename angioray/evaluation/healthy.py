"""What a detector says of arteries without a lesion, and its precision where they are judged too.

The paper judges frames of sequences with lesions alone. In use most arteries are healthy, and every
box on one is false.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from angioray.evaluation.average_precision import AveragePrecision
from angioray.evaluation.detection import PAPER, JudgedFrames, Thresholds, per_frame
from angioray.evaluation.matching import FloatArray, Predictions, just_above, match_at_each
from angioray.evaluation.measures import COUNTS, Measure, Metrics, Ratio, value
from angioray.evaluation.severity import AreaUnderRoc

ALL_FRAMES = "/all_frames"
"""Ends the names of metrics of frames with boxes and healthy ones together."""
FRAME_AUC = "AUC@frame"


def healthy_measures(
    frames: JudgedFrames,
    predictions: Predictions,
    healthy: Mapping[int, str | None],
    *,
    thresholds: Thresholds = PAPER,
) -> dict[str, Measure]:
    """The measures of a detector that healthy arteries enter, by name.

    ``healthy/false_boxes_per_frame`` and ``…_per_sequence`` count boxes on healthy frames;
    ``healthy/specificity_sequence`` and ``…_patient`` are the shares of healthy sequences, and of
    patients without a lesion, of whom no frame has a box. ``AUC@frame`` is the area under the ROC
    curve of frames with lesions against healthy ones; the score of a frame is that of its best box,
    wherever it is, and lowest without any. ``precision`` and ``AP`` of all frames are at the
    cohort's own prevalence.

    Args:
        frames: those with boxes and the healthy ones together.
        predictions: boxes and scores by frame, before any score threshold.
        healthy: the patient of each healthy frame, by image id; None where that patient has a
            lesion in this view, so that the patient as a whole is not negative.
        thresholds: IoU, score and number of boxes; the paper's by default.
    """
    at = thresholds
    (matches,) = match_at_each(
        frames.truth,
        predictions,
        frames.image_ids,
        iou_thresholds=[just_above(at.iou)],
        max_detections=at.max_detections,
        ignored=frames.ignored,
    )
    kept = matches.kept(score_above=at.score, max_detections=at.max_detections)
    said = per_frame(matches, kept)
    right = per_frame(matches, kept & matches.is_true_positive)
    ids: list[int] = matches.frame_image_id.tolist()
    is_healthy = np.array([i in healthy for i in ids], dtype=float)
    sequences = [frames.sequence[i] if i in healthy else None for i in ids]
    score = f"score{at.score:.2f}"
    boxes = f"{score}/max{at.max_detections}"
    cines = _without_a_box(sequences, said)
    best = [max(predictions[i][1], default=-np.inf) if i in predictions else -np.inf for i in ids]
    return {
        f"healthy/false_boxes_per_frame@{boxes}": Ratio(
            numerator=said * is_healthy, denominator=is_healthy, rules=COUNTS
        ),
        f"healthy/false_boxes_per_sequence@{boxes}": Ratio(
            numerator=said * is_healthy, denominator=cines.denominator, rules=COUNTS
        ),
        f"healthy/specificity_sequence@{score}": cines,
        f"healthy/specificity_patient@{score}": _without_a_box([healthy.get(i) for i in ids], said),
        FRAME_AUC: AreaUnderRoc(positive=is_healthy == 0, score=np.array(best)),
        at.name("precision", boxes=at.max_detections) + ALL_FRAMES: Ratio(
            numerator=right, denominator=said
        ),
        at.at("AP") + ALL_FRAMES: AveragePrecision(matches),
    }


def healthy_metrics(
    frames: JudgedFrames, predictions: Predictions, healthy: Mapping[int, str | None]
) -> Metrics:
    """:func:`healthy_measures` of these frames, each counted once; None where undefined."""
    count = len(frames.sequence)
    measures = healthy_measures(frames, predictions, healthy)
    return {name: value(measure, count) for name, measure in measures.items()}


def _without_a_box(units: Sequence[str | None], said: FloatArray) -> Ratio:
    """The share of units that have no box in any of their frames, counted at their first frame.

    Args:
        units: the sequence or patient of each frame (N); None where it does not count.
        said: float[N], the boxes of each frame.
    """
    spoken_of = {unit for unit, boxes in zip(units, said.tolist(), strict=True) if boxes}
    counted, silent = np.zeros((2, len(units)))
    seen: set[str | None] = {None}
    for position, unit in enumerate(units):
        if unit not in seen:
            seen.add(unit)
            counted[position] = 1
            silent[position] = unit not in spoken_of
    return Ratio(numerator=silent, denominator=counted)
