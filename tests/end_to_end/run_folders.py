"""What a study has left on disk so far, read from the outside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kept:
    """A file as it was: its bytes, and when they were written."""

    content: bytes
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> Kept:
        """Read it."""
        return cls(path.read_bytes(), path.stat().st_mtime_ns)


def results(runs: Path) -> dict[str, Kept]:
    """The result of every finished run."""
    return {path.parent.name: Kept.of(path) for path in sorted(runs.glob("*/result.json"))}


def half_done(runs: Path, *, least_steps: int) -> dict[str, int]:
    """Runs with a checkpoint and no result, and the steps in it."""
    found = {}
    for path in sorted(runs.glob("*/checkpoint/state.json")):
        run = path.parent.parent
        steps = json.loads(path.read_text())["step"]
        if steps >= least_steps and not (run / "result.json").exists():
            found[run.name] = steps
    return found


def history(run: Path, *, up_to: int | None = None) -> list[dict[str, float]]:
    """The lines of a run's ``metrics.jsonl``, as far as a step; they hold timings of their own."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if up_to is None or line["step"] <= up_to]


def predictions(runs: Path, names: list[str]) -> dict[str, bytes]:
    """The predictions of some runs, to the last bit."""
    return {name: (runs / name / "predictions.json").read_bytes() for name in names}
