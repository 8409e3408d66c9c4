"""Each detector at the score threshold that the other folds chose, beside the fixed one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from angioray.evaluation.detection import PAPER
from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.measures import MeanOf, Ratio
from angioray.evaluation.operating_point import chosen_scores
from angioray.report.estimates import Estimate, over_folds
from angioray.report.evidence import DetectorEvidence

CHOSEN = "score-chosen"
CHOSEN_SCORE = PAPER.at(CHOSEN)


def chosen_estimates(evidence: DetectorEvidence) -> dict[str, Estimate]:
    """The chosen thresholds and the paper's measures at them; empty with fewer than two folds.

    Intervals take the thresholds as given.
    """
    folds = [seed.matched_folds for seed in (evidence, *evidence.others)]
    scores = [
        {fold: score for fold, score in chosen_scores(of_seed).items() if score is not None}
        for of_seed in folds
    ]
    if not scores[0]:
        return {}
    by_seed = [
        {fold: of_seed[fold].at_score(score, label=CHOSEN) for fold, score in chosen.items()}
        for of_seed, chosen in zip(folds, scores, strict=True)
        if chosen.keys() == scores[0].keys()  # an interval is of the same frames in all seeds
    ]
    ids = [i for fold in scores[0] for i in folds[0][fold].best.frame_image_id.tolist()]
    jackknife = Jackknife.of(evidence.frames.patients(ids))
    found = {CHOSEN_SCORE: over_folds(evidence.group, CHOSEN_SCORE, scores, None)}
    for name in next(iter(by_seed[0].values())):
        ratios = [{fold: each[name] for fold, each in by_fold.items()} for by_fold in by_seed]
        values = [{fold: ratio.value for fold, ratio in by_fold.items()} for by_fold in ratios]
        pooled = MeanOf([_pooled(list(by_fold.values())) for by_fold in ratios])
        found[name] = over_folds(evidence.group, name, values, jackknife.interval(pooled))
    return found


def _pooled(folds: Sequence[Ratio]) -> Ratio:
    return Ratio(
        numerator=np.concatenate([ratio.numerator for ratio in folds]),
        denominator=np.concatenate([ratio.denominator for ratio in folds]),
    )
