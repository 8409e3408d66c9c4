"""How to run the study again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import yaml

from angioray.report.page import Block, Listing, Section, Text, plain_table
from angioray.report.published import PAPER
from angioray.report.runs import ReportedRun, ReportedStudy

SETTINGS_FILE = "settings.yaml"


def settings_yaml(study: ReportedStudy) -> str:
    """The study's resolved settings, as ``--config`` takes them."""
    return str(yaml.safe_dump(study.document["settings"], sort_keys=False))


def again_section(study: ReportedStudy) -> Section:
    """Commands, environment and settings."""
    blocks: list[Block] = [
        Text(f"The study follows the protocol of {PAPER}."),
        Listing(title="Commands", text=_commands(study)),
        Text(
            "For each final model a card (use, cohort, metrics, limits) lies in "
            "report/model_cards, as JSON and Markdown."
        ),
        Text(
            f"The settings below are also in report/{SETTINGS_FILE}. The same cohort (digest "
            f"{study.document['cohort']['digest'][:16]}) and settings give the same folds "
            f"(SHA-256 {study.document['splits_sha256'][:16]}); study.json holds them in full."
        ),
    ]
    facts: dict[str, dict[str, int]] = {}
    for run in study.runs:
        for name, value in _environment(run):
            values = facts.setdefault(name, {})
            values[value] = values.get(value, 0) + 1
    if facts:
        rows = [(name, _values(values)) for name, values in facts.items()]
        blocks.append(
            plain_table(
                "environment",
                "Where the runs were made",
                ("What", "Value"),
                rows,
                meanings={"What, Value": "as each run wrote them down when it began"},
            )
        )
    blocks.append(Listing(title="Settings", text=settings_yaml(study)))
    return Section(anchor="again", title="Running it again", blocks=tuple(blocks))


def _commands(study: ReportedStudy) -> str:
    runs = study.folder.name or "runs"
    cohort = PurePath(study.document["cohort"]["folder"]).name
    settings = f"{runs}/report/{SETTINGS_FILE}"
    return "\n".join(
        [
            "# the whole study; the same command continues one that was stopped",
            f"python -m angioray.cv {cohort} --all-folds --config {settings} --runs {runs}",
            "# one run in this process, without Ray",
            f"python -m angioray.train {cohort} {study.runs[0].name} --config {settings} "
            f"--runs {runs}"
            if study.runs
            else "",
            "# this report, and this study beside another",
            f"python -m angioray.report {runs}",
            f"python -m angioray.report {runs} OTHER-RUNS",
            "# the finished models on new cines",
            f"python -m angioray.predict NEW-DICOM --runs {runs} --out predictions",
        ]
    )


def _environment(run: ReportedRun) -> Iterator[tuple[str, str]]:
    document = run.read("environment.json")
    if document is not None:
        yield from _flat(document, "")


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name} {key}".strip())
    elif value is not None:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _values(values: dict[str, int]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return ", ".join(f"{value} ({count} runs)" for value, count in values.items())
