"""Backbones, detectors, metrics and augmentations of other packages, found by entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

Kind = Literal["backbones", "detectors", "metrics", "augmentations"]
"""Entry point groups are ``angioray.backbones`` and so on; CONTRIBUTING.md has an example."""


def registered(kind: Kind) -> dict[str, EntryPoint]:
    """The parts of a kind that installed packages declare, by name and in its order."""
    found = {entry.name: entry for entry in entry_points(group=f"angioray.{kind}")}
    return dict(sorted(found.items()))


def part(kind: Kind, name: str) -> Any:
    """The part of that name.

    Raises:
        ValueError: no installed package declares it.
    """
    known = registered(kind)
    if name not in known:
        raise ValueError(
            f"No installed package has {name!r} among its entry points of angioray.{kind}; "
            f"there {'are ' + ', '.join(known) if known else 'is none'}."
        )
    return known[name].load()
