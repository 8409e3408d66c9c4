"""Names of cines and files as other systems spell them."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import unquote

LONGEST = 4096
"""Characters that a path can have. To order the accents of longer text may take hours."""


def comparable_name(name: str) -> str:
    """The name as it compares with the same name written by another system.

    macOS writes letters with marks in two code points (NFD), web tools percent-encode, and Windows
    separates folders by backslashes. Upper and lower case stay apart: where they are to be one,
    compare the ``casefold()`` of two comparable names.
    """
    if len(name) > LONGEST:
        return name
    # An undecodable byte is what a file's name holds where it is no UTF-8.
    decoded = unquote(name, errors="surrogateescape").replace("\\", "/")
    return str(PurePosixPath(unicodedata.normalize("NFC", decoded))) if decoded else ""


def spellings(name: str) -> tuple[str, str, str]:
    """A name as it is written, as it compares, and as it compares without regard to case."""
    comparable = comparable_name(name)
    return name, comparable, comparable.casefold()


class KnownNames:
    """Names, and whom each of them means; the closest spelling that is known decides."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], set[str]] = defaultdict(set)
        self._deepest = 0

    def add(self, identity: str, name: str) -> None:
        """Let ``name``, and what it is with fewer of its folders, mean ``identity``."""
        for tail in self._tails(name):
            self._known[tail].add(identity)
            self._deepest = max(self._deepest, tail[1].count("/") + 1)

    def meant(self, name: str) -> set[str]:
        """Everyone that ``name`` may mean.

        Of a name with folders the longest part that is known decides, and of that part the closest
        spelling: two files whose names differ in case alone are two files.
        """
        tails = self._tails(name, self._deepest)
        return next((self._known[tail] for tail in tails if tail in self._known), set())

    @staticmethod
    def _tails(name: str, deepest: int | None = None) -> Iterator[tuple[int, str]]:
        ways = [spelling.split("/") for spelling in spellings(name)]
        most = max(map(len, ways))
        for length in range(most if deepest is None else min(most, deepest), 0, -1):
            yield from ((way, "/".join(parts[-length:])) for way, parts in enumerate(ways))
