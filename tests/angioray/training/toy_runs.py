"""Runs of the toy study in this process, which may be stopped at a step."""

from __future__ import annotations

from pathlib import Path

import torch

from angioray.study.executor import Executor
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from angioray.training.step import Leaving, World, nobody_leaves
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY

CPU = World(torch.device("cpu"))
RUNS = ["view-32-fold0", "detector-RCA-B-64-fold1"]


class StoppedError(Exception):
    """Stands for whatever ends a process in the middle of a run."""


def execute(
    cohort: Cohort,
    folder: Path,
    name: str,
    settings: StudySettings = TOY,
    stop_at: int = -1,
    leaving: Leaving = nobody_leaves,
) -> Path:
    study = Study.plan(cohort, folder, settings)
    study.freeze(cohort)

    def progress(done: int, steps: int, line: dict[str, float]) -> None:
        if done == stop_at:
            raise StoppedError

    Executor(study, cohort, CPU, leaving=leaving).execute(study.run(name), progress)
    return folder / name
