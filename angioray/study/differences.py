"""The differences of two JSON documents, by name."""

from __future__ import annotations

from typing import Any


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
    """One difference as words of a sentence; long lists are named without their values."""
    if isinstance(kept, list) and isinstance(given, list) and max(len(kept), len(given)) > 8:
        return f"{name} differ"
    return f"{name} was {kept!r} and is now {given!r}"
