"""Metrics that no run writes down: false boxes per frame, accuracy of the majority class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from angioray.evaluation.detection import PAPER, per_frame
from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.matching import Matches
from angioray.evaluation.measures import COUNTS, Ratio
from angioray.report.estimates import Estimate, over_folds
from angioray.report.evidence import DetectorEvidence, ViewEvidence
from angioray.report.runs import ReportedStudy

FALSE_BOXES = PAPER.name("false_boxes_per_frame", boxes=PAPER.max_detections)
MAJORITY_ACCURACY = "baseline/accuracy"
"""Of always answering the commonest class of the training part; of equal ones the first by name."""


def false_box_estimates(evidence: DetectorEvidence) -> dict[str, Estimate]:
    """False boxes per judged frame, at the paper's score threshold and number of boxes."""
    seeds = (evidence, *evidence.others)
    values = [{n: false_boxes([m.best]).value for n, m in s.matched_folds.items()} for s in seeds]
    jackknife = Jackknife.of(evidence.frames.patients(evidence.image_ids))
    interval = jackknife.interval(false_boxes([seed.matches for seed in seeds]))
    return {FALSE_BOXES: over_folds(evidence.group, FALSE_BOXES, values, interval)}


def majority_estimates(study: ReportedStudy, seen: ViewEvidence) -> dict[str, Estimate]:
    """The accuracy of whoever always answers the commonest class of each fold's training part."""
    folds = np.array(seen.folds)
    answers = {fold: commonest_class(study, seen, fold) for fold in sorted(set(seen.folds))}
    right = np.array(seen.labels) == np.array([answers[fold] for fold in seen.folds])
    pooled = Ratio(numerator=right.astype(float), denominator=np.ones(len(right)))
    interval = Jackknife.of(seen.frames.patients(seen.image_ids)).interval(pooled)
    values = {fold: float(right[folds == fold].mean()) for fold in answers}
    return {MAJORITY_ACCURACY: over_folds(seen.group, MAJORITY_ACCURACY, [values], interval)}


def commonest_class(study: ReportedStudy, seen: ViewEvidence, fold: int) -> str:
    """The class of most sequences that a fold of the view classifiers trains on."""
    sequences, known = seen.frames.cohort.sequences, study.view_class
    views = (
        sequences[s].view or "" for s in study.document["splits"]["view"]["folds"][fold]["train"]
    )
    counts = Counter(known.get(view, view) for view in views)
    return min(counts, key=lambda name: (-counts[name], name))


def false_boxes(seeds: Sequence[Matches]) -> Ratio:
    """Of one seed, or the mean of several on the same frames."""
    false = []
    for matches in seeds:
        kept = matches.kept(score_above=PAPER.score, max_detections=PAPER.max_detections)
        false.append(per_frame(matches, kept & ~matches.is_true_positive))
    every = np.ones(len(false[0]))
    return Ratio(numerator=np.mean(false, axis=0), denominator=every, rules=COUNTS)
