"""What a person should know about the pictures of a cohort: nothing is seen, or too much is."""

from __future__ import annotations

from collections.abc import Iterable

from preprocess.cohort.display import LEAST_GREY_RANGE
from preprocess.cohort.records import Sequence


def is_nearly_one_grey(sequence: Sequence) -> bool:
    """Whether nothing can be seen in its pictures; of an old cohort it is not known."""
    return sequence.grey_range is not None and sequence.grey_range < LEAST_GREY_RANGE


def picture_remarks(sequences: Iterable[Sequence]) -> list[str]:
    """Counts for the terminal, a sentence each without its full stop; nothing of a single cine."""
    kept = list(sequences)
    counts = {
        "in {n} cines bits beyond Bits Stored were cleared: they are no part of a pixel value, and "
        "an old overlay may have been there": sum(s.cleared_values > 0 for s in kept),
        "the window or table in the header of {n} cines leaves hardly any contrast; one was found "
        "from their pixels instead": sum(s.display.replaces_header for s in kept),
        "the pictures of {n} cines are nearly one grey": sum(map(is_nearly_one_grey, kept)),
        "{n} cines may hold text in their pixels, perhaps a name; the page of `preprocess summary` "
        "shows them": sum(s.may_hold_text for s in kept),
    }
    return [text.format(n=count) for text, count in counts.items() if count]
