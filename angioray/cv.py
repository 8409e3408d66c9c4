"""``python -m angioray.cv``: the study, all runs in parallel on local Ray or on a cluster."""

from __future__ import annotations

from typing import Literal

from angioray import CONFIGS
from angioray.cluster.lane_settings import LaneSettings
from angioray.study.settings import StudySettings, ignored_settings
from preprocess.console.command_line import run as run_command
from preprocess.console.command_line import usage


@usage(
    positional=("cohort",),
    common=("folds", "view.sizes", "detector.variants", "detector.weights"),
    configs=CONFIGS,
)
def cv(
    settings: StudySettings,
    lanes: LaneSettings,
    cohort: str | None = None,
    runs: str = "runs",
    address: str | None = None,
    all_folds: bool = False,
    folds_only: str | None = None,
    plan: bool = False,
    assume: str | None = None,
    power: bool = False,
    status: bool = False,
    track: Literal["mlflow", "wandb"] | None = None,
) -> None:
    """Cross-validate: train and judge every run of the study, all folds in parallel.

    The same command again continues: finished runs are kept, half-done ones resume from their
    checkpoint, failed ones are tried once more.

    Args:
        cohort: the cohort folder; like the runs folder it may be in an object store. Without it
            ANGIORAY_COHORT, or `cohort`. With --status the runs folder may stand here.
        settings: the study's settings.
        lanes: how runs share the cluster.
        runs: the runs folder; on a cluster, on storage that every node sees, or `s3://…`.
        address: of a Ray cluster; `auto` is the one that this machine belongs to. Without it
            RAY_ADDRESS, or a cluster started here for as long as the command runs.
        all_folds: run every fold; without it only fold 0 of everything, as a first look.
        folds_only: run these folds alone, such as `0,1`; also for --plan and --status.
        plan: show runs, resources and expected time, and start nothing.
        assume: GPUs that are not here, for --plan: a100, h100, h200 or b200, or several as in
            `4xh200`.
        power: with --plan, also the smallest difference in recall that this cohort can show, and
            how many patients one of 0.05 needs.
        status: show how far the study is, from its folder alone, and start nothing.
        track: log every run in MLflow (MLFLOW_TRACKING_URI, or a file of this folder) or in Weights
            & Biases, the study's runs as one group.

    Examples:
      python -m angioray.cv --all-folds
      python -m angioray.cv demo/cohort --all-folds --config configs/demo.yaml --runs demo/runs
      python -m angioray.cv cohort --all-folds --config configs/paper.yaml --plan
      python -m angioray.cv cohort --all-folds --config configs/paper.yaml --plan --assume 4xh200
      python -m angioray.cv cohort --all-folds --config configs/paper.yaml --address auto
      python -m angioray.cv s3://bucket/cohort --all-folds --runs s3://bucket/runs --address auto
      python -m angioray.cv cohort --folds-only 1,2
      python -m angioray.cv --status runs
      python -m angioray.cv cohort --all-folds --detector.variants '[B, NL]' --lanes.gpus 0.5
    """
    from angioray.cluster.assumed import AssumedGpus
    from angioray.cluster.nodes import nodes_for
    from angioray.cluster.plan import make_plan
    from angioray.cluster.progress import carry_out, print_plan
    from angioray.cluster.tracking import tracked
    from angioray.study.power import expected_power
    from angioray.study.run_folder import RunFolder, alone_in
    from angioray.study.selection import CohortIndex
    from angioray.study.study import Study
    from preprocess.cohort import Cohort, cohort_location
    from preprocess.storage import absolute

    if status:
        from angioray.study.status import print_status

        print_status(cohort or runs, folds_only)
        return
    if all_folds and folds_only is not None:
        raise ValueError(
            f"--all-folds runs every fold and --folds-only {folds_only} some of them: give one."
        )
    if assume is not None and not plan:
        raise ValueError(f"--assume {assume} is for a plan alone: give --plan as well.")
    gpus = None if assume is None else AssumedGpus.named(assume)
    if power and not plan:
        raise ValueError("--power tells what a cohort can show beside its plan. Give --plan too.")
    opened = Cohort.open(cohort_location(cohort))
    study = Study.plan(opened, absolute(runs), settings)
    study.refuse_another(opened)
    index = CohortIndex.of(opened, settings.view_classes)
    wanted = (
        list(study.runs)
        if all_folds
        else study.runs_of_folds("0" if folds_only is None else folds_only)
    )
    todo = [run for run in wanted if not RunFolder.of(study.folder, run).finished]
    for note in ignored_settings(settings):
        print(note)
    missing = study.look_for_weights(todo, download=not plan)
    if plan:
        nodes = nodes_for(study, opened.digest, address, starting=False) if gpus is None else []
        print_plan(study, index, wanted, make_plan(study, index, todo, lanes, nodes, gpus))
        for note in missing:
            print(note)
        if power:
            print(*expected_power(study, index), sep="\n")
        return
    with alone_in(study.folder), tracked(track, study, wanted) as tell:
        study.freeze(opened)
        failed: dict[str, str] = {}
        if todo:
            nodes = nodes_for(study, opened.digest, address, starting=True)
            decided = make_plan(study, index, todo, lanes, nodes)
            failed = carry_out(
                study,
                index,
                decided,
                opened.digest,
                stuck_after_s=lanes.stuck_after_s,
                track=tell,
            )
    done = len(wanted) - len(failed)
    print(f"{done} of {len(wanted)} runs are finished in {study.folder}.")
    print(f"Next: python -m angioray.report {runs}")
    if failed:
        reasons = "\n  ".join(f"{name}: {reason}" for name, reason in sorted(failed.items()))
        raise ValueError(
            f"{len(failed)} of {len(wanted)} runs failed; the same command tries them again:\n"
            f"  {reasons}"
        )


if __name__ == "__main__":
    run_command(cv, prog="python -m angioray.cv")
