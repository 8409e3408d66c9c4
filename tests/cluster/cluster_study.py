"""A toy study with time to be disturbed, and ways to disturb it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
