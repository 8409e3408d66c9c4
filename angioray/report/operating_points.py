"""Each detector at the score threshold that the other folds chose, beside the fixed one."""

from __future__ import annotations

import numpy as np

from angioray.evaluation.bootstrap import Resampling
from angioray.evaluation.detection import PAPER
from angioray.evaluation.measures import Ratio
from angioray.evaluation.operating_point import chosen_scores
from angioray.report.estimates import Estimate, over_folds
from angioray.report.evidence import DetectorEvidence

CHOSEN = "score-chosen"
CHOSEN_SCORE = PAPER.at(CHOSEN)


def chosen_estimates(evidence: DetectorEvidence) -> dict[str, Estimate]:
    """The chosen thresholds and the paper's measures at them; empty with fewer than two folds.

    Intervals take the thresholds as given.
    """
    folds = evidence.matched_folds
    scores = {fold: score for fold, score in chosen_scores(folds).items() if score is not None}
    if not scores:
        return {}
    by_fold = {fold: folds[fold].at_score(s, label=CHOSEN) for fold, s in scores.items()}
    ids = [i for fold in scores for i in folds[fold].best.frame_image_id.tolist()]
    resampling = Resampling.of(evidence.frames.patients(ids))
    found = {
        CHOSEN_SCORE: over_folds(evidence.group, CHOSEN_SCORE, scores, None),
    }
    for name in next(iter(by_fold.values())):
        ratios = {fold: ratios[name] for fold, ratios in by_fold.items()}
        pooled = Ratio(
            numerator=np.concatenate([ratio.numerator for ratio in ratios.values()]),
            denominator=np.concatenate([ratio.denominator for ratio in ratios.values()]),
        )
        values = {fold: ratio.value for fold, ratio in ratios.items()}
        found[name] = over_folds(evidence.group, name, values, resampling.interval(pooled))
    return found
