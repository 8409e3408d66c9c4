"""A finished toy study whose cohort has its private journal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from angioray.study.executor import Executor
from angioray.study.study import Study
from angioray.training.step import World
from tests.angioray.settings import TOY
from tests.toy_cohort import write_toy_cohort

KEY = bytes(range(32))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of patients MRN-0 to MRN-11, two folds by patient; treat it as read-only."""
    folder = tmp_path_factory.mktemp("study")
    cohort = write_toy_cohort(folder / "cohort", key=KEY)
    settings = replace(TOY, view=replace(TOY.view, split_unit="patient"))
    study = Study.plan(cohort, folder / "runs", settings)
    study.freeze(cohort)
    torch.set_num_threads(1)
    executor = Executor(study, cohort, World(torch.device("cpu")))
    for run in study.runs:
        executor.execute(run, lambda *_: None)
    return folder / "runs"
