"""Folds that a study is given: lists in files, and those of public sets."""

import json
from pathlib import Path

import pytest
import yaml

from angioray import CONFIGS
from angioray.study import given_splits
from angioray.study.given_splits import given_split, missing_patients
from angioray.study.settings import PUBLIC_FOLDS, PUBLISHED, settings_from_dict
from angioray.study.splits import Fold, Member

DANILOV = (2, 10, 34, 40, 50, 55, 68, 94)
"""Patients of each of the five folds."""


def members(*patients: str) -> list[Member]:
    return [Member(f"{patient}_{cine}", patient, "x") for patient in patients for cine in (1, 2)]


def cut(splits: str, everyone: list[Member]) -> tuple[Fold, ...]:
    known = {name for m in everyone for name in (m.sequence_id, m.patient_id)}
    return given_split(splits, "detector/all", everyone, unit="patient", what="x", known=known)


@pytest.mark.parametrize(
    ("name", "patients"),
    [("cadica", {f"cadica_p{number}" for number in range(1, 43)}), ("danilov", 64)],
)
def test_a_public_list_has_every_patient_once(name: str, patients: set[str] | int) -> None:
    folds = [
        fold["validation"] for fold in json.loads((CONFIGS / f"public/{name}.json").read_text())
    ]
    named = [patient for fold in folds for patient in fold]
    assert len(set(named)) == len(named)
    assert patients in (set(named), len(named))
    assert len(folds) == 5 and max(map(len, folds)) - min(map(len, folds)) == 1
    whole = cut(name, members(*named))
    for fold, validated in zip(whole, folds, strict=True):
        assert {s.rpartition("_")[0] for s in fold.validation} == set(validated)
        assert len(fold.train) + len(fold.validation) == 2 * len(named)
        assert not set(fold.train) & set(fold.validation)
    assert missing_patients(name, named) == []


@pytest.mark.parametrize("name", ["arcade", "cadica", "danilov"])
def test_a_public_protocol_is_a_study_whose_file_names_its_list(name: str) -> None:
    text = (CONFIGS / f"public/{name}.yaml").read_text()
    splits = settings_from_dict(yaml.safe_load(text)).splits
    assert splits in (*PUBLISHED, *PUBLIC_FOLDS)
    assert PUBLIC_FOLDS.get(name, name) in text


def test_of_a_set_in_part_the_folds_are_what_is_there() -> None:
    there = [f"danilov_14_{number:03d}" for number in DANILOV]
    folds = cut("danilov", members(*there))
    assert [len(fold.validation) for fold in folds] == [4, 4, 2, 2, 4]
    (said,) = missing_patients("danilov", there)
    assert said.startswith("56 of the 64 patients of danilov are not in this cohort (danilov_14_0")
    assert missing_patients(None, there) == missing_patients("published", there) == []
    with pytest.raises(
        ValueError, match=r"fold|Fold 0 .* to validate on\. Import the whole set\.$"
    ):
        cut("danilov", members(*there[1:6]))


def test_a_list_that_was_changed_is_nobody_else_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (CONFIGS / "public/cadica.json").read_text()
    (tmp_path / "public").mkdir()
    (tmp_path / "public/cadica.json").write_text(text.replace('_p1"', '_p2"', 1))
    monkeypatch.setattr(given_splits, "CONFIGS", tmp_path)
    with pytest.raises(ValueError, match=r"cadica\.json was changed: .* Install angioray again"):
        cut("cadica", members("cadica_p1", "cadica_p2"))


def test_without_train_all_others_train(tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    path.write_text('[{"validation": ["P1"]}, {"validation": ["P2", "P3_1"]}]')
    assert cut(str(path), members("P1", "P2", "P3")) == (
        Fold(("P2_1", "P2_2", "P3_1"), ("P1_1", "P1_2")),
        Fold(("P1_1", "P1_2"), ("P2_1", "P2_2", "P3_1")),
    )
