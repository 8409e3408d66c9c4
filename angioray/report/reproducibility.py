"""How to run the study again, and how its numbers were made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import yaml

from angioray.evaluation.bootstrap import RESAMPLES
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
            plain_table("environment", "Where the runs were made", ("What", "Value"), rows)
        )
    blocks.append(Listing(title="Settings", text=settings_yaml(study), folded=True))
    return Section(anchor="again", title="Running it again", blocks=tuple(blocks))


def definitions_section() -> Section:
    """What each number means."""
    definitions = [
        (
            "Correct box",
            "IoU with a lesion greater than 0.2. Boxes are matched in falling order of score; each "
            "takes the free lesion that it overlaps most, and a lesion is found once.",
        ),
        ("Recall, precision", "Over all lesions and boxes of a fold's judged frames, score > 0.5."),
        ("Max 1, max 5", "Only the one or five boxes of highest score of each frame count."),
        (
            "At least one",
            "Share of the sequences with lesions that have a correct box among their judged "
            "frames, score > 0.5, at most five boxes per frame.",
        ),
        (
            "AP",
            "COCO's average precision over 101 recall values, IoU > 0.2, at most five boxes per "
            "frame of any score.",
        ),
        (
            "Fixed boxes",
            "Five boxes that are the same in every frame: those that find most lesions on the "
            "training frames of the fold. What a detector finds beyond them, it sees.",
        ),
        (
            "Chosen score",
            "The threshold of a fold that gives the best F1 on the out-of-fold predictions of all "
            "other folds; never chosen on the fold's own validation part.",
        ),
        (
            "Sensitivity at false boxes per frame",
            "Recall at the lowest score threshold that gives, over all judged frames, no more than "
            "so many false boxes per frame (FROC). Boxes of equal score come together.",
        ),
        (
            "Calibration error",
            "Mean distance, over ten bins of confidence weighted by their answers, between mean "
            "confidence and the share that is right.",
        ),
        ("F1 (macro)", "Mean over classes of 2 TP / (2 TP + FP + FN)."),
        ("Cross entropy", "Natural logarithm; probabilities are clipped at 1e-7."),
        (
            "Mean ± std",
            "Over finished folds; the standard deviation is the sample's (n - 1). Undefined "
            "values, such as the precision of no boxes, are left out.",
        ),
        (
            "95 % interval",
            f"Percentiles 2.5 and 97.5 of {RESAMPLES} resamples of the patients on the held-out "
            "frames of all finished folds together. It says how the patients vary, not the "
            "training; pooled frames weigh folds by their size, so that it need not be centred on "
            "the mean over folds. An interval without width says that all patients agree, not that "
            "the value is certain.",
        ),
        (
            "Paper, Cong et al.",
            "Published on other cohorts, so that differences are not differences between methods.",
        ),
    ]
    table = plain_table("definitions", "Definitions", ("Term", "Meaning"), definitions)
    return Section(anchor="reading", title="How to read the numbers", blocks=(table,))


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
