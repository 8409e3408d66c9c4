"""Recall by subgroups of lesions: by size, number in the frame, and iFR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from angioray.evaluation.matching import BoolArray, FloatArray, IntArray, Matches, Truth
from angioray.evaluation.measures import Ratio
from preprocess.ifr import IFR_CUT_OFF

SMALL_BELOW_PX2 = 32**2
LARGE_FROM_PX2 = 96**2
"""COCO's limits of area, in stored-frame pixels."""

SUBGROUPS = {
    "size-small": "box smaller than 32 x 32 px",
    "size-medium": "box of 32 x 32 to 96 x 96 px",
    "size-large": "box of 96 x 96 px or larger",
    "lesions-1": "the only lesion of its frame",
    "lesions-2": "one of two lesions in the frame",
    "lesions-3+": "one of three or more in the frame",
    "iFR-low": "lowest iFR of the sequence 0.89 or below",
    "iFR-high": "lowest iFR of the sequence above 0.89",
    "iFR-unknown": "iFR of the sequence unknown",
}
"""What each subgroup of lesions is. Areas are compared, so that a long flat box may be small."""


def subgroup_recalls(
    matches: Matches, kept: BoolArray, truth: Truth, ifr: Mapping[int, float]
) -> dict[str, Ratio]:
    """The recall of each subgroup of lesions by its name; undefined where it has none.

    Args:
        matches: of all evaluated frames.
        kept: bool[D], the detections that count.
        truth: the lesions that were matched.
        ifr: the lowest iFR of each frame's sequence, where any is known.
    """
    found = found_lesions(matches, kept)
    return {
        name: recall_of(matches, found, chosen)
        for name, chosen in _members(matches, lesion_frames(matches), truth, ifr)
    }


def recall_of(matches: Matches, found: BoolArray, chosen: BoolArray) -> Ratio:
    """The recall of some lesions, of which and of which found is told by bool[L] each."""
    frame, frames = lesion_frames(matches), len(matches.frame_image_id)
    return Ratio(
        numerator=np.bincount(frame, found & chosen, minlength=frames).astype(float),
        denominator=np.bincount(frame, chosen, minlength=frames).astype(float),
    )


def lesion_frames(matches: Matches) -> IntArray:
    """int[L]: the position of each lesion's frame, frame by frame in the order of the truth."""
    return np.repeat(np.arange(len(matches.frame_image_id)), matches.frame_truths)


def found_lesions(matches: Matches, kept: BoolArray) -> BoolArray:
    """bool[L]: whether each lesion was found, frame by frame in the order of the truth."""
    first = np.cumsum(matches.frame_truths) - matches.frame_truths
    hits = kept & matches.is_true_positive
    found = np.zeros(int(matches.frame_truths.sum()), dtype=bool)
    found[first[matches.frame_position[hits]] + matches.truth_index[hits]] = True
    return found


def _members(
    matches: Matches, position: IntArray, truth: Truth, ifr: Mapping[int, float]
) -> Iterator[tuple[str, BoolArray]]:
    """Each subgroup's name, and which lesions (bool[L]) belong to it."""
    ids = matches.frame_image_id.tolist()
    boxes: FloatArray = np.concatenate([np.empty((0, 4)), *(truth[i] for i in ids if i in truth)])
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    yield "size-small", area < SMALL_BELOW_PX2
    yield "size-medium", (area >= SMALL_BELOW_PX2) & (area < LARGE_FROM_PX2)
    yield "size-large", area >= LARGE_FROM_PX2
    beside = matches.frame_truths[position]
    yield "lesions-1", beside == 1
    yield "lesions-2", beside == 2
    yield "lesions-3+", beside >= 3
    lowest = np.array([ifr.get(i, np.nan) for i in ids])[position]
    yield "iFR-low", lowest <= IFR_CUT_OFF
    yield "iFR-high", lowest > IFR_CUT_OFF
    yield "iFR-unknown", np.isnan(lowest)
