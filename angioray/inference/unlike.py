"""In what a cine is unlike all that the models were trained on, as sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator

from angioray.study.acquisitions import Acquisitions
from preprocess.cohort import Sequence
from preprocess.views import angles_in_words

NEAR_DEG = 20.0
"""Operators set a standard projection within some 10 degrees (``preprocess/summary/angles``): what
is twice as far from every training cine is of another one."""
SIMILAR = 1.1
"""Rates and sizes within a tenth are alike: headers round frame times, and the standard rates (7.5,
10, 12.5, 15, 25, 30 frames/s) and sizes (512, 1024 px) are further apart."""
GREY_LEVELS = 10.0
"""Of 255. While contrast passes, the mean grey level of one cine moves by as much: by up to 19
levels in the demo's cohort."""
SIZES_NAMED = 3
MILLISECONDS = 1000.0


def unlike(known: Acquisitions, sequence: Sequence, mean_grey: float | None) -> tuple[str, ...]:
    """In what a cine is unlike the training cines; a fact that is not known says nothing.

    Args:
        known: the training cines of all models that judge the cine (``Acquisitions.together``).
        sequence: the cine.
        mean_grey: of the frame that names its view, as it is shown, 0 to 255; None if it is not
            known.
    """
    return tuple(
        sentence
        for check in (
            _contrast(sequence),
            _size(known, sequence),
            _rate(known, sequence),
            _angles(known, sequence),
        )
        for sentence in check
    ) + tuple(_brightness(known, mean_grey))


def _contrast(sequence: Sequence) -> Iterator[str]:
    if sequence.shows_no_filling:
        yield (
            "No filling of its arteries was found: perhaps contrast never came. The models were "
            "trained on filled arteries."
        )


def _size(known: Acquisitions, sequence: Sequence) -> Iterator[str]:
    width, height = sequence.width, sequence.height
    if known.sides and not any(
        _alike(width, other_width) and _alike(height, other_height)
        for other_width, other_height in known.sides
    ):
        theirs = [f"{w} x {h}" for w, h in known.sides]
        named = ", ".join(theirs[:SIZES_NAMED]) + (", ..." if len(theirs) > SIZES_NAMED else "")
        yield f"It has {width} x {height} pixels; the models were trained on {named}."


def _rate(known: Acquisitions, sequence: Sequence) -> Iterator[str]:
    time = sequence.frame_time_ms
    if not known.frame_time_ms or not time:
        return
    shortest, longest = known.frame_time_ms
    if not shortest / SIMILAR <= time <= longest * SIMILAR:
        theirs = dict.fromkeys(f"{MILLISECONDS / each:.3g}" for each in (longest, shortest))
        yield (
            f"It has {MILLISECONDS / time:.3g} frames/s; the models were trained on "
            f"{' to '.join(theirs)}."
        )


def _angles(known: Acquisitions, sequence: Sequence) -> Iterator[str]:
    primary, secondary = sequence.primary_angle_deg, sequence.secondary_angle_deg
    if primary is None or secondary is None or not known.angles_deg:
        return
    nearest = min(math.hypot(primary - a, secondary - b) for a, b in known.angles_deg)
    if nearest > NEAR_DEG:
        yield (
            f"Its C-arm angles ({angles_in_words(sequence)}) are {nearest:.0f} degrees from those "
            "of the nearest training cine."
        )


def _brightness(known: Acquisitions, mean_grey: float | None) -> Iterator[str]:
    if mean_grey is None or not known.mean_grey:
        return
    low, high = known.mean_grey
    if low - GREY_LEVELS <= mean_grey <= high + GREY_LEVELS:
        return
    than = "darker" if mean_grey < low else "brighter"
    yield (
        f"It is {than} than 99 % of the training cines: the mean grey level of a frame with "
        f"contrast is {mean_grey:.0f} of 255, theirs {low:.0f} to {high:.0f}."
    )


def _alike(one: float, other: float) -> bool:
    return other / SIMILAR <= one <= other * SIMILAR
