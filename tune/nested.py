"""Nested sweeps: settings are chosen inside every fold and judged on its untouched part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from angioray.cluster.plan import LaneGroup
from angioray.evaluation.detection import aggregate
from angioray.study.run_folder import RunFolder
from angioray.study.seeds import seed_of
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from preprocess.cohort import Cohort
from preprocess.storage import Storage
from tune.search.fold_sweep import FoldSweep
from tune.search.halving import BASE
from tune.search.order import Order
from tune.trials import Trial, best_of

SCHEMA_VERSION = 1
RETRIES = 5
"""Of a run whose worker is lost; it goes on from its checkpoint."""


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


def judge_folds(
    out: Storage,
    sweeps: Sequence[FoldSweep],
    tables: Sequence[Sequence[Trial]],
    group: Callable[[], LaneGroup],
    say: Callable[[str], None],
) -> list[Judged]:
    """Train base and best of each fold on its whole training part; judge both on the rest.

    Args:
        out: where the studies of both are kept.
        sweeps: of all folds, ended.
        tables: the trials of each.
        group: the resources of a run; called where there is one to do.
        say: is told of each run that ends.

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
    scores = _scores(sweeps[0], studies, group, say)
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
    say: Callable[[str], None],
) -> dict[tuple[int, str], float | None]:
    metric, digest = any_sweep.objective.metric, any_sweep.cohort.digest
    todo = {
        key: (study, name)
        for key, (study, name) in studies.items()
        if not RunFolder.of(study.folder, study.run(name)).finished
    }
    if todo:
        _carry_out(todo, digest, group(), say)
    return {
        key: RunFolder.of(study.folder, study.run(name)).result()["metrics"][metric]
        for key, (study, name) in studies.items()
    }


def _carry_out(
    todo: dict[tuple[int, str], tuple[Study, str]],
    digest: str,
    group: LaneGroup,
    say: Callable[[str], None],
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
