"""Runs of one lane with compiled steps: any number of settings and shapes, each compiled once."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from angioray.study.executor import Executor
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from angioray.training.step import World
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY

COMPILED = replace(
    TOY,
    compile=True,
    precision="fp32",
    detector=replace(TOY.detector, levels=(3, 3), channels=8, steps=1, batch_size=8),
)
DETECTOR = "detector-RCA-B-64-fold0"


@pytest.fixture(autouse=True)
def traced_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Steps become graphs as ever; what runs the graphs is PyTorch itself, not compiled code."""
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    yield
    torch.compiler.reset()


def graphs_of_a_lane(cohort: Cohort, folder: Path, *runs: tuple[str, StudySettings]) -> int:
    """Execute runs one after the other in one process; how many graphs were made."""
    torch.set_num_threads(1)
    torch._dynamo.utils.counters.clear()
    studies = [Study.plan(cohort, folder / str(i), each) for i, (_, each) in enumerate(runs)]
    executor = Executor(studies[0], cohort, World(torch.device("cpu")))
    for study, (name, _) in zip(studies, runs, strict=True):
        executor.turn_to(study)
        executor.execute(study.run(name), lambda *_: None)
    made: int = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    return made


def detectors(**changes: Any) -> list[tuple[str, StudySettings]]:
    """A run for each of some values of one detector setting."""
    ((name, values),) = changes.items()
    detector = COMPILED.detector
    return [(DETECTOR, replace(COMPILED, detector=replace(detector, **{name: v}))) for v in values]


ALPHAS = [i / 10 for i in range(1, 10)]
BATCHES = [8 * i for i in range(1, 10)]
"""A batch of eight more frames needs more tiles."""


def test_settings_and_shapes_beyond_pytorchs_limit(toy_cohort: Cohort, tmp_path: Path) -> None:
    runs = [*detectors(focal_alpha=ALPHAS[:2]), *detectors(batch_size=BATCHES[:2])]
    with torch._dynamo.config.patch(recompile_limit=1):
        assert graphs_of_a_lane(toy_cohort, tmp_path, *runs) == 4


@pytest.mark.slow
def test_nine_alphas_and_nine_numbers_of_tiles(toy_cohort: Cohort, tmp_path: Path) -> None:
    runs = [*detectors(focal_alpha=ALPHAS), *detectors(batch_size=BATCHES)]
    assert graphs_of_a_lane(toy_cohort, tmp_path, *runs) == 18


def test_runs_that_differ_in_no_shape_share_a_graph(toy_cohort: Cohort, tmp_path: Path) -> None:
    rates = [replace(COMPILED.detector.optimiser, learning_rate=rate) for rate in (1e-3, 1e-2)]
    assert graphs_of_a_lane(toy_cohort, tmp_path, *detectors(optimiser=rates)) == 1


def test_both_stages_of_the_classifier_are_compiled(toy_cohort: Cohort, tmp_path: Path) -> None:
    folds = [(f"view-32-fold{k}", COMPILED) for k in range(2)]
    assert graphs_of_a_lane(toy_cohort, tmp_path, *folds) == 2
