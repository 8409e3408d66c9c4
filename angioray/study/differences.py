"""The differences of two JSON documents, by name."""

from __future__ import annotations

from typing import Any

SHOWN_CHARACTERS = 160
"""Of a name with both values."""


def differences(kept: Any, given: Any, where: str = "") -> list[tuple[str, Any, Any]]:
    """Every place where two JSON documents differ: its dotted name, and the two values."""
    if isinstance(kept, dict) and isinstance(given, dict):
        return [
            difference
            for key in sorted(kept.keys() | given.keys())
            for difference in differences(kept.get(key), given.get(key), f"{where}.{key}")
        ]
    return [] if kept == given else [(where.lstrip("."), kept, given)]


def describe_difference(name: str, kept: Any, given: Any) -> str:
    """One difference as words of a sentence; long values are not shown."""
    shown = f"{name} was {kept!r} and is now {given!r}"
    return shown if len(shown) <= SHOWN_CHARACTERS else f"{name} differs"
