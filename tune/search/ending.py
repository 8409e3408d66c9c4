"""The end of a sweep: the best settings, and which data were used for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from preprocess.console.tables import say
from tune.page.writing import write_page
from tune.results import BEST_FILE, TABLE_FILE
from tune.search.fold_sweep import FoldSweep
from tune.search.progress import SweepProgress, in_words
from tune.trials import BASE, Trial, best_of


def carry_out(sweep: FoldSweep, cohort: str) -> list[Trial]:
    """Search, show how far it is, and write and print what was found; all trials.

    Args:
        sweep: the sweep.
        cohort: its folder, as the user named it.

    Raises:
        ValueError: no trial was finished.
    """
    say(f"Fold {sweep.fold}, in {sweep.folder.files}:")
    with SweepProgress(sweep.order.samples, sweep.rungs, sweep.objective.metric) as progress:
        trials = sweep.carry_out(say, progress.show)
    print(*write_ending(sweep, trials, cohort), sep="\n")
    return trials


def write_ending(sweep: FoldSweep, trials: Sequence[Trial], cohort: str) -> list[str]:
    """Write ``best.yaml`` and the page, and say what the sweep has found.

    Args:
        sweep: the sweep.
        trials: all of it.
        cohort: its folder, as the user named it.

    Raises:
        ValueError: no trial was finished.
    """
    settings = sweep.best_settings(trials)
    found, seen = _found(sweep, trials), in_words_seen(sweep)
    judge = _judge(sweep, cohort)
    comment = [*found, *seen, "It is judged without having been seen by:", f"  {judge}"]
    sweep.folder.write_best(trials, settings, comment)
    files = sweep.folder.files
    page = write_page(files)
    return [
        *found,
        *seen,
        f"Wrote {files / BEST_FILE}, {files / TABLE_FILE} and {page}.",
        f"Next: {judge}",
        f"  Fold {sweep.fold} alone judges these settings: the validation parts of the other folds "
        "have helped to choose them.",
    ]


def in_words_seen(sweep: FoldSweep) -> list[str]:
    """Who has seen what, as sentences."""
    seen = sweep.objective.seen(sweep.cohort)
    inner, chosen, outer = (seen[part] for part in ("inner_train", "inner_validation", "outer"))
    lines = [
        f"Trials trained on {_count(inner)} and were chosen by {_count(chosen)}, no patient in "
        f"both; fold {sweep.fold}'s validation part, {_count(outer)}, was seen by none."
    ]
    if both := outer["patients_also_inside"]:
        lines.append(
            f"But {both} of its patients have other sequences inside, for views are split by "
            "sequence as in the paper; `--view.split_unit patient` keeps them apart."
        )
    return lines


def _found(sweep: FoldSweep, trials: Sequence[Trial]) -> list[str]:
    best, base = best_of(trials), next(t for t in trials if t.number == BASE)
    assert best is not None
    metric = sweep.objective.metric
    counts = ", ".join(
        f"{sum(trial.state == state for trial in trials)} {state}"
        for state in ("finished", "stopped", "failed")
    )
    spent = sum(trial.steps for trial in trials) / (len(trials) * sweep.rungs[-1])
    lines = [
        f"{len(trials)} trials ({counts}) took {spent:.0%} of the steps of as many whole ones."
    ]
    if best is base:
        lines.append(
            f"None was better than trial 000, the settings as they are: {metric} {best.score:.3f}."
        )
        return lines
    against = "failed" if base.state != "finished" else f"{base.score:.3f}"
    lines.append(
        f"The best is trial {best.number:03d}: {metric} {best.score:.3f}; trial 000, the settings "
        f"as they are: {against}. {in_words(best)}"
    )
    return lines


def _judge(sweep: FoldSweep, cohort: str) -> str:
    """The command that judges the best settings on the fold that no trial saw."""
    best = sweep.folder.files / BEST_FILE
    if sweep.fold == 0:  # what angioray.cv does without --all-folds
        return f"python -m angioray.cv {cohort} --config {best} --runs judged"
    run = sweep.objective.run_of(sweep.objective.base)
    name = run.name.replace("fold0", f"fold{sweep.fold}")
    return f"python -m angioray.train {cohort} {name} --config {best} --runs judged"


def _count(part: dict[str, Any]) -> str:
    return f"{part['sequences']} sequences of {part['patients']} patients"
