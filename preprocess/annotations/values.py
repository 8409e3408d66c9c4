"""Numbers, ids and flags as annotation tools write them, as text too.

A value that cannot be read is not an absent one: it raises :class:`EntryError`, and its region is
reported and left out, for nobody knows where it belongs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from preprocess.annotations.mismatches import Kind

FARTHEST = 1e9
"""Pixels or frames; what is written farther off is no place in any picture or cine."""
NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
TRUE, FALSE = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "")
IGNORED = ("iscrowd", "ignore", "difficult")
"""What COCO, CVAT and Pascal VOC call an area to ignore."""


class EntryError(ValueError):
    """Why an entry of an annotation file cannot be used, and what is to be counted."""

    def __init__(self, kind: Kind, said: str):
        super().__init__(said)
        self.kind = kind


def number(value: Any, called: str, kind: Kind = Kind.UNREADABLE_VALUE) -> float:
    """A number, or text that is one (``7``, ``"7"``, ``7.0``).

    Args:
        value: as the file has it.
        called: what the file calls it.
        kind: what is counted where it is none.

    Raises:
        EntryError: it is no number, or beyond ``FARTHEST``.
    """
    text = value.strip() if isinstance(value, str) else ""
    if NUMBER.fullmatch(text):
        value = float(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FARTHEST:
        raise EntryError(kind, f"{called} {_shown(value)} is no number")
    return float(value)


def frame_number(value: Any, called: str) -> int:
    """A frame, counted from 0.

    Raises:
        EntryError: it is no whole number from 0.
    """
    found = number(value, called, Kind.NO_FRAME_NUMBER)
    if found < 0 or found != math.floor(found):
        raise EntryError(Kind.NO_FRAME_NUMBER, f"{called} {_shown(value)} is no frame number")
    return int(found)


def identifier(value: Any, called: str) -> str:
    """An id as text: 7, 7.0 and "7" are one.

    Raises:
        EntryError: it is neither text nor a whole number.
    """
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise EntryError(Kind.UNREADABLE_VALUE, f"{called} {_shown(value)} is no id")
    return str(value)


def flag(value: Any, called: str) -> bool:
    """True or false; nothing said is false.

    Raises:
        EntryError: it is neither.
    """
    text = str(value).strip().lower() if isinstance(value, bool | int | float | str) else ""
    if value is None or text in FALSE:
        return False
    if text not in TRUE:
        raise EntryError(
            Kind.UNREADABLE_VALUE, f"{called} {_shown(value)} is neither true nor false"
        )
    return True


def is_ignored(said: Mapping[str, Any]) -> bool:
    """Whether one of the flags of a region says that it is an area to ignore.

    Raises:
        EntryError: one of them is neither true nor false.
    """
    return any([flag(said.get(name), name) for name in IGNORED])  # each of them is looked at


def size(width: Any, height: Any) -> tuple[float, float] | None:
    """Width and height of the picture that was drawn on; tools that do not know it write 0 or none.

    Raises:
        EntryError: one of them is no number, or below 0, or missing.
    """
    given = [None if value is None or value == "" else value for value in (width, height)]
    found = [number(0 if value is None else value, "the picture's size") for value in given]
    if min(found) < 0 or (found[0] == 0) != (found[1] == 0):
        said = f"the picture's size, {_shown(width)} x {_shown(height)}, is none"
        raise EntryError(Kind.UNREADABLE_VALUE, said)
    return (found[0], found[1]) if found[0] else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
