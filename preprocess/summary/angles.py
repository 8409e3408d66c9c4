"""The angles of the C-arm, and sequences whose view does not fit their angles."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from preprocess.cohort import Sequence
from preprocess.views import angles_in_words

NEAR_DEG = 10.0
"""How far the C-arm stands from itself in one and the same standard projection."""
ALONE_DEG = 40.0
"""No standard projection lies this far from every other sequence."""
RARE = 0.02
"""Share of a view among its neighbours up to which it looks out of place."""
FEWEST_OF_VIEW = 5
"""Others of its view that must be known before a sequence can lie apart; a view has several
standard projections, and of few sequences each may be alone in one."""
CHANCE = 0.05
"""Probability under which such rarity is no accident of few neighbours."""


def placed(sequences: Iterable[Sequence]) -> list[tuple[Sequence, float, float]]:
    """The sequences whose two angles (primary, secondary, in degrees) are known."""
    return [
        (sequence, sequence.primary_angle_deg, sequence.secondary_angle_deg)
        for sequence in sequences
        if sequence.primary_angle_deg is not None and sequence.secondary_angle_deg is not None
    ]


def angle_outliers(sequences: Iterable[Sequence]) -> dict[str, str]:
    """The sequences whose view or angles are likely wrong, by id, with the reason in words.

    A sequence is named when its view hardly occurs among the others within 10 degrees, though it
    is so frequent in the cohort that it should; or when it is far from every other sequence,
    though several others have its view. Few sequences, or a rare view, give no ground to say so.
    """
    known = [(s, a, b) for s, a, b in placed(sequences) if s.view]
    angles = np.array([(a, b) for _, a, b in known]).reshape(-1, 2)
    views = np.array([s.view for s, *_ in known])
    found = {}
    for position, (sequence, *_) in enumerate(known):
        distances = np.hypot(*(angles - angles[position]).T)
        distances[position] = np.inf
        near = distances <= NEAR_DEG
        same = views == sequence.view
        words = angles_in_words(sequence)
        if distances.min() > ALONE_DEG and same.sum() > FEWEST_OF_VIEW:
            found[sequence.sequence_id] = (
                f"{words} is {distances.min():.0f}° from the nearest other sequence"
            )
        elif _out_of_place(int((near & same).sum()), int(near.sum()), float(same.mean())):
            others = Counter(views[near & ~same].tolist()).most_common(2)
            found[sequence.sequence_id] = (
                f"labelled {sequence.view}, but of {near.sum()} others within {NEAR_DEG:.0f}° of "
                f"{words}, {' and '.join(f'{count} are {view}' for view, count in others)}"
            )
    return found


def _out_of_place(same: int, near: int, share: float) -> bool:
    """Whether a view of that share of the cohort is too rare among its neighbours (binomial)."""
    if not near or same / near > RARE:
        return False
    chance = 0.0
    for k in range(same + 1):
        ways = math.lgamma(near + 1) - math.lgamma(k + 1) - math.lgamma(near - k + 1)
        chance += math.exp(ways + k * math.log(share) + (near - k) * math.log1p(-share))
    return chance < CHANCE
