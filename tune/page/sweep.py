"""A sweep's folder as its page reads it: what was frozen at the start, and the trials so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preprocess.cohort import phantom_notice
from preprocess.storage import Location, Storage, open_storage
from tune.results import SCHEMA_VERSION, SWEEP_FILE, TRIALS_FILE
from tune.trials import State, Trial, best_of

STATES: tuple[State, ...] = ("finished", "stopped", "running", "failed")
"""In the order in which they are shown."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep, finished or not."""

    folder: Storage
    document: Mapping[str, Any]
    """``sweep.json``."""
    trials: tuple[Trial, ...]
    """By number."""
    costs: Mapping[int, float]
    """Of trials by number, in trials of the base; empty in older sweeps, which did not count it."""

    @classmethod
    def open(cls, location: Location) -> Sweep:
        """Read a sweep's folder; before the first trial it has no trials yet.

        Raises:
            ValueError: it is no sweep, or its files are damaged or of another version.
        """
        folder = open_storage(location)
        path = folder / SWEEP_FILE
        document = _read(folder, SWEEP_FILE)
        if document is None:
            raise ValueError(
                f"{folder} is no sweep: it has no {SWEEP_FILE}. "
                "Start one with `python -m tune.sweep COHORT --out FOLDER`."
            )
        version = document.get("schema_version") if isinstance(document, dict) else None
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"{path} has schema version {version!r}; this version reads {SCHEMA_VERSION}."
            )
        table = folder / TRIALS_FILE
        rows = _read(folder, TRIALS_FILE) or []
        try:
            trials = sorted((Trial.of_json(row) for row in rows), key=lambda trial: trial.number)
            counted = all("cost" in row for row in rows)
            costs = {row["number"]: float(row["cost"]) for row in rows if counted}
        except (KeyError, TypeError, ValueError) as problem:
            raise ValueError(
                f"{table} is no longer what was written ({problem}). Continue the sweep with "
                "--resume: it writes the table anew."
            ) from problem
        return cls(folder=folder, document=document, trials=tuple(trials), costs=costs)

    @property
    def is_detector(self) -> bool:
        """Whether detectors were searched, not the view classifier."""
        return bool(self.document["task"] == "detector")

    @property
    def what(self) -> str:
        """What was searched, in words."""
        if self.is_detector:
            return f"the {self.document['view']} detector, variant {self.document['variant']}"
        return "the view classifier"

    @property
    def banner(self) -> str:
        """What its page begins with, where the cohort shows phantoms; else empty."""
        counts = self.document.get("cohort", {"phantoms": 0, "sequences": 0})
        return phantom_notice(counts["phantoms"], counts["sequences"])

    @property
    def metric(self) -> str:
        """What a score is, such as ``AP@IoU0.20``."""
        return str(self.document["metric"])

    @property
    def rungs(self) -> Sequence[int]:
        """Steps at which trials are judged; the last is the full budget."""
        return [int(rung) for rung in self.document["rungs"]]

    def trainings(self, *trials: Trial) -> float:
        """The operations spent on trials, in whole trainings with the base's settings."""
        spent = sum(trial.steps * self.costs.get(trial.number, 1.0) for trial in trials)
        return spent / self.rungs[-1]

    @property
    def best(self) -> Trial | None:
        """Of the trials that were trained to the end the one of the highest score."""
        return best_of(self.trials)

    @property
    def base(self) -> Trial | None:
        """Trial 0: the settings that the sweep is to improve on."""
        return next((trial for trial in self.trials if trial.number == 0), None)

    @property
    def is_unfinished(self) -> bool:
        """Whether trials run or are yet to come."""
        return bool(self.of_state("running")) or len(self.trials) < self.document["samples"]

    @property
    def comparison_rung(self) -> int | None:
        """The last rung that at least half of the judged trials have reached.

        Scores of different rungs cannot be compared: longer training alone raises them.
        """
        judged = [trial for trial in self.trials if trial.curve]
        reached = {rung: sum(t.score_at(rung) is not None for t in judged) for rung in self.rungs}
        enough = [rung for rung, count in reached.items() if count and 2 * count >= len(judged)]
        return enough[-1] if enough else None

    def of_state(self, state: State) -> list[Trial]:
        """The trials in that state."""
        return [trial for trial in self.trials if trial.state == state]

    def comparable(self) -> list[tuple[Trial, float]]:
        """The trials judged at :attr:`comparison_rung`, with their scores there."""
        rung = self.comparison_rung
        found = [(trial, trial.score_at(rung)) for trial in self.trials if rung is not None]
        return [(trial, score) for trial, score in found if score is not None]


def _read(folder: Storage, name: str) -> Any:
    try:
        return folder.read_json(name)
    except ValueError as problem:  # no JSON, or no text
        raise ValueError(f"{folder / name} is damaged ({problem}).") from problem
