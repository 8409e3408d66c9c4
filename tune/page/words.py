"""The sentences of a sweep's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preprocess.console.progress import duration
from preprocess.console.words import counted
from tune.page.parameters import ShownParameter
from tune.page.sweep import Sweep

SEARCHES = {
    "tpe": "Optuna's TPE",
    "random": "random search",
    "grid": "all combinations of a grid",
    "pbt": "population based training",
}


def subtitle(sweep: Sweep) -> str:
    """Search, size and seed in one line."""
    of = sweep.document
    search = SEARCHES.get(of["search"], of["search"])
    return (
        f"{search[0].upper()}{search[1:]}, {counted(of['samples'], 'trial')} of up to "
        f"{sweep.rungs[-1]:,} steps, input {of['size']} px, seed {of['seed']}; written by angioray"
    )


def headline(sweep: Sweep, parameters: list[ShownParameter]) -> tuple[str, ...]:
    """What was searched, who saw which data, what came out and what it cost."""
    sentences = [_searched(sweep, parameters), _seen(sweep)]
    if (outcome := _outcome(sweep)) is not None:
        sentences.append(outcome)
    if sweep.trials:
        sentences.append(_cost(sweep))
    return tuple(sentences)


def notices(sweep: Sweep) -> tuple[str, ...]:
    """What is missing or weakens the numbers, most serious first."""
    found = []
    fold, samples = sweep.document["outer_fold"], sweep.document["samples"]
    running, failed = sweep.of_state("running"), sweep.of_state("failed")
    if sweep.is_unfinished:
        found.append(
            f"The sweep is not finished: {len(sweep.trials) - len(running)} of "
            f"{counted(samples, 'trial')} have ended and {len(running)} are under way. If it was "
            "stopped, the same command with --resume continues it."
        )
    if sweep.best is None:
        found.append("No trial has been trained to the end, so that there is no best one yet.")
    else:
        chosen = sweep.document["seen"]["inner_validation"]["patients"]
        found.append(
            f"The best score is the highest of many on the same {counted(chosen, 'patient')}, and "
            f"flattered by having been picked. Only outer fold {fold}, which no trial has seen, "
            "can judge it."
        )
    if both := sweep.document["seen"]["outer"].get("patients_also_inside"):
        found.append(
            f"{counted(both, 'patient')} of outer fold {fold} have other sequences in the parts "
            "that trials have seen, for the study splits by sequence; that flatters even this fold."
        )
    if failed:
        trials = counted(len(failed), "trial")
        found.append(f"{trials} failed; the reasons are below the table of all trials.")
    return tuple(found)


def _part(counts: Mapping[str, Any]) -> str:
    """``23 sequences of 9 patients``."""
    return f"{counted(counts['sequences'], 'sequence')} of {counted(counts['patients'], 'patient')}"


def _searched(sweep: Sweep, parameters: list[ShownParameter]) -> str:
    names = ", ".join(parameter.label for parameter in parameters) or "nothing"
    sentence = f"Searched settings of {sweep.what}: {names}."
    rungs = sweep.rungs
    if (population := sweep.document["population"]) is not None:
        sentence += (
            f" After each of {len(rungs)} parts of the training but the last, the worst "
            f"{population['share']:.0%} of the members took over weights and learning rate of the "
            f"best, and changed the rate by a factor of {population['factor']:g}."
        )
    elif len(rungs) > 1:
        early = " and ".join(f"{rung:,}" for rung in rungs[:-1])
        sentence += (
            f" After {early} of {rungs[-1]:,} steps about one trial in "
            f"{sweep.document['reduction']:g} went on, the best so far."
        )
    return sentence


def _seen(sweep: Sweep) -> str:
    seen, fold = sweep.document["seen"], sweep.document["outer_fold"]
    return (
        f"Trials were trained on {_part(seen['inner_train'])} and scored on "
        f"{_part(seen['inner_validation'])}, all from the training part of outer fold {fold}. No "
        f"trial has seen the {_part(seen['outer'])} that fold {fold} holds out."
    )


def _outcome(sweep: Sweep) -> str | None:
    best, base = sweep.best, sweep.base
    if best is None or best.score is None:
        return None
    sentence = f"The best is trial {best.number} with {sweep.metric} {best.score:.3f}"
    if base is best:
        return f"{sentence}: {best.origin}, which nothing has surpassed."
    if base is None or base.state != "finished" or base.score is None:
        return f"{sentence}. Trial 0 was not trained to the end, so that the two do not compare."
    gain = best.score - base.score
    return f"{sentence}, {gain:.3f} more than trial 0 ({base.origin}: {base.score:.3f})."


def _cost(sweep: Sweep) -> str:
    steps = sum(trial.steps for trial in sweep.trials)
    full = len(sweep.trials) * sweep.rungs[-1]
    seconds = sum(trial.seconds for trial in sweep.trials)
    trainings = f"{sweep.trainings(*sweep.trials):.1f}"
    spent = f", the operations of {trainings} trainings of trial 0" if sweep.costs else ""
    return (
        f"{counted(len(sweep.trials), 'trial')} took {steps:,} steps, {100 * steps / full:.0f} % "
        f"of what training each to the end takes{spent}, and {duration(seconds)} of computing."
    )
