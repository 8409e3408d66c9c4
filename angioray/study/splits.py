"""Folds: stratified, grouped by patient where the study says so, disjoint, and hashed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from angioray.study.settings import LEAST_FOLDS, SplitUnit


@dataclass(frozen=True)
class Member:
    """One sequence to be placed in a fold: who it is, whose it is, and what must be balanced."""

    sequence_id: str
    patient_id: str
    stratum: str
    part: str | None = None
    """Of the data set as it was published: train, val or test."""


@dataclass(frozen=True)
class Fold:
    """The two sides of a fold, as sequence ids in order."""

    train: tuple[str, ...]
    validation: tuple[str, ...]


def split(
    members: Sequence[Member],
    *,
    folds: int,
    unit: SplitUnit,
    seed: int,
    what: str,
    joined: Mapping[str, str] | None = None,
) -> tuple[Fold, ...]:
    """Cut sequences into folds whose validation parts are disjoint and together everything.

    Args:
        members: the sequences; their order does not matter.
        folds: how many.
        unit: what must never lie on both sides of a fold.
        seed: of the shuffle.
        what: names the split in errors, such as ``the RCA detector``.
        joined: the unit of each sequence where near-duplicates join units; else None.

    Raises:
        ValueError: there are too few units for so many folds.
    """
    # Here, for every process that trains or predicts reads folds, and none of them cuts any.
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    members = sorted(members, key=lambda member: member.sequence_id)
    unit_of = joined or {
        m.sequence_id: m.patient_id if unit == "patient" else m.sequence_id for m in members
    }
    groups = [unit_of[m.sequence_id] for m in members]
    name = what[0].upper() + what[1:]
    units = len(set(groups))
    if units < folds:
        fewer = f", or set `folds` to at most {units}" if units >= LEAST_FOLDS else ""
        raise ValueError(
            f"{name} has {units} {unit}{'' if units == 1 else 's'}, too few for {folds} folds. Add "
            f"data{fewer}."
        )
    strata = _strata(members, folds)
    ids = [member.sequence_id for member in members]
    if unit == "patient" or joined:
        by_unit = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        indices = by_unit.split(ids, strata, groups)
    else:
        indices = StratifiedKFold(folds, shuffle=True, random_state=seed).split(ids, strata)
    cut = tuple(
        Fold(tuple(ids[i] for i in train), tuple(ids[i] for i in validation))
        for train, validation in indices
    )
    _assert_disjoint(cut, dict(zip(ids, groups, strict=True)))
    if empty := [i for i, fold in enumerate(cut) if not fold.validation]:
        raise ValueError(
            f"{name} leaves fold {empty[0]} without a single sequence to validate on: its {units} "
            f"{unit}s are too uneven for {folds} folds. Add data{fewer_folds(folds)}."
        )
    return cut


def fewer_folds(folds: int) -> str:
    """Fewer folds as one more way out, where there can be fewer."""
    return ", or set `folds` lower" if folds > LEAST_FOLDS else ""


def splits_digest(splits: dict[str, tuple[Fold, ...]]) -> str:
    """SHA-256 of all folds; two studies with the same digest can be compared run by run."""
    plain = {key: [[fold.train, fold.validation] for fold in cut] for key, cut in splits.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _strata(members: Sequence[Member], folds: int) -> list[str]:
    """Strata as given; those rarer than the folds cannot be spread and join the commonest."""
    sizes = Counter(member.stratum for member in members)
    commonest = max(sorted(sizes), key=lambda stratum: sizes[stratum])
    return [m.stratum if sizes[m.stratum] >= folds else commonest for m in members]


def _assert_disjoint(cut: tuple[Fold, ...], unit_of: Mapping[str, str]) -> None:
    validated = [sequence for fold in cut for sequence in fold.validation]
    assert sorted(validated) == sorted(unit_of), "each sequence is validated exactly once"
    for fold in cut:
        sides = [{unit_of[s] for s in side} for side in (fold.train, fold.validation)]
        assert not sides[0] & sides[1], "a unit lies on both sides of a fold"
