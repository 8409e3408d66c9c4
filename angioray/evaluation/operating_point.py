"""The score threshold of a fold, chosen on the predictions of the other folds.

The threshold of a fold is the one that gives the best F1 on the out-of-fold predictions of all
other folds. Their patients are the fold's own training patients, each predicted by a detector that
had not seen them: scores as they are on new patients, where scores on frames that a detector was
trained on would be too high. No label and no prediction of the fold's own validation part enters.
One dependence remains: the other folds' detectors trained on this fold's patients. Only this one
number is taken from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from angioray.evaluation.detection import Matched


def best_score(folds: Iterable[Matched]) -> float | None:
    """The score threshold of the best F1 over these frames together, at most five boxes each.

    Boxes count if their score is greater. The threshold lies midway between the lowest score that
    counts and the next below it; of equally good ones the highest is taken, which keeps the fewest
    boxes. None where no box is right.
    """
    matches = [matched.best for matched in folds]
    score = np.concatenate([np.empty(0), *(m.score for m in matches)])
    right = np.concatenate([np.empty(0, dtype=bool), *(m.is_true_positive for m in matches)])
    if not right.any():
        return None
    lesions = sum(int(m.frame_truths.sum()) for m in matches)
    order = np.argsort(-score, kind="stable")
    score, found = score[order], np.cumsum(right[order])
    last = np.append(np.diff(score) != 0, True)
    f1 = 2 * found / (lesions + np.arange(1, len(score) + 1))
    best = int(np.argmax(np.where(last, f1, -1.0)))
    next_below = score[best + 1] if best + 1 < len(score) else 0.0
    return float((score[best] + next_below) / 2)


def chosen_scores(folds: Mapping[int, Matched]) -> dict[int, float | None]:
    """For each fold, :func:`best_score` of all the others; None where that says nothing."""
    return {
        fold: best_score(matched for other, matched in folds.items() if other != fold)
        for fold in folds
    }
