"""One tiny archive, and undisturbed studies of it: by the commands, and in this process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from angioray.study.executor import Executor
from angioray.study.settings import settings_from_dict
from angioray.study.study import Study
from angioray.training.step import World
from preprocess.cohort import Cohort
from tests.end_to_end.command_processes import run
from tests.end_to_end.road import Road

TINY = """\
folds: 2
view:
  sizes: [64]
  backbone: resnet18
  weights: none
  epochs: 10
  frozen_epochs: 1
  frames_per_sequence: 3
  batch_size: 8
detector:
  variants: [B]
  size: 64
  backbone: resnet18
  weights: none
  frozen_batch_norm: false
  levels: [3, 4]
  channels: 32
  anchors: {ratios: [1.0], scales: [0.5], base_size_strides: 3.0}
  steps: 30
  batch_size: 4
checkpoint_every: 5
"""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Road:
    """From nothing to a cohort of six patients; treat it as read-only."""
    road = Road(tmp_path_factory.mktemp("road"), {})
    archive, cohort = road.archive, road.cohort
    road.settings.write_text(TINY)
    size = ("--patients", 6, "--sequences", 12, "--frames_min", 8, "--frames_max", 10)
    labels = ("--labels", archive / "labels" / "sequences.csv")
    key = ("--rois", archive / "labels" / "rois", "--key", archive / "phantom.key")
    steps = {
        "phantom": (archive, *size),
        "ingest": (archive / "dicom", *labels, *key, "--out", cohort),
        "propagate": (cohort,),
        "summary": (cohort,),
    }
    for name, arguments in steps.items():
        said = run("preprocess", name, *arguments, cwd=road.folder)
        assert said.returncode == 0, said.stderr
        road.said[name] = said
    return road


@pytest.fixture(scope="session")
def road(prepared: Road) -> Iterator[Road]:
    """And on to the report, by the commands."""
    study = prepared.study(prepared.runs, "--track", "mlflow")
    steps = {"cv": study, "report": ("angioray.report", prepared.runs)}
    for name, arguments in steps.items():
        said = run(*arguments, cwd=prepared.folder)
        assert said.returncode == 0, said.stderr
        prepared.said[name] = said
    yield prepared
    shutil.rmtree(prepared.runs)  # a hundred megabytes of weights


@pytest.fixture(scope="session")
def undisturbed(prepared: Road, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The runs of the same study, carried out one after the other in this process, without Ray.

    Studies that were disturbed are compared with it.
    """
    cohort = Cohort.open(prepared.cohort)
    settings = settings_from_dict(yaml.safe_load(prepared.settings.read_text()))
    runs = tmp_path_factory.mktemp("undisturbed") / "runs"
    torch.set_num_threads(1)  # as a lane has it
    study = Study.plan(cohort, runs, settings)
    study.freeze(cohort)
    executor = Executor(study, cohort, World(torch.device("cpu")))
    for planned in study.runs:
        executor.execute(planned, lambda *_: None)
    yield runs
    shutil.rmtree(runs)
