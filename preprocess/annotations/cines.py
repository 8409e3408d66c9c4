"""The cine that a region's file names, among those of an archive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from preprocess.annotations.mismatches import Kind
from preprocess.annotations.regions import Place


class CineNames:
    """Every name that a cine answers to; a name that two of them answer to means neither."""

    def __init__(self) -> None:
        self._known: dict[str, set[str]] = defaultdict(set)

    def add(self, identity: str, names: Iterable[str]) -> None:
        """Let a cine answer to ``names``, and to each of them with fewer of its folders."""
        for name in names:
            for tail in _tails(name):
                self._known[tail].add(identity)

    def meant(self, places: Iterable[Place]) -> Place | Kind:
        """The one cine (by its identity) and frame that ``places`` can mean, or why there is none.

        Of a name with folders, the longest part that is known decides.
        """
        found = {identity: place for place in places for identity in self._named(place.name)}
        if len(found) != 1:
            return Kind.AMBIGUOUS if found else Kind.UNKNOWN_SEQUENCE
        ((identity, place),) = found.items()
        return Place(identity, place.frame_index)

    def _named(self, name: str) -> set[str]:
        return next((self._known[tail] for tail in _tails(name) if tail in self._known), set())


def _tails(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[first:]) for first in range(len(parts)))
