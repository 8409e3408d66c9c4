"""Simulated studies, in which the true value of every metric is known: do the intervals hold it?

A study is drawn as its judged frames: patients who differ in how hard their lesions are, one to
three cines a patient with a frame each, up to two lesions a frame, five folds whose models differ.
Two methods are of equal quality in the population, but differ on the patients that were drawn. The
frames go through the code that reports a study: measures, intervals, comparisons.

The true value of a metric is that of the same fitted models on very many new patients. So folds are
drawn once and patients anew in every study.

    python benchmarks/intervals.py --out benchmarks/results/intervals.json
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.special import ndtr

from angioray.evaluation.detection import COCO_IOUS, LENIENT_IOU, PAPER, JudgedFrames, Matched
from angioray.evaluation.intervals import LEVEL, Jackknife
from angioray.evaluation.matching import FloatArray, IntArray, Matches
from angioray.evaluation.measures import Measure, value
from angioray.evaluation.views import view_measures
from angioray.report.comparisons import Comparison, paired_differences, verdicts
from angioray.report.derived import FALSE_BOXES, false_boxes

STUDIES = 400
"""Of each size and recall."""
PATIENTS = (12, 20, 40, 100)
RECALLS = (0.5, 0.8, 0.95)
METHODS = 3
"""The first is the one that the others are compared with."""
MANY = 60_000
"""Patients on whom the true values are found."""
COMPARED = (
    "recall@IoU0.20/score0.50/max5",
    "precision@IoU0.20/score0.50/max5",
    "F1@IoU0.20/score0.50/max5",
    "AP@IoU0.20",
    "at_least_one@IoU0.20/score0.50",
    "accuracy",
)
MEASURED = (
    *COMPARED,
    "recall@IoU0.20/score0.50/max5/lesions-2",
    "sensitivity@IoU0.20/false0.5",
    "sensitivity@IoU0.20/mean",
    "f1_macro",
    "cross_entropy",
    FALSE_BOXES,
)
FOLDS = np.array([-0.3, -0.1, 0.0, 0.1, 0.3])
"""How much better or worse the model of each fold is, on the probit scale."""
WITHIN_PATIENT = 0.3
"""Correlation of two lesions of a patient, on the probit scale."""
BETWEEN_METHODS = 0.7
"""Correlation of the two methods on a lesion, on the probit scale."""
CLASSES = ("LCA", "RCA")


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What one method found in a simulated study."""

    measures: dict[str, Measure]
    patients: list[str]
    """Of each frame."""


