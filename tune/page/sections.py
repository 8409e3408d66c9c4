"""The sections of a sweep's page, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from angioray.report.page import Block, Listing, Section, Text
from tune.page.figures import anchor_shapes, costs, history, learning_curves, rate_courses
from tune.page.importance import importance
from tune.page.parallel import parallel_coordinates
from tune.page.parameter_figures import focal_map, importance_bars
from tune.page.parameters import ShownParameter
from tune.page.sweep import Sweep
from tune.page.tables import (
    anchor_table,
    best_table,
    cost_table,
    data_table,
    failed_table,
    space_table,
    trials_table,
)

BEST_FILE = "best.yaml"


def sections(sweep: Sweep, parameters: Sequence[ShownParameter]) -> tuple[Section, ...]:
    """All of them, as far as there is something to tell."""
    data = (space_table(sweep, parameters), data_table(sweep))
    found = [
        Section(anchor="searched", title="What was searched, and who saw which data", blocks=data)
    ]
    if sweep.best is not None:
        table = best_table(sweep, sweep.best, parameters)
        found.append(Section(anchor="best", title="The best trial", blocks=(table,)))
    if sweep.trials:
        costly = (costs(sweep), cost_table(sweep))
        # Where a member of a population began says little of where it came to.
        alone = sweep.document["population"] is None
        found += [
            _course(sweep),
            *([_settings(sweep, parameters)] if alone else []),
            Section(anchor="cost", title="What it cost", blocks=costly),
        ]
    if sets := sweep.document["anchor_sets"]:
        shapes = (anchor_shapes(sets), anchor_table(sets))
        found.append(Section(anchor="anchors", title="Anchor sets", blocks=shapes))
    if sweep.trials:
        failed = sweep.of_state("failed")
        listed = (trials_table(sweep, parameters), *([failed_table(failed)] if failed else []))
        found.append(Section(anchor="trials", title="All trials", blocks=listed))
    return (*found, _onwards(sweep))


def _course(sweep: Sweep) -> Section:
    curves = learning_curves(sweep)
    blocks: tuple[Block, ...] = (
        (Text("No trial has been judged yet."),) if curves is None else (history(sweep), curves)
    )
    if any(len(trial.rates) > 1 for trial in sweep.trials):
        blocks = (*blocks, rate_courses(sweep))
    return Section(anchor="course", title="How the search went", blocks=blocks)


def _settings(sweep: Sweep, parameters: Sequence[ShownParameter]) -> Section:
    weights = importance(sweep, parameters)
    blocks: list[Block] = []
    if isinstance(weights, str):
        blocks.append(Text(weights))
    else:
        labels = {parameter.setting: parameter.label for parameter in parameters}
        blocks.append(importance_bars(weights, labels, sweep))
        if left_out := [p.label for p in parameters if p.setting not in weights]:
            names = ", ".join(left_out)
            blocks.append(Text(f"Not weighed, for they do not vary in every trial: {names}."))
    if (lines := parallel_coordinates(sweep, parameters)) is not None:
        blocks.append(lines)
    if sweep.is_detector:
        without = Text(
            "There is no map of focal alpha and gamma: they were not both searched as ranges, or "
            "fewer than two trials were judged."
        )
        blocks.append(focal_map(sweep, parameters) or without)
    return Section(anchor="settings", title="Which settings mattered", blocks=tuple(blocks))


def _onwards(sweep: Sweep) -> Section:
    """How to judge the best trial, and the settings that all trials share."""
    name, fold = sweep.folder.name, sweep.document["outer_fold"]
    blocks: list[Block] = []
    if sweep.best is not None:
        command = (
            f"python -m angioray.cv COHORT --all-folds --config {name}/{BEST_FILE} --runs RUNS"
        )
        blocks += [
            Listing(title="Judging the best trial", text=command),
            Text(
                f"Only fold {fold} of it judges on sequences that the search has not seen. Those "
                "that the other folds judge on took part in the search, which flatters them. With "
                "--nested a sweep searches inside of every outer fold, at that many times the cost."
            ),
        ]
    blocks += [
        Listing(title="Searched space", text=_yaml(sweep.document["space"])),
        Listing(title="Base settings", text=_yaml(sweep.document["base"])),
    ]
    return Section(anchor="again", title="Going on from here", blocks=tuple(blocks))


def _yaml(settings: object) -> str:
    return str(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
