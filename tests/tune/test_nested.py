"""Sweeps inside every fold, before anything starts."""

from pathlib import Path

from preprocess.cohort import Cohort
from preprocess.storage import open_storage
from tests.angioray.settings import TOY
from tune.nested import plan_nested
from tune.search.order import Order


def test_each_folds_sweep_draws_its_own_trials(toy_cohort: Cohort, tmp_path: Path) -> None:
    folders = [open_storage(tmp_path / f"fold{k}") for k in range(2)]
    space = tmp_path / "space.yaml"
    space.write_text("view.optimiser.learning_rate: {low: 1.0e-5, high: 1.0e-3, log: true}\n")
    orders = [Order(settings=TOY, task="view", space=space, seed=seed) for seed in (0, 1)]
    sweeps = [plan_nested(folders, toy_cohort, order) for order in orders]
    assert len({sweep.order.seed for planned in sweeps for sweep in planned}) == 4
