"""What a study remembers of its cohort: digests that tell what has changed, but no values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from preprocess.cohort.display import Display
from preprocess.cohort.manifest import ManifestRow
from preprocess.cohort.records import Box, Sequence

Contents = dict[str, dict[str, str]]
"""``attributes``: a digest of each attribute, over all sequences. ``sequences``: one of each
sequence, over all attributes."""

DECIDES_NOTHING = {
    *("primary_angle_deg", "secondary_angle_deg", "frame_time_ms", "imager_pixel_spacing_mm"),
    *("transfer_syntax_uid", "grey_range", "cleared_values", "may_hold_text"),
    *("manufacturer", "year"),
}
"""Attributes that are shown to people alone: no frame, box, fold or number depends on them."""

WORDS = {"frames_digest": "pixels", "patient_id": "patient"}
MOST_NAMED = 3


def facts_of(
    sequences: Mapping[str, Sequence], boxes: Iterable[Box], manifest: Iterable[ManifestRow]
) -> dict[str, dict[str, Any]]:
    """All that decides a number, by attribute and then by sequence, as JSON can hold it.

    A value that is its field's default is left out. So a field that a later version adds changes no
    digest of a cohort that says nothing of it.
    """
    facts: dict[str, dict[str, Any]] = {}
    compared = [f for f in fields(Sequence) if f.name not in DECIDES_NOTHING]
    for sequence_id, sequence in sequences.items():
        for each in compared:
            value = getattr(sequence, each.name)
            if value != each.default:
                plain = vars(value) if isinstance(value, Display) else value
                facts.setdefault(each.name, {})[sequence_id] = plain
    for box in boxes:
        known = {name: value for name, value in vars(box).items() if value is not None}
        facts.setdefault("boxes", {}).setdefault(box.sequence_id, []).append(known)
    for row in manifest:
        if row.exclude:
            facts.setdefault("exclusions", {})[row.sequence_id or row.hmac_sha256] = row.exclude
    return facts


def contents_of(
    sequences: Iterable[str], facts: Mapping[str, Mapping[str, Any]]
) -> tuple[str, Contents]:
    """The digest of a cohort (SHA-256, of :func:`facts_of` and the order), and of its parts."""
    order = list(sequences)
    attributes = {name: _digest(of_sequence) for name, of_sequence in sorted(facts.items())}
    by_sequence = {
        s: _digest({name: values[s] for name, values in facts.items() if s in values})[:16]
        for s in order
    }
    contents = {
        "attributes": {name: digest[:16] for name, digest in attributes.items()},
        "sequences": by_sequence,
    }
    return _digest([order, attributes]), contents


def describe_changes(kept: Contents, given: Contents) -> str:
    """What differs between two cohorts, as words of a sentence."""
    old, new = kept["sequences"], given["sequences"]
    changed = [s for s in old if s in new and old[s] != new[s]]
    said = [
        f"{_named(which)} {word}"
        for which, word in (
            ([s for s in new if s not in old], "new"),
            ([s for s in old if s not in new], "gone"),
        )
        if which
    ]
    if said:
        return ", ".join([*said, *([f"{_named(changed)} changed"] if changed else [])])
    old, new = kept["attributes"], given["attributes"]
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    what = ", ".join(WORDS.get(name, name.replace("_", " ")) for name in names) or "order"
    return f"other {what}" + (f" of {_named(changed)}" if changed else "")


def _named(sequences: list[str]) -> str:
    shown = ", ".join(sequences[:MOST_NAMED]) + (", …" if len(sequences) > MOST_NAMED else "")
    return f"{len(sequences)} sequence{'s' if len(sequences) > 1 else ''} ({shown})"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
