"""The study: every run of task x view x variant x fold, in parallel on whatever Ray there is."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from angioray.lanes import LaneSettings
from angioray.study import Run, Study, StudySettings
from preprocess.command_line import run as run_command

if TYPE_CHECKING:
    from angioray.lanes import LanePlan
    from angioray.selection import CohortIndex


def cv(
    cohort: Path,
    settings: StudySettings,
    lanes: LaneSettings,
    runs: Path = Path("runs"),
    address: str | None = None,
    all_folds: bool = False,
    plan: bool = False,
) -> None:
    """Cross-validate: train and judge every run of the study, all folds in parallel.

    The same command again continues: finished runs are kept, half-done ones resume from their
    checkpoint, failed ones are tried once more.

    Args:
        cohort: the cohort folder.
        settings: the study's settings.
        lanes: how runs share the cluster.
        runs: the runs folder; on a cluster, on storage that every node sees.
        address: of a Ray cluster; `auto` is the one that this machine belongs to. Without it
            RAY_ADDRESS, or a cluster started here for as long as the command runs.
        all_folds: run every fold; without it only fold 0 of everything, as a first look.
        plan: show runs, resources and expected time, and start nothing.

    Examples:
      python -m angioray.cv demo/cohort --all-folds --config configs/demo.yaml --runs demo/runs
      python -m angioray.cv cohort --all-folds --config configs/paper.yaml --plan
      python -m angioray.cv cohort --all-folds --config configs/paper.yaml --address auto
      python -m angioray.cv cohort --all-folds --detector.variants '[B, NL]' --lanes.gpus 0.5
    """
    from angioray.lanes import LanePlan
    from angioray.run_folder import RunFolder
    from angioray.selection import CohortIndex
    from angioray.study_progress import print_plan
    from preprocess.cluster import start_ray
    from preprocess.cohort import Cohort

    opened = Cohort.open(cohort)
    study = Study.plan(opened, runs.absolute(), settings)
    index = CohortIndex.of(opened, settings.view_classes)
    wanted = [run for run in study.runs if all_folds or run.fold == 0]
    todo = [run for run in wanted if not RunFolder.of(study.folder, run).finished]
    if plan:
        resources = _resources(address)
        print_plan(study, index, wanted, LanePlan.of(lanes, resources, max(1, len(todo))))
        return
    with _alone_in(study.folder):
        study.freeze(opened)
        failed: dict[str, str] = {}
        if todo:
            lane_plan = LanePlan.of(lanes, start_ray(address), len(todo))
            failed = _carry_out(study, index, todo, lane_plan)
    done = len(wanted) - len(failed)
    print(f"{done} of {len(wanted)} runs are finished in {study.folder}.")
    print(f"Next: python -m angioray.report {runs}")
    if failed:
        reasons = "\n  ".join(f"{name}: {reason}" for name, reason in sorted(failed.items()))
        raise ValueError(
            f"{len(failed)} of {len(wanted)} runs failed; the same command tries them again:\n"
            f"  {reasons}"
        )


def _resources(address: str | None) -> dict[str, float]:
    """What the cluster has; what this machine has where no cluster is meant."""
    import os

    import torch

    if address or os.environ.get("RAY_ADDRESS"):
        from preprocess.cluster import start_ray

        return start_ray(address)
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}


def _carry_out(study: Study, index: CohortIndex, todo: list[Run], plan: LanePlan) -> dict[str, str]:
    """Run what is to do, longest first; the reasons of those that failed."""
    from angioray.cost import run_flop
    from angioray.lanes import run_lanes
    from angioray.run_folder import RunFolder
    from angioray.study_progress import StudyProgress

    flop = {run.name: run_flop(study, index, run) for run in todo}
    longest_first = sorted(todo, key=lambda run: (-flop[run.name], run.name))
    with StudyProgress(flop, plan) as progress:
        failed = run_lanes(study, longest_first, plan, progress.show).failed
    for name, reason in failed.items():
        folder = RunFolder.of(study.folder, study.run(name))
        if folder.failure() != reason:  # its workers died before they could write why
            folder.fail(reason, "")
    return failed


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Refuse to run a study that another process is running; the lock dies with its process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise ValueError(
                f"Another process is running the study in {folder}. Wait for it, or stop it."
            ) from problem
        yield


if __name__ == "__main__":
    run_command(cv, prog="python -m angioray.cv")
