"""Seeds: folds differ, studies differ, and variants on the same fold are compared alike."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from angioray.study.seeds import seed_of
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY


def test_no_two_seeds_share_a_fold() -> None:
    seeds = {seed_of(seed, fold) for seed in range(100) for fold in range(10)}
    assert len(seeds) == 100 * 10
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert seed_of(7, 3) == seed_of(7, 3)


def test_studies_of_neighbouring_seeds_repeat_no_run(toy_cohort: Cohort, tmp_path: Path) -> None:
    detector = replace(TOY.detector, variants=("B", "BGNL"))
    studies = [
        Study.plan(toy_cohort, tmp_path, replace(TOY, seed=seed, detector=detector))
        for seed in range(3)
    ]
    by_fold = [{(run.fold, run.seed) for run in study.runs} for study in studies]
    # Two folds; whatever is compared on a fold starts from the same seed.
    assert [len(pairs) for pairs in by_fold] == [2, 2, 2]
    assert len({seed for pairs in by_fold for _, seed in pairs}) == 6


def test_names_and_seeds_are_those_of_studies_before_folds_had_several_seeds(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    study = Study.plan(toy_cohort, tmp_path, StudySettings())
    text = json.dumps([[run.name, run.seed] for run in study.runs])
    digest = "1e62e6058e55c93e778ff2e18af9a705076b65cfb1db30b3d5711e8f006aee4c"
    assert hashlib.sha256(text.encode()).hexdigest() == digest
    study.freeze(toy_cohort)
    document = json.loads((tmp_path / "study.json").read_text())
    assert not any("repeat" in run for run in document["runs"])
    del document["settings"]["seeds"]  # as such a study was written
    (tmp_path / "study.json").write_text(json.dumps(document))
    assert Study.open(tmp_path) == study
    study.refuse_another(toy_cohort)


def test_further_seeds_are_runs_of_the_same_folds(toy_cohort: Cohort, tmp_path: Path) -> None:
    detector = replace(TOY.detector, variants=("B", "BGNL"))
    one, three = (
        Study.plan(toy_cohort, tmp_path, replace(TOY, detector=detector, seeds=seeds))
        for seeds in (1, 3)
    )
    assert tuple(run for run in three.runs if run.repeat == 0) == one.runs
    assert len(three.runs) == 3 * len(one.runs)
    assert three.splits == one.splits
    pairs = {(run.fold, run.repeat, run.seed) for run in three.runs}
    assert len(pairs) == len({seed for *_, seed in pairs}) == 2 * 3  # variants share theirs
    name = "detector-RCA-BGNL-64-fold1-seed2"
    assert three.run(name).seed == seed_of(TOY.seed, 1, 2)
    three.freeze(toy_cohort)
    assert Study.open(tmp_path) == three


def test_folds_are_named_by_their_numbers(toy_cohort: Cohort, tmp_path: Path) -> None:
    study = Study.plan(toy_cohort, tmp_path, replace(TOY, folds=3, seeds=2))
    for named in ("0,2", "[2, 0]"):
        assert [run.fold for run in study.runs_of_folds(named)[:4]] == [0, 0, 2, 2]
    assert len(study.runs_of_folds("0,1,2")) == len(study.runs)
    for named in ("3", "", "0,one", "0-2"):
        with pytest.raises(ValueError, match=r"is no fold of the study, which has 0, 1, 2\."):
            study.runs_of_folds(named)
