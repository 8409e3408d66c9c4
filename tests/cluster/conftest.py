"""A toy study with time to be disturbed, and what it ends with if nobody disturbs it."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
import yaml

from angioray.study.executor import Executor
from angioray.study.study import Study
from angioray.training.step import World
from preprocess.cohort import Cohort
from tests.cluster.cluster_study import RUNS, SETTINGS, ToyStudy


@pytest.fixture(scope="session")
def toy_study(toy_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> ToyStudy:
    """Carried out in this process, one run after the other, without Ray."""
    folder = tmp_path_factory.mktemp("undisturbed")
    settings = folder / "toy.yaml"
    settings.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(SETTINGS)))))
    torch.set_num_threads(1)  # as a lane has it
    runs = folder / "runs"
    study = Study.plan(toy_cohort, runs, SETTINGS)
    study.freeze(toy_cohort)
    executor = Executor(study, toy_cohort, World(torch.device("cpu")))
    for run in study.runs:
        executor.execute(run, lambda *_: None)
    return ToyStudy(
        toy_cohort.folder,
        settings,
        {name: (runs / name / "predictions.json").read_bytes() for name in RUNS},
    )
