"""Nested sweeps: settings are chosen inside every fold and judged on its untouched part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from angioray.cluster.nodes import beside_this_process
from angioray.cluster.plan import LaneGroup
from angioray.evaluation.detection import aggregate
from angioray.study.run_folder import RunFolder
from angioray.study.seeds import seed_of
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from preprocess.cohort import Cohort
from preprocess.console.tables import LiveTable, say
from preprocess.console.words import counted
from preprocess.storage import Storage
from tune.search.ending import write_ending
from tune.search.fold_sweep import FoldSweep
from tune.search.order import Order
from tune.trials import BASE, Trial, best_of

SCHEMA_VERSION = 1
RETRIES = 5
"""Of a run whose worker is lost; it goes on from its checkpoint."""
LOOK_EVERY_S = 2.0


@dataclass(frozen=True)
class Judged:
    """One fold's verdict, on its validation part.

    Attributes:
        fold: which.
        trial: the best of its sweep.
        chosen_at: its score on the inner validation part, by which it was chosen.
        base: score of the settings as they are.
        best: score of the settings that the fold's sweep has chosen.
    """

    fold: int
    trial: Trial
    chosen_at: float
    base: float | None
    best: float | None


def plan_nested(folders: Sequence[Storage], cohort: Cohort, order: Order) -> list[FoldSweep]:
    """A sweep for every fold, each with a seed of its own.

    Raises:
        ValueError: one of them cannot be.
    """
    return [
        FoldSweep.plan(folder, cohort, replace(order, seed=seed_of(order.seed, k)), k)
        for k, folder in enumerate(folders)
    ]


def search_folds(sweeps: Sequence[FoldSweep], cohort: str) -> list[list[Trial]]:
    """Carry out the sweeps of all folds, as many at once as there is room for.

    Each has a process of its own, beside this one, in which Ray Tune's loop runs.

    Args:
        sweeps: of all folds.
        cohort: its folder, as the user named it.

    Returns:
        The trials of each.

    Raises:
        ValueError: one of them could not be carried out; the others are taken to their ends.
    """
    say(*sweeps[0].first.in_words())
    group = sweeps[0].group(say)
    import ray

    at_once = min(len(sweeps), group.lanes)
    own = replace(group, lanes=group.lanes // at_once)
    say(f"{at_once} of {len(sweeps)} sweeps at once, each with {counted(own.lanes, 'trial')}.")
    task: Any = ray.remote(max_retries=0, **beside_this_process())(_search)
    todo = list(range(len(sweeps)))
    running: dict[Any, int] = {}
    found: dict[int, list[Trial]] = {}
    problems: list[str] = []
    with LiveTable(("fold", "trials ended", "best", "trial 000")) as table:
        while todo or running:
            while todo and len(running) < at_once:
                k = todo.pop(0)
                running[task.remote(sweeps[k], own)] = k
            done, _ = ray.wait(list(running), timeout=LOOK_EVERY_S)
            news = []
            for each in done:
                k = running.pop(each)
                try:
                    found[k] = ray.get(each)
                    news.append(f"fold {sweeps[k].fold}: all trials have ended")
                except ray.exceptions.RayError as problem:
                    cause = getattr(problem, "cause", None) or problem
                    problems.append(f"fold {sweeps[k].fold}: {_last_line(cause)}")
                    news.append(problems[-1])
            rows = [_row(sweeps[k]) for k in sorted(running.values())]
            table.show(f"{len(found)} of {len(sweeps)} sweeps have ended", rows, news=news)
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(sweeps)} sweeps were not carried out; the same command with "
            "--resume goes on:\n  " + "\n  ".join(problems)
        )
    for k, sweep in enumerate(sweeps):
        print(f"Fold {sweep.fold}:", *write_ending(sweep, found[k], cohort), sep="\n")
    return [found[k] for k in range(len(sweeps))]


def _search(sweep: FoldSweep, group: LaneGroup) -> list[Trial]:
    """One sweep, in a worker of Ray."""
    return sweep.carry_out(lambda line: None, lambda standing: None, group)


def _row(sweep: FoldSweep) -> list[str]:
    trials = sweep.folder.read_table()
    ended = [trial for trial in trials if trial.state != "running"]
    best, base = best_of(ended), next((t for t in ended if t.number == BASE), None)
    return [
        str(sweep.fold),
        f"{len(ended)} of {sweep.count} trials",
        f"best {_short(best.score)} by trial {best.number:03d}" if best else "",
        f"trial 000 {_short(base.score)}" if base else "",
    ]


def _last_line(problem: BaseException) -> str:
    return str(problem).strip().rpartition("\n")[2]


def judge_folds(
    out: Storage,
    sweeps: Sequence[FoldSweep],
    tables: Sequence[Sequence[Trial]],
    group: Callable[[], LaneGroup],
) -> list[Judged]:
    """Train base and best of each fold on its whole training part; judge both on the rest.

    Args:
        out: where the studies of both are kept.
        sweeps: of all folds, ended.
        tables: the trials of each.
        group: the resources of a run; called where there is one to do.

    Raises:
        ValueError: a run failed, or a sweep has no finished trial.
    """
    studies: dict[tuple[int, str], tuple[Study, str]] = {}
    bests = []
    for sweep, trials in zip(sweeps, tables, strict=True):
        settings = sweep.best_settings(trials)
        best = best_of(trials)
        assert best is not None
        bests.append(best)
        studies[sweep.fold, "base"] = _study(sweep, out / "base", sweep.objective.base)
        if best.number != BASE:
            studies[sweep.fold, "best"] = _study(sweep, sweep.folder.files / "best", settings)
    scores = _scores(sweeps[0], studies, group)
    return [
        Judged(
            sweep.fold,
            best,
            best.score or 0.0,
            scores[sweep.fold, "base"],
            scores.get((sweep.fold, "best"), scores[sweep.fold, "base"]),
        )
        for sweep, best in zip(sweeps, bests, strict=True)
    ]


def write_nested(out: Storage, sweeps: Sequence[FoldSweep], judged: Sequence[Judged]) -> list[str]:
    """Write ``nested.json`` and say what it says."""
    metric = sweeps[0].objective.metric
    base, best = (
        aggregate([fold.base for fold in judged]),
        aggregate([fold.best for fold in judged]),
    )
    document = {
        "schema_version": SCHEMA_VERSION,
        "metric": metric,
        "folds": [
            {
                "fold": fold.fold,
                "trial": fold.trial.number,
                "params": fold.trial.params,
                "rates": [list(change) for change in fold.trial.rates],
                "inner_validation": fold.chosen_at,
                "base": fold.base,
                "best": fold.best,
                "seen": sweep.objective.seen(sweep.cohort),
            }
            for sweep, fold in zip(sweeps, judged, strict=True)
        ],
        "base": {"mean": base.mean, "std": base.std},
        "best": {"mean": best.mean, "std": best.std},
    }
    out.write_json("nested.json", document)
    rows = [
        f"  fold {fold.fold}: as they are {_short(fold.base)}, trial {fold.trial.number:03d} "
        f"{_short(fold.best)} (chosen at {_short(fold.chosen_at)} inside)"
        for fold in judged
    ]
    return [
        f"{metric} on the validation part of each fold:",
        *rows,
        f"The settings as they are: {_short(base.mean)} +- {_short(base.std)}; settings chosen by "
        f"a sweep: {_short(best.mean)} +- {_short(best.std)}.",
        "In each fold settings were chosen, and both models trained, on its training part alone; "
        "its validation part was seen once, by these two.",
        f"Wrote {out / 'nested.json'}; each fold's sweep lies beside it.",
        f"Next: python -m angioray.report {out / 'base'}",
    ]


def _study(sweep: FoldSweep, folder: Storage, settings: StudySettings) -> tuple[Study, str]:
    """A study of these settings, and its run of the sweep's fold."""
    study = Study.plan(sweep.cohort, folder, settings)
    study.freeze(sweep.cohort)
    run = sweep.objective.run_of(settings)
    return study, replace(run, fold=sweep.fold).name


