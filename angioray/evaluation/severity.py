"""How well sequences with a severe lesion are told from others, by a score of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from angioray.evaluation.matching import BoolArray, FloatArray
from angioray.evaluation.measures import SHARES, Draws, Measure, Ratio, Rules, divided

AT = 0.5
"""A score greater than this says that there is a severe lesion."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AreaUnderRoc:
    """The share of pairs, one with and one without, whose scores are in the right order.

    Equal scores count half (the Mann-Whitney statistic). Undefined without one of the two.
    """

    positive: BoolArray
    """bool[N]."""
    score: FloatArray
    """float[N]."""
    rules: ClassVar[Rules] = replace(SHARES, compares_patients=True)

    def values(self, draws: Draws) -> FloatArray:
        """The area in each draw."""
        known, column = np.unique(self.score, return_inverse=True)

        def at_each_score(chosen: BoolArray) -> FloatArray:
            rows = np.flatnonzero(chosen)
            return draws.table(rows, column[rows], len(known))

        above, below = at_each_score(self.positive), at_each_score(~self.positive)
        ordered = (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1)
        return divided(ordered, above.sum(axis=1) * below.sum(axis=1))


def severity_measures(positive: BoolArray, score: FloatArray) -> dict[str, Measure]:
    """The measures of a score by name: ``AUC``, and at a score above 0.5 the shares of a table.

    Args:
        positive: bool[N], the sequences with a severe lesion.
        score: float[N], 0 to 1, higher where that is more probable.

    Returns:
        ``AUC``, ``accuracy``, ``NPV``, ``PPV``, ``sensitivity``, ``specificity``; and ``majority``,
        the accuracy of whoever always names the class that is the more frequent here.
    """
    true, said = positive.astype(float), (score > AT).astype(float)
    ones = np.ones(len(true))
    more = true if 2 * true.sum() >= len(true) else 1 - true
    return {
        "AUC": AreaUnderRoc(positive=positive, score=score),
        "accuracy": Ratio(numerator=(true == said).astype(float), denominator=ones),
        "NPV": Ratio(numerator=(1 - true) * (1 - said), denominator=1 - said),
        "PPV": Ratio(numerator=true * said, denominator=said),
        "sensitivity": Ratio(numerator=true * said, denominator=true),
        "specificity": Ratio(numerator=(1 - true) * (1 - said), denominator=1 - true),
        "majority": Ratio(numerator=more, denominator=ones),
    }


def roc_curve(positive: BoolArray, score: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The ROC curve: 1 - specificity and sensitivity (float[K] each) as the threshold falls.

    Equal scores are one point: no threshold can tell them apart. Both begin at 0 and end at 1.

    Args:
        positive: bool[N], some of each kind.
        score: float[N].
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    found = np.cumsum(positive[order])[last] / positive.sum()
    false = np.cumsum(~positive[order])[last] / (~positive).sum()
    return np.append(0.0, false), np.append(0.0, found)
