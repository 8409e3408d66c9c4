"""The files of a sweep: what it was begun with, the table of its trials, and the best settings."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from angioray.study import differences
from preprocess.atomic import write_json, write_text
from tune.search import Trial, best_of
from tune.space import plain

SCHEMA_VERSION = 1
MAY_CHANGE = {"samples", "at_once"}
"""A sweep that goes on may be given more trials, and keeps how many it began with at once."""


@dataclass(frozen=True)
class SweepFolder:
    """A sweep's folder."""

    path: Path

    @property
    def document(self) -> Path:
        """What it was begun with."""
        return self.path / "sweep.json"

    @property
    def trials(self) -> Path:
        """A run folder per trial."""
        return self.path / "trials"

    @property
    def best(self) -> Path:
        """The best settings."""
        return self.path / "best.yaml"

    def begun(self) -> dict[str, Any] | None:
        """What the sweep here was begun with; None where there is none.

        Raises:
            ValueError: it is damaged, or of another schema version.
        """
        if not self.document.is_file():
            return None
        try:
            document: dict[str, Any] = json.loads(self.document.read_text("utf-8"))
        except ValueError as problem:
            raise ValueError(
                f"{self.document} is damaged ({problem}). Put it back from a copy, or remove it "
                "and give the same command again: it keeps the trials."
            ) from problem
        if document.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"{self.document} has schema version {document.get('schema_version')}; this "
                f"version reads {SCHEMA_VERSION}. Go on with the version that began the sweep."
            )
        return document

    def freeze(self, document: Mapping[str, Any]) -> None:
        """Write what the sweep is begun with, or check that it is the one here.

        Raises:
            ValueError: another sweep is here; the differences are named.
        """
        given = json.loads(json.dumps(document))
        if (kept := self.begun()) is not None:
            old, new = (
                {key: value for key, value in each.items() if key not in MAY_CHANGE}
                for each in (kept, given)
            )
            if different := differences(old, new):
                words = "; ".join(
                    f"{name} was {was!r} and is now {now!r}" for name, was, now in different[:5]
                )
                raise ValueError(
                    f"{self.path} holds a sweep that was begun with other inputs: {words}. Give "
                    "the same ones to continue it, or another `--out` for a new sweep."
                )
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.document, given)

    def write_table(self, trials: Sequence[Trial]) -> None:
        """``trials.json`` and ``trials.csv``: every trial as it stands."""
        rows = [trial.as_json() for trial in trials]
        write_json(self.path / "trials.json", rows)
        write_text(self.path / "trials.csv", _as_csv(rows))

    def write_best(self, trials: Sequence[Trial], settings: Any, comment: Sequence[str]) -> None:
        """The best settings as YAML, with where they come from as a comment."""
        assert best_of(trials) is not None
        head = "".join(f"# {line}\n" for line in comment)
        write_text(self.best, head + yaml.safe_dump(plain(settings), sort_keys=False))


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row["params"]))
    columns = ["number", "state", "origin", "score", "steps", "seconds", "reason"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *names])
    for row in rows:
        params = [row["params"].get(name) for name in names]
        writer.writerow([*(row[column] for column in columns), *params])
    return text.getvalue()
