"""Folds from a file, from the published parts of a public data set, or from a list of its patients.

A public set's list names every patient that the set has. Of a set that was imported in part some
are missing: the folds are then what is there, and :func:`missing_patients` says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from angioray import CONFIGS
from angioray.study.settings import PUBLIC_FOLDS, PUBLISHED, SplitUnit
from angioray.study.splits import Fold, Member
from preprocess.console.documents import read_json
from preprocess.console.names import name_list

PARTS = {"published": (("train",), "val"), "published-test": (("train", "val"), "test")}
"""The parts that train, and the one that validates."""


def given_split(
    splits: str,
    key: str,
    members: Sequence[Member],
    *,
    unit: SplitUnit,
    what: str,
    known: Collection[str],
    joined: Mapping[str, str] | None = None,
) -> tuple[Fold, ...]:
    """The folds of one split that a study was given.

    A file holds a list of folds, ``{"train": [...], "validation": [...]}`` with ids of sequences or
    of patients; or such a list for each split key (``view``, ``detector/RCA``), as the ``splits``
    of a ``study.json`` have it. A fold without ``train`` trains on all that the other folds
    validate on. Sequences that no fold names are left out.

    Args:
        splits: the setting.
        key: of the split.
        members: the sequences that may be in it.
        unit: what must not lie on both sides of a fold.
        what: names the split in errors.
        known: the ids of all sequences and patients of the cohort.
        joined: the unit of each sequence where near-duplicates join units; else None.

    Raises:
        ValueError: the file cannot be read, names what is not there, leaves a side empty, or has
            a sequence, a patient or near-duplicates on both sides; or a public set's list is not
            the one of old.
    """
    if splits in PUBLISHED:
        trains, validates = PARTS[splits]
        sides = [[m for m in members if m.part in parts] for parts in (trains, (validates,))]
        folds = [tuple(sides)]
    else:
        folds = [
            (_named(fold, "train", members), _named(fold, "validation", members))
            for fold in _folds(splits, key, known)
        ]
    for number, (train, validation) in enumerate(folds):
        where = f"Fold {number} of {what}, as {splits} gives it,"
        if not train or not validation:
            side = "validate" if train else "train"
            whole = " Import the whole set." if splits in PUBLIC_FOLDS else ""
            raise ValueError(f"{where} has no sequence to {side} on.{whole}")
        of = {"sequence": "sequence_id", "patient": "patient_id"}[unit]
        names = [{getattr(member, of) for member in side} for side in (train, validation)]
        if both := sorted(names[0] & names[1]):
            raise ValueError(f"{where} has {unit} {both[0]} on both sides.")
        if joined and (same := _on_both_sides(train, validation, joined)):
            raise ValueError(
                f"{where} has near-duplicates on both sides, as `groups` gives them: {same[0]} and "
                f"{same[1]} lie in one unit. Give other folds, or leave `groups` out."
            )
    return tuple(
        Fold(*(tuple(sorted(member.sequence_id for member in side)) for side in fold))
        for fold in folds
    )


def missing_patients(splits: str | None, known: Collection[str]) -> list[str]:
    """What a cohort lacks of the public set whose folds it is given, as sentences; often none.

    Args:
        splits: the setting.
        known: the ids of all patients of the cohort.
    """
    if splits not in PUBLIC_FOLDS:
        return []
    folds = read_json(_public_list(splits))
    named = [patient for fold in folds for patient in fold["validation"]]
    missing = [patient for patient in named if patient not in known]
    if not missing:
        return []
    return [
        f"{len(missing)} of the {len(named)} patients of {splits} are not in this cohort "
        f"({name_list(missing)}): its results do not compare with those on the whole set."
    ]


def _public_list(name: str) -> Path:
    """The patient folds of a public set, the same for everybody."""
    path = CONFIGS / "public" / f"{name}.json"
    if hashlib.sha256(path.read_bytes()).hexdigest() != PUBLIC_FOLDS[name]:
        raise ValueError(
            f"{path} was changed: it is not the list of folds that everybody has (SHA-256 "
            f"{PUBLIC_FOLDS[name]}). Install angioray again; give folds of your own another name."
        )
    return path


def _on_both_sides(
    train: Sequence[Member], validation: Sequence[Member], joined: Mapping[str, str]
) -> tuple[str, str] | None:
    """A training and a validation sequence of one unit, if there are such."""
    trained = {joined[member.sequence_id]: member.sequence_id for member in train}
    for member in validation:
        if (unit := joined[member.sequence_id]) in trained:
            return trained[unit], member.sequence_id
    return None


def _folds(splits: str, key: str, known: Collection[str]) -> list[dict[str, list[str]]]:
    public = splits in PUBLIC_FOLDS
    path = _public_list(splits) if public else Path(splits)
    expected = (
        'Expected a list of {"train": [...], "validation": [...]}, or such a list for each of view '
        f"and detector/VIEW; {', '.join([*PUBLISHED, *PUBLIC_FOLDS])} are no files."
    )
    try:
        document: Any = read_json(path)
    except ValueError as problem:
        raise ValueError(f"{problem} {expected}") from problem
    for below in ("splits", key, "folds"):
        if isinstance(document, dict):
            document = document.get(below, document if below == "splits" else None)
    whole = isinstance(document, list) and all(isinstance(fold, dict) for fold in document)
    if not document or not whole:
        raise ValueError(f"{path} has no folds for {key}. {expected}")
    for fold in document:
        if fold.keys() | {"train"} != {"train", "validation"}:
            raise ValueError(f"{path} has a fold with {', '.join(fold) or 'nothing'}. {expected}")
        for side, names in fold.items():
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"{path} has a fold whose {side} is no list of names. {expected}")
            if not public and (unknown := sorted(set(names) - set(known))):
                raise ValueError(
                    f"{path} names {unknown[0]}, which is no sequence and no patient of this "
                    "cohort."
                )
    folds: list[dict[str, list[str]]] = [
        {"train": [n for f in document if f is not fold for n in f["validation"]], **fold}
        for fold in document
    ]
    return folds


def _named(fold: dict[str, list[str]], side: str, members: Sequence[Member]) -> list[Member]:
    """The members that one side of a fold names, by sequence or by patient."""
    names = set(fold[side])
    return [m for m in members if m.sequence_id in names or m.patient_id in names]