def _scores(
    any_sweep: FoldSweep,
    studies: dict[tuple[int, str], tuple[Study, str]],
    group: Callable[[], LaneGroup],
) -> dict[tuple[int, str], float | None]:
    metric, digest = any_sweep.objective.metric, any_sweep.cohort.digest
    todo = {
        key: (study, name)
        for key, (study, name) in studies.items()
        if not RunFolder.of(study.folder, study.run(name)).finished
    }
    if todo:
        _carry_out(todo, digest, group())
    return {
        key: RunFolder.of(study.folder, study.run(name)).result()["metrics"][metric]
        for key, (study, name) in studies.items()
    }


def _carry_out(
    todo: dict[tuple[int, str], tuple[Study, str]],
    digest: str,
    group: LaneGroup,
) -> None:
    """Run them as Ray tasks, as many at once as there is room for."""
    import ray

    task: Any = ray.remote(num_cpus=group.cpus, num_gpus=group.gpus, max_retries=RETRIES)(_judge)
    say(f"Now {len(todo)} runs over whole training parts, which the validation parts judge.")
    waiting = {
        task.remote(str(study.folder), name, digest, group.cpus, group.gpus): key
        for key, (study, name) in todo.items()
    }
    failed = []
    while waiting:
        (done,), _ = ray.wait(list(waiting))
        fold, which = waiting.pop(done)
        try:
            problem = ray.get(done)
        except ray.exceptions.RayError as lost:
            problem = str(lost).strip().partition("\n")[0]
        say(f"fold {fold}, {which}: {problem or 'finished'}; {len(waiting)} to come")
        if problem:
            failed.append(f"fold {fold}, {which}: {problem}")
    if failed:
        raise ValueError(
            f"{len(failed)} runs failed; the same command with --resume tries them again:\n  "
            + "\n  ".join(failed)
        )


def _judge(runs: str, name: str, digest: str, cpus: float, gpus: float) -> str:
    """One run in a worker of Ray; why it failed, or nothing."""
    import traceback

    import torch

    from angioray.cluster.nodes import problem_here, share_here
    from angioray.study.executor import Executor, reason_of
    from angioray.training.step import World

    torch.set_num_threads(max(1, int(cpus)))
    study = Study.open(runs)
    run = study.run(name)
    if blind := problem_here(study.cohort_folder, digest):
        return blind
    world = World(torch.device("cuda" if gpus else "cpu"), share=share_here(cpus, gpus))
    folder = RunFolder.of(study.folder, run)
    with folder.locked():
        try:
            executor = Executor(study, Cohort.open(study.cohort_folder), world)
            executor.execute(run, lambda *_: None)
        except Exception as problem:  # noqa: BLE001 - the other runs go on
            reason = reason_of(problem)
            folder.fail(reason, traceback.format_exc())
            return reason
    return ""


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
