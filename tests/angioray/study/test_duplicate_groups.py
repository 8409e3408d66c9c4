"""Near-duplicates and patients stay on one side of every fold, through chains of both."""

import json
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angioray.report.page import Text
from angioray.report.sections import folds_section
from angioray.study.duplicate_groups import joined_units, read_groups
from angioray.study.settings import StudySettings, ViewTraining
from angioray.study.splits import Member, split
from angioray.study.study import Study
from preprocess.cohort import Cohort

IDS = [f"S{number:02d}" for number in range(16)]


def reachable(edges: set[tuple[str, str]], start: str) -> set[str]:
    """Brute force: everything that a walk over the edges reaches."""
    seen, ahead = {start}, [start]
    while ahead:
        here = ahead.pop()
        near = {b if a == here else a for a, b in edges if here in (a, b)}
        ahead += near - seen
        seen |= near
    return seen


@given(
    patients=st.lists(st.integers(0, 12), min_size=16, max_size=16),
    groups=st.lists(
        st.lists(st.sampled_from(IDS), min_size=2, max_size=3, unique=True), max_size=5
    ),
    seed=st.integers(0, 3),
)
def test_what_a_walk_over_patients_and_groups_connects_is_one_unit(
    patients: list[int], groups: list[list[str]], seed: int
) -> None:
    people: list[Any] = [
        SimpleNamespace(sequence_id=name, patient_id=f"P{patient:02d}")
        for name, patient in zip(IDS, patients, strict=True)
    ]
    units = joined_units(people, "patient", tuple(map(tuple, groups)))
    edges = {pair for group in groups for pair in combinations(group, 2)}
    edges |= {
        (a.sequence_id, b.sequence_id)
        for a, b in combinations(people, 2)
        if a.patient_id == b.patient_id
    }
    for name in IDS:
        assert {other for other in IDS if units[other] == units[name]} == reachable(edges, name)
    members = [Member(one.sequence_id, one.patient_id, "x") for one in people]
    if len(set(units.values())) < 2:
        return
    for fold in split(members, folds=2, unit="patient", seed=seed, what="x", joined=units):
        assert not any({a, b} & {*fold.train} and {a, b} & {*fold.validation} for a, b in edges)


def test_by_sequence_a_patient_joins_nothing(toy_cohort: Cohort) -> None:
    units = joined_units(toy_cohort.sequences.values(), "sequence", (("S00RCA", "S01LCA"),))
    assert units["S00RCA"] == units["S01LCA"] == "S00RCA"
    assert units["S00LCA"] == "S00LCA"


def test_a_study_keeps_groups_together_and_remembers_how_many(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    path = tmp_path / "leak.json"
    path.write_text(json.dumps({"groups": [["S00RCA", "S01RCA", "S02RCA"], ["S03LCA", "S00LCA"]]}))
    settings = StudySettings(groups=str(path), folds=3, view=ViewTraining(split_unit="patient"))
    study = Study.plan(toy_cohort, tmp_path / "runs", settings)
    people = {f"S{number:02d}" for number in range(4)}
    for cut in study.splits.values():
        for fold in cut:
            sides = [{name[:3] for name in side} & people for side in (fold.train, fold.validation)]
            assert people in sides and set() in sides
    study.freeze(toy_cohort)
    document = json.loads((tmp_path / "runs" / "study.json").read_text())
    groups = [["S00RCA", "S01RCA", "S02RCA"], ["S03LCA", "S00LCA"]]
    kept = {"groups": 2, "sequences": 5, "sequence_ids": groups}
    assert document["near_duplicates"] == kept
    reported: Any = SimpleNamespace(document=document)
    said = [block.text for block in folds_section(reported, None).blocks if isinstance(block, Text)]
    assert said[0].startswith("Near-duplicates were kept together: 2 groups of 5 sequences")
    folds = [{"train": ["P00", "P01"], "validation": ["P02", "P04"]}]
    (tmp_path / "folds.json").write_text(json.dumps(folds))
    given_folds = StudySettings(groups=str(path), splits=str(tmp_path / "folds.json"))
    with pytest.raises(ValueError, match="near-duplicates on both sides"):
        Study.plan(toy_cohort, tmp_path / "runs", given_folds)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "has no `groups`"),
        ('{"groups": [[1, 2]]}', "has no `groups`"),
        ('{"groups": [["S1", "S3"]]}', "names S3, which is no sequence"),
    ],
)
def test_other_files_are_refused(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "leak.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=said):
        read_groups(path, {"S1", "S2"})
