"""The tables of a sweep's page: space, data, the best trial, costs, anchor sets, all trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from angioray.report.page import plain_table
from angioray.report.tables import NOTHING, Row, Table
from preprocess.console.progress import duration
from tune.page.parameters import ShownParameter, shown
from tune.page.sweep import STATES, Sweep
from tune.trials import Trial


def space_table(sweep: Sweep, parameters: Sequence[ShownParameter]) -> Table:
    """What every setting might be."""
    conditional = any(parameter.condition for parameter in parameters)
    most = sweep.document.get("most_cost")
    return plain_table(
        "space",
        "What was searched",
        ("Setting", "Searched", "Trial 0", *(["Only if"] if conditional else [])),
        [
            (
                p.setting,
                p.range,
                p.shown(sweep.base),
                *([p.condition or NOTHING] if conditional else []),
            )
            for p in parameters
        ],
        note="Ranges include the values of trial 0. Everything else stayed as in the base "
        "settings, which are at the end of this page."
        + (f" Nothing was tried that costs more than {shown(most)} times trial 0." if most else ""),
    )


def data_table(sweep: Sweep) -> Table:
    """Which part of the data served which purpose."""
    seen, fold = sweep.document["seen"], sweep.document["outer_fold"]
    parts = (
        ("Inner training part", "inner_train", "every trial was trained on it"),
        ("Inner validation part", "inner_validation", "every trial was scored on it, at each rung"),
        (f"Held out by outer fold {fold}", "outer", "seen by no trial; for judging the best one"),
    )
    return plain_table(
        "data",
        "Who saw which data",
        ("Part", "Patients", "Sequences", "What for"),
        [
            (name, str(seen[key]["patients"]), str(seen[key]["sequences"]), use)
            for name, key, use in parts
        ],
        note=f"Digest of the cohort: {sweep.document['cohort_digest'][:16]}.",
    )


def best_table(sweep: Sweep, best: Trial, parameters: Sequence[ShownParameter]) -> Table:
    """The best trial's settings beside those of trial 0."""
    trials = [best] if sweep.base is None or sweep.base is best else [sweep.base, best]
    first = trials[0]
    same = [p.label for p in parameters if p.shown(best) == p.shown(first)]
    return plain_table(
        "best",
        "The best trial beside trial 0" if first is not best else "The best trial",
        ("Setting or result", *(f"Trial {trial.number}, {trial.origin}" for trial in trials)),
        [
            (sweep.metric, *map(_score, trials)),
            *((p.setting, *(p.shown(trial) for trial in trials)) for p in parameters),
            ("Steps", *(f"{trial.steps:,}" for trial in trials)),
            *([("Cost", *(shown(sweep.costs[t.number]) for t in trials))] if sweep.costs else []),
            ("Time", *(duration(trial.seconds) for trial in trials)),
        ],
        note=f"The same in both: {', '.join(same)}." if same and first is not best else "",
    )


def cost_table(sweep: Sweep) -> Table:
    """Steps and time by how trials ended."""
    groups = [(state, sweep.of_state(state)) for state in STATES if sweep.of_state(state)]
    counted = ["Operations"] if sweep.costs else []
    return plain_table(
        "cost",
        "Steps and time by how trials ended",
        ("Trials", "Number", "Steps", "Of their full budget", *counted, "Time"),
        [_cost(sweep, *group) for group in [*groups, ("all", sweep.trials)]],
        note=f"The full budget of a trial is {sweep.rungs[-1]:,} steps."
        + (" Operations are in whole trainings of trial 0." if counted else ""),
    )


def anchor_table(sets: Sequence[Mapping[str, Any]]) -> Table:
    """The anchor sets and the recall that each allows."""
    thresholds = list(sets[0]["best_possible_recall"])
    columns = ("Set", "Per cell", "Ratios (height over width)", "Scales", "Base size (strides)")
    recalls = (f"Recall at IoU {iou}" for iou in thresholds)
    return plain_table(
        "anchor_sets",
        "Best possible recall of each anchor set",
        (*columns, *recalls, "Mean best IoU"),
        [
            (
                s["name"],
                str(len(s["ratios"]) * len(s["scales"])),
                shown(s["ratios"]),
                shown(s["scales"]),
                shown(s["base_size_strides"]),
                *(f"{100 * s['best_possible_recall'][iou]:.1f} %" for iou in thresholds),
                f"{s['mean_best_iou']:.3f}",
            )
            for s in sets
        ],
        note="Over the boxes of the inner training part, before any training: the share with an "
        "anchor that overlaps it so far, and the mean over boxes of the best overlap. A box that "
        "no anchor resembles is hard to learn, whatever the other settings are.",
    )


def trials_table(sweep: Sweep, parameters: Sequence[ShownParameter]) -> Table:
    """Every trial; its settings come last, for there may be more of them than a page is wide."""
    labels = (parameter.label for parameter in parameters)
    cost, note = ["Cost"] if sweep.costs else [], ""
    if cost:
        note = " A cost is that of the whole trial in counted operations: trial 0 has 1."
    return Table(
        name="trials",
        caption="All trials: first those trained to the end, by score, then by steps",
        columns=("Trial", "State", "Score", "Steps", *cost, "Time", "From", *labels),
        rows=tuple(_trial_row(t, sweep, parameters) for t in sorted(sweep.trials, key=_rank)),
        note="Scores can be compared between trials of as many steps. Trial 0 is shaded." + note,
    )


def failed_table(failed: Sequence[Trial]) -> Table:
    """Why trials failed."""
    rows = [(str(trial.number), trial.reason or "unknown") for trial in failed]
    return plain_table("failed", "Failed trials", ("Trial", "Reason"), rows)


def _trial_row(trial: Trial, sweep: Sweep, parameters: Sequence[ShownParameter]) -> Row:
    cells = (
        str(trial.number),
        "finished, best" if trial is sweep.best else trial.state,
        _score(trial),
        f"{trial.steps:,}",
        *([shown(sweep.costs[trial.number])] if sweep.costs else []),
        duration(trial.seconds),
        trial.origin,
        *(parameter.shown(trial) for parameter in parameters),
    )
    return Row(cells, "baseline" if trial is sweep.base else "")


def _cost(sweep: Sweep, name: str, trials: Sequence[Trial]) -> tuple[str, ...]:
    steps = sum(trial.steps for trial in trials)
    share = steps / (sweep.rungs[-1] * len(trials))
    seconds = sum(trial.seconds for trial in trials)
    spent = [f"{sweep.trainings(*trials):.1f}"] if sweep.costs else []
    return name, str(len(trials)), f"{steps:,}", f"{100 * share:.0f} %", *spent, duration(seconds)


def _score(trial: Trial) -> str:
    return NOTHING if trial.score is None else f"{trial.score:.3f}"


def _rank(trial: Trial) -> tuple[int, int, float, int]:
    # Where states are printed in a row, those that run come before those that were stopped.
    order = ("finished", "running", "stopped", "failed").index(trial.state)
    return order, -trial.steps, -1.0 if trial.score is None else -trial.score, trial.number
