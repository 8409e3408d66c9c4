"""The cine that a region's file names, among those of an archive."""

from __future__ import annotations

from collections.abc import Iterable

from preprocess.annotations.mismatches import Kind
from preprocess.annotations.names import KnownNames
from preprocess.annotations.regions import Place


class CineNames:
    """Every name that a cine answers to; a name that two of them answer to means neither."""

    def __init__(self) -> None:
        self._known = KnownNames()

    def add(self, identity: str, names: Iterable[str]) -> None:
        """Let a cine answer to ``names``, and to each of them with fewer of its folders."""
        for name in names:
            self._known.add(identity, name)

    def meant(self, places: Iterable[Place]) -> Place | Kind:
        """The one cine (by its identity) and frame that ``places`` can mean, or why there is none.

        Of a name with folders, the longest part that is known decides.
        """
        found = {identity: place for place in places for identity in self._known.meant(place.name)}
        if len(found) != 1:
            return Kind.AMBIGUOUS if found else Kind.UNKNOWN_SEQUENCE
        ((identity, place),) = found.items()
        return Place(identity, place.frame_index)
