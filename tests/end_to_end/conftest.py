"""One tiny archive and one undisturbed study of it, made by the commands themselves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from command_processes import run
from road import Road

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
    """And on to the report; the undisturbed study that disturbed ones are compared with."""
    steps = {"cv": prepared.study(prepared.runs), "report": ("angioray.report", prepared.runs)}
    for name, arguments in steps.items():
        said = run(*arguments, cwd=prepared.folder)
        assert said.returncode == 0, said.stderr
        prepared.said[name] = said
    yield prepared
    shutil.rmtree(prepared.runs)  # a hundred megabytes of weights
