"""The files of a sweep: its frozen beginning, the table of trials, and the best settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from angioray.study.differences import describe_difference, differences
from preprocess.cohort import Cohort
from preprocess.storage import Storage
from preprocess.storage.csv_text import csv_text
from tune.space.space import plain
from tune.trials import Trial, best_of

SCHEMA_VERSION = 2
SWEEP_FILE = "sweep.json"
TRIALS_FILE = "trials.json"
TABLE_FILE = "trials.csv"
BEST_FILE = "best.yaml"
MAY_CHANGE = {"samples", "cohort"}
"""A sweep that goes on may be given more trials. The cohort is known by its digest."""


@dataclass(frozen=True)
class SweepFolder:
    """A sweep's folder.

    Attributes:
        files: what lies in it.
    """

    files: Storage

    @property
    def trials(self) -> str:
        """Where the trials lie, a run folder for each."""
        return str(self.files / "trials")

    def begun(self) -> dict[str, Any] | None:
        """What the sweep here was begun with; None where there is none.

        Raises:
            ValueError: it is damaged, or of another schema version.
        """
        path = self.files / SWEEP_FILE
        try:
            document: dict[str, Any] | None = self.files.read_json(SWEEP_FILE)
        except ValueError as problem:
            raise ValueError(
                f"{path} is damaged ({problem}). Put it back from a copy, or remove it "
                "and give the same command again: it keeps the trials."
            ) from problem
        if document is not None and document.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"{path} has schema version {document.get('schema_version')}; this "
                f"version reads {SCHEMA_VERSION}. Go on with the version that began the sweep."
            )
        return document

    def freeze(self, document: Mapping[str, Any], cohort: Cohort) -> None:
        """Write what the sweep is begun with, or check that it is the one here.

        Args:
            document: what it is begun with.
            cohort: what it is begun on.

        Raises:
            ValueError: another sweep is here; the differences are named.
        """
        given = json.loads(json.dumps(document))
        if (kept := self.begun()) is not None:
            # A population is a whole: with another member all would have gone otherwise.
            may_change = MAY_CHANGE if given["population"] is None else MAY_CHANGE - {"samples"}
            old, new = (
                {key: value for key, value in each.items() if key not in may_change}
                for each in (kept, given)
            )
            changed = cohort.changes(
                str(old.pop("cohort_digest", "")), kept.get("cohort", {}).get("contents")
            )
            new.pop("cohort_digest")
            words = [f"the cohort has {changed}"] if changed else []
            words += [describe_difference(*each) for each in differences(old, new)[:5]]
            if words:
                raise ValueError(
                    f"{self.files} holds a sweep that was begun with other inputs: "
                    f"{'; '.join(words)}. Give "
                    "the same ones to continue it, or another `--out` for a new sweep."
                )
        self.files.write_json(SWEEP_FILE, given)

    def write_table(self, trials: Sequence[Trial]) -> None:
        """``trials.json`` and ``trials.csv``: every trial as it stands."""
        rows = [trial.as_json() for trial in trials]
        self.files.write_json(TRIALS_FILE, rows)
        self.files.write_text(TABLE_FILE, _as_csv(rows))

    def read_table(self) -> list[Trial]:
        """The trials as last written; none where nothing was."""
        rows = self.files.read_json(TRIALS_FILE) or []
        return [Trial.of_json(row) for row in rows]

    def write_best(self, trials: Sequence[Trial], settings: Any, comment: Sequence[str]) -> None:
        """The best settings as YAML, with where they come from as a comment."""
        assert best_of(trials) is not None
        head = "".join(f"# {line}\n" for line in comment)
        self.files.write_text(BEST_FILE, head + yaml.safe_dump(plain(settings), sort_keys=False))


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row["params"]))
    columns = ["number", "state", "origin", "score", "steps", "cost", "seconds", "reason"]
    columns += ["rates"] if any(row["rates"] for row in rows) else []
    table = (
        [*(row[column] for column in columns), *(row["params"].get(name) for name in names)]
        for row in rows
    )
    return csv_text([*columns, *names], table)
