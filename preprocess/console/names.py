"""Names that nobody knows: the nearest that exists, and a list that is not too long."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN_NAMES = 12


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """The known name that is most like another; None if none is like it."""
    near = difflib.get_close_matches(name, list(known), 1, cutoff)
    return near[0] if near else None


def name_list(names: Iterable[str]) -> str:
    """Names one after the other; of many the first ones, and how many more there are."""
    listed = list(dict.fromkeys(names))
    more = len(listed) - SHOWN_NAMES
    return ", ".join(listed if more <= 1 else [*listed[:SHOWN_NAMES], f"and {more} more"])


def instead(name: str, known: Iterable[str], *, cutoff: float = 0.4) -> str:
    """What to say behind a name that is not known: the nearest, and which there are."""
    listed = list(dict.fromkeys(known))
    if not listed:
        return "there is none"
    near = nearest(name, listed, cutoff=cutoff)
    hint = f"the nearest is {near}; " if near and len(listed) > 1 else ""
    return f"{hint}there {'are' if len(listed) > 1 else 'is'} {name_list(listed)}"
