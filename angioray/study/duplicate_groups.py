"""Groups of near-duplicate sequences, as ``python -m angioray.leak`` writes them, and their units.

A unit is what lies on one side of every fold: a sequence or a patient, joined with all others that
a near-duplicate frame connects with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from angioray.study.settings import SplitUnit
from preprocess.cohort import Cohort, Sequence
from preprocess.console.documents import read_json

Groups = tuple[tuple[str, ...], ...]
"""Sequence ids, two or more a group."""


def groups_of(cohort: Cohort, path: str | None) -> Groups:
    """The groups that the setting ``groups`` gives; none without it.

    Raises:
        ValueError: as :func:`read_groups`.
    """
    return () if path is None else read_groups(Path(path), cohort.sequences.keys())


def read_groups(path: Path, known: Collection[str]) -> Groups:
    """The groups of a ``leak.json``.

    Args:
        path: a JSON file whose ``groups`` are lists of sequence ids.
        known: the ids of all sequences of the cohort.

    Raises:
        ValueError: the file cannot be read, has another form, or names a sequence that the cohort
            does not have.
    """
    document: Any = read_json(path)
    groups: Any = document.get("groups") if isinstance(document, dict) else None
    names: Any = [name for group in groups for name in group] if _are_lists(groups) else [None]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{path} has no `groups` that are lists of sequence ids. Write it with `python -m "
            "angioray.leak COHORT`, and give its leak.json as `groups`."
        )
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(
            f"{path} names {unknown[0]}, which is no sequence of this cohort. Write it anew with "
            "`python -m angioray.leak COHORT`."
        )
    return tuple(tuple(group) for group in groups)


def _are_lists(groups: Any) -> bool:
    return isinstance(groups, list) and all(isinstance(group, list) for group in groups)


def joined_units(
    sequences: Iterable[Sequence], unit: SplitUnit, groups: Groups
) -> Mapping[str, str]:
    """The unit of each sequence, by its id: it has the name of the first sequence or patient."""
    units = {s.sequence_id: s.patient_id if unit == "patient" else s.sequence_id for s in sequences}
    for group in groups:
        joined = {units[name] for name in group}
        if len(joined) > 1:
            first = min(joined)
            units = {name: first if of in joined else of for name, of in units.items()}
    return units
