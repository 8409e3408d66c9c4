"""A toy study with time to be disturbed, and ways to disturb it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from angioray.study.executor import Executor
from angioray.study.settings import Settings
from angioray.study.study import Study
from angioray.training.step import World
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY
from tests.end_to_end.command_processes import Running

TRAINING_WORKER = "TrainWorker"
"""In the title of a Ray process that trains."""

SETTINGS = replace(
    TOY,
    tasks=("detector",),
    detector=replace(TOY.detector, steps=60, batch_size=8),
    checkpoint_every=10,
)
RUNS = [f"detector-{view}-B-64-fold{fold}" for view in ("LCA", "RCA") for fold in (0, 1)]


@dataclass(frozen=True)
class ToyStudy:
    """Its inputs, and its predictions where nothing happened.

    Attributes:
        cohort: the cohort's folder, or its location in a store.
        settings: a YAML file.
        predictions: of every run, to the last bit.
    """

    cohort: Path | str
    settings: Path
    predictions: dict[str, bytes]

    def command(self, runs: Path, *options: object) -> tuple[object, ...]:
        """The arguments that begin or continue it."""
        fixed = ("angioray.cv", self.cohort, "--config", self.settings, "--all-folds")
        return (*fixed, "--runs", runs, *options)


def undisturbed(cohort: Cohort, folder: Path, settings: Settings) -> ToyStudy:
    """Carry the study out in this process, one run after the other, without Ray."""
    file = folder / "toy.yaml"
    file.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(settings)))))
    torch.set_num_threads(1)  # as a lane has it
    runs = folder / "runs"
    study = Study.plan(cohort, runs, settings)
    study.freeze(cohort)
    executor = Executor(study, cohort, World(torch.device("cpu")))
    for run in study.runs:
        executor.execute(run, lambda *_: None)
    predictions = {name: (runs / name / "predictions.json").read_bytes() for name in RUNS}
    return ToyStudy(cohort.folder, file, predictions)


def training_workers(command: Running) -> list[Any]:
    """The processes of a command that train."""
    return [
        process
        for process in command.descendants()
        if TRAINING_WORKER in " ".join(process.cmdline())
    ]


def fill(disk: Path) -> Path:
    """Write until nothing more fits; the file that must go again."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return filler
