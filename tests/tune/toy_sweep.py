"""A small sweep by the command, and what its folder says."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SPACE = """\
detector.focal_alpha: {low: 0.05, high: 0.95}
detector.optimiser.learning_rate: {low: 1.0e-3, high: 1.0e+2, log: true}
detector.anchors:
  choices:
    small: {ratios: [1.0], scales: [0.5], base_size_strides: 3.0}
    large: {ratios: [1.0, 2.0], scales: [1.0], base_size_strides: 3.0}
"""
SAMPLES = 6
ACTOR = "Trainable"
"""In the title of a Ray process that trains trials."""


@dataclass(frozen=True)
class ToySweep:
    """Where it lies and what it said."""

    folder: Path
    cohort: Path
    said: list[subprocess.CompletedProcess[str]] = field(default_factory=list)

    def command(self, out: Path, *options: object) -> tuple[object, ...]:
        """The arguments that begin it in a folder, or go on with it."""
        inputs = (self.cohort, "--config", self.folder / "toy.yaml")
        what = (
            "--space",
            self.folder / "space.yaml",
            "--detector-view",
            "RCA",
            "--samples",
            SAMPLES,
        )
        return ("tune.sweep", *inputs, *what, "--out", out, *options)

    @property
    def out(self) -> Path:
        """The folder of the undisturbed one."""
        return self.folder / "sweep"


def trials(out: Path) -> list[dict[str, Any]]:
    """The table of a sweep's trials, without the time that they took."""
    rows: list[dict[str, Any]] = json.loads((out / "trials.json").read_text())
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def half_done(out: Path) -> list[str]:
    """The trials that have a checkpoint and have not ended."""
    found = []
    for path in sorted(out.glob("trials/*/trial.json")):
        running = json.loads(path.read_text())["state"] == "running"
        if running and (path.parent / "checkpoint" / "state.json").exists():
            found.append(path.parent.name)
    return found


def ended(out: Path) -> dict[str, str]:
    """How each trial that has ended did so."""
    states = {
        path.parent.name: json.loads(path.read_text())["state"]
        for path in sorted(out.glob("trials/*/trial.json"))
    }
    return {name: state for name, state in states.items() if state != "running"}