def main() -> None:
    """Simulate, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    rows = []
    for recall in RECALLS:
        true = true_values(recall)
        for patients in PATIENTS:
            for row in measured(options.studies, patients, recall, true):
                rows.append(row)
                print(
                    "  ".join(
                        f"{cell:.3f}" if isinstance(cell, float) else f"{cell!s:>5}"
                        for cell in row.values()
                    ),
                    flush=True,
                )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"studies": options.studies, "rows": rows}, indent=1) + "\n")
    print(f"Wrote {options.out}")


def true_values(recall: float) -> dict[str, float]:
    """Every metric on very many patients."""
    (many,) = simulate(np.random.default_rng(0), MANY, recall)
    found = {name: value(many.measures[name], len(many.patients)) for name in MEASURED}
    return {name: true for name, true in found.items() if true is not None}


def measured(
    studies: int, patients: int, recall: float, true: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """How often intervals hold the true value, and how often a difference is said to be shown."""
    counts: dict[tuple[str, str], float] = defaultdict(float)
    families = 0
    for number in range(studies):
        random = np.random.default_rng([patients, int(100 * recall), number])
        first, *others = simulate(random, patients, recall, METHODS)
        jackknife = Jackknife.of(first.patients)
        for name in MEASURED:
            if (interval := jackknife.interval(first.measures[name])) is not None:
                counts[name, "given"] += 1
                counts[name, "held"] += interval[0] <= true[name] <= interval[1]
                counts[name, "width"] += interval[1] - interval[0]
        comparisons = [
            Comparison(
                task="detector",
                view="",
                name=f"method {place}",
                against="method 0",
                frames=len(first.patients),
                patients=patients,
                differences=paired_differences(
                    first.patients, other.measures, first.measures, COMPARED
                ),
            )
            for place, other in enumerate(others, start=1)
        ]
        for name, difference in comparisons[0].differences.items():
            counts[name, "compared"] += difference.p is not None
            counts[name, "differs"] += difference.p is not None and difference.p < LEVEL
        families += any(map(len, verdicts(comparisons)))
    for name in MEASURED:
        given, compared = counts[name, "given"], counts[name, "compared"]
        yield {
            "metric": name,
            "recall": recall,
            "patients": patients,
            "true": round(true[name], 4),
            "intervals": int(given),
            "held": round(counts[name, "held"] / given, 4) if given else None,
            "width": round(counts[name, "width"] / given, 4) if given else None,
            "false_differences": round(counts[name, "differs"] / compared, 4) if compared else None,
            "false_in_table": round(families / studies, 4),
        }


def simulate(
    random: np.random.Generator, patients: int, recall: float, methods: int = 1
) -> list[Judged]:
    """Draw a study that methods of equal quality were judged on.

    Args:
        random: gives the patients, their lesions and what is found of them.
        patients: how many.
        recall: the share of lesions that an average fold finds at score 0.5 in the population.
        methods: how many.
    """
    patient = np.repeat(np.arange(patients), random.integers(1, 4, patients))
    frames = len(patient)
    lesions = random.choice(3, frames, p=(0.1, 0.6, 0.3))
    frame = np.repeat(np.arange(frames), lesions)
    strength = NormalDist().inv_cdf(recall) + FOLDS[patient % len(FOLDS)]
    shared = _latent(random, patient[frame], patients), _latent(random, patient, patients)
    false_rate = np.exp(random.normal(-0.4, 0.6, patients))[patient]
    labels = [CLASSES[side] for side in random.integers(0, 2, frames)]
    truth = {int(i): np.zeros((int(lesions[i]), 4)) for i in np.flatnonzero(lesions)}
    judged = JudgedFrames(sequence={i: str(i) for i in range(frames)}, truth=truth)
    names = [f"p{number}" for number in patient]

    def method() -> Judged:
        own = _latent(random, patient[frame], patients), _latent(random, patient, patients)
        of_lesions, of_frames = (
            np.sqrt(BETWEEN_METHODS) * both + np.sqrt(1 - BETWEEN_METHODS) * alone
            for both, alone in zip(shared, own, strict=True)
        )
        hit = np.clip(ndtr(strength[frame] - of_lesions), 1e-6, 1 - 1e-6)
        false = np.repeat(np.arange(frames), random.poisson(false_rate))
        matches = _matches(lesions, frame, hit, false, ndtr(random.normal(-0.2, 0.9, len(false))))
        # A second, smaller spread makes probabilities that are not calibrated.
        sure = ndtr(1.5 * (strength - of_frames))
        right = np.array([label == CLASSES[0] for label in labels])
        table = np.where(right, sure, 1 - sure)[:, None]
        found = Matched(
            frames=judged,
            thresholds=PAPER,
            every=matches,
            coco=dict.fromkeys((LENIENT_IOU, *COCO_IOUS), matches),
            baseline=None,
        )
        views = view_measures(labels, np.hstack([table, 1 - table]), CLASSES)
        measures = {**found.measures(), **views, FALSE_BOXES: false_boxes([matches])}
        return Judged(measures=measures, patients=names)

    return [method() for _ in range(methods)]


def _matches(
    lesions: IntArray, frame: IntArray, hit: FloatArray, false: IntArray, score: FloatArray
) -> Matches:
    """Each lesion found by a box of its own score, and false boxes."""
    first = np.cumsum(lesions) - lesions
    of_lesion = np.concatenate([np.arange(len(frame)) - first[frame], np.full(len(false), -1)])
    where, scores = np.concatenate([frame, false]), np.concatenate([hit, score])
    order = np.lexsort((-scores, where))
    where, scores, of_lesion = where[order], scores[order], of_lesion[order]
    begins = np.searchsorted(where, where)
    return Matches(
        image_id=where,
        score=scores,
        rank=np.arange(len(where)) - begins,
        is_true_positive=of_lesion >= 0,
        truth_index=of_lesion,
        frame_image_id=np.arange(len(lesions)),
        frame_truths=lesions,
        max_detections=100,
    )


def _latent(random: np.random.Generator, patient: IntArray, patients: int) -> FloatArray:
    """Standard normal, correlated within each patient."""
    of_patient = random.standard_normal(patients)[patient]
    own = random.standard_normal(len(patient))
    latent: FloatArray = np.sqrt(WITHIN_PATIENT) * of_patient + np.sqrt(1 - WITHIN_PATIENT) * own
    return latent


if __name__ == "__main__":
    main()
