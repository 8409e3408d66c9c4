"""Seeds: folds differ, studies differ, and variants on the same fold are compared alike."""

from dataclasses import replace
from pathlib import Path

from angioray.study.seeds import seed_of
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
