"""``python -m tune.sweep``: searches settings without using the fold that will judge them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from angioray import CONFIGS
from angioray.cluster.lane_settings import LaneSettings
from angioray.study.settings import StudySettings, Variant
from preprocess.console.command_line import run as run_command
from preprocess.console.command_line import usage
from preprocess.console.settings import Count, CountOrZero, Positive, Seed
from tune.search.settings import HalvingSettings, PopulationSettings, Search


@usage(
    positional=("cohort",),
    common=("detector.steps", "view.epochs", "population.intervals"),
    configs=CONFIGS,
)
def sweep(
    settings: StudySettings,
    lanes: LaneSettings,
    halving: HalvingSettings,
    population: PopulationSettings,
    cohort: str | None = None,
    task: Literal["detector", "view"] = "detector",
    detector_view: str = "",
    variant: Variant | None = None,
    samples: Count = 40,
    search: Search = "tpe",
    space: Path | None = None,
    search_seed: Seed = 0,
    fold: CountOrZero = 0,
    out: str = "sweep",
    address: str | None = None,
    nested: bool = False,
    exact: bool = False,
    most_cost: Positive | None = None,
    track: Literal["mlflow", "wandb"] | None = None,
    plan: bool = False,
    resume: bool = False,
) -> None:
    """Search a detector's or the view classifier's settings on whatever Ray cluster is there.

    Trials learn and are judged within the training part of one fold, cut once more by patients.
    Trial 0 has the settings as they are. Hopeless trials are stopped early.

    Args:
        settings: the study's settings, which all but the searched ones stay at.
        lanes: how trials share the cluster.
        halving: when hopeless trials are stopped.
        population: how the members of a population take over from each other.
        cohort: the cohort folder; without it ANGIORAY_COHORT, or `cohort`.
        task: whose settings are searched.
        detector_view: whose detector, such as RCA; may be left out where there is one.
        variant: of the detector; the first of `detector.variants` if left out.
        samples: trials in all.
        search: Optuna's TPE, random draws, or every point of a grid; or `pbt`, population based
            training: `samples` members train to the end side by side, none is stopped, and the
            learning rate is searched as a course over the steps.
        space: a YAML file that says what is searched; the default covers losses, anchors,
            optimiser and augmentation.
        search_seed: of the search; with `--exact` the same one gives the same trials.
        fold: the fold whose validation part no trial sees, so that it can judge afterwards.
        out: the sweep's folder; on a cluster, on storage that every node sees.
        address: of a Ray cluster; `auto` is the one that this machine belongs to. Without it
            RAY_ADDRESS, or a cluster started here for as long as the command runs.
        nested: a sweep inside every fold, whose best settings that fold's validation part then
            judges beside the settings as they are: what tuning is worth, without a leak.
        exact: a sweep that can be repeated: trials are drawn in batches of 8, on one GPU as on
            many, and none is stopped early, for both depend on which trial ends first.
        most_cost: do not try settings whose steps cost more than so many times the base's.
        track: log every trial in MLflow (MLFLOW_TRACKING_URI, or a file of this folder) or in
            Weights & Biases, as one group.
        plan: show trials, rungs, hours and GPUs, and start nothing.
        resume: go on with the sweep in that folder; finished trials stay.

    Examples:
      python -m tune.sweep cohort --config configs/paper.yaml --detector-view RCA --samples 40
      python -m tune.sweep cohort --config configs/paper.yaml --detector-view RCA --plan
      python -m tune.sweep cohort --config configs/paper.yaml --detector-view RCA --resume
      python -m tune.sweep demo/cohort --config configs/demo.yaml --task view --samples 20
      python -m tune.sweep cohort --detector.steps 900 --space my.yaml --detector-view LCA
      python -m tune.sweep cohort --config configs/paper.yaml --detector-view RCA --nested --out n
      python -m tune.sweep cohort --detector-view LCA --search pbt --samples 8 --out course
    """
    from angioray.study.run_folder import alone_in
    from preprocess.cohort import Cohort, cohort_location
    from preprocess.storage import absolute, open_storage
    from tune.nested import judge_folds, plan_nested, search_folds, write_nested
    from tune.results import SWEEP_FILE
    from tune.search.ending import carry_out
    from tune.search.fold_sweep import FoldSweep
    from tune.search.order import Order
    from tune.search.plan import print_plan

    if task == "view" and detector_view:
        raise ValueError(
            "The classifier is one for all views: leave out `--detector-view`, or `--task`."
        )
    if nested and settings.splits is not None:
        raise ValueError("`--nested` cuts its folds itself: leave `--splits` out, or `--nested`.")
    cohort = cohort_location(cohort)
    order = Order(
        settings=settings,
        task=task,
        view=detector_view,
        variant=variant,
        space=space,
        search=search,
        samples=samples,
        halving=halving,
        population=population,
        seed=search_seed,
        lanes=lanes,
        address=address,
        exact=exact,
        most_cost=most_cost,
        track=track,
    )
    files = open_storage(absolute(out))
    folders = [files / f"fold{k}" for k in range(settings.folds)]
    if not (resume or plan) and any(folder.exists(SWEEP_FILE) for folder in (files, *folders)):
        raise ValueError(
            f"{out} holds a sweep. Go on with it by the same command with --resume, or give "
            "another folder for a new one: `--out`."
        )
    opened = Cohort.open(cohort)
    sweeps = (
        plan_nested(folders, opened, order)
        if nested
        else [FoldSweep.plan(files, opened, order, fold)]
    )
    if plan:
        print_plan(sweeps)
        return
    try:
        with alone_in(files, what="sweep"):
            tables = search_folds(sweeps, cohort) if nested else [carry_out(sweeps[0], cohort)]
            if nested:
                judged = judge_folds(files, sweeps, tables, sweeps[0].group)
                print(*write_nested(files, sweeps, judged), sep="\n")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "The same command with --resume continues where it stopped."
        ) from None


if __name__ == "__main__":
    run_command(sweep, prog="python -m tune.sweep")
