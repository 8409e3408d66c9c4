"""Lanes: long-lived Ray Train workers that take a study's runs from one queue.

Starting a trainer per run would pay process start, device context and frame loading every time;
a lane pays them once. Ray is only the way to launch: a lane calls the same Executor as
``angioray.train`` does.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from angioray.cluster.nodes import beside_this_process
from angioray.cluster.plan import Plan
from angioray.cluster.queue import RunQueue, Snapshot
from angioray.study.study import Study
from preprocess.console.progress import duration
from preprocess.console.words import counted

LANES_LEAVING_S = 10.0
POLL_EVERY_S = 0.5


def run_lanes(
    study: Study,
    plan: Plan,
    digest: str,
    show: Callable[[Snapshot], None],
    *,
    stuck_after_s: float,
) -> Snapshot:
    """Carry out a plan's runs over its lanes; returns when each is finished or has failed.

    Args:
        study: already frozen, on storage that every node sees.
        plan: the runs in their order, and the lanes.
        digest: the cohort's; a lane that finds another one where it lands does not work.
        show: called a few times a second with the state of the study.
        stuck_after_s: a run that gets no further for so long is taken from its lane.

    Raises:
        ValueError: runs are left that no lane could begin.
    """
    # Ray's default is 60 s, too short for a cluster that must rent its machines first.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
    # Each report of a run waits for the next look at its lane, and so does the end of a lane.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "1")
    import ray

    from angioray.cluster.lane_control import LaneKeeper

    here = beside_this_process()
    actors: Any = ray.remote(RunQueue), ray.remote(LaneKeeper)
    queue = actors[0].options(**here).remote(plan.entries)
    groups = [group for group in plan.groups for _ in range(group.lanes)]
    keeper = actors[1].options(**here, max_concurrency=len(groups) + 1).remote(_train_variables())
    storage = study.folder / ".lanes"
    # A folder of its own: Ray Train would go on with what a killed command has left there.
    lanes_storage = str(storage / uuid.uuid4().hex[:8])
    lanes = [
        keeper.keep.remote(
            {
                "lane": number,
                "wide": group.wide,
                "cpus": group.cpus,
                "gpus": group.gpus,
                "runs": str(study.folder),
                "cohort": study.cohort_folder,
                "digest": digest,
                "queue": queue,
            },
            name=f"{study.folder.name}-lane-{number}",
            storage=lanes_storage,
            ranks=group.ranks,
            resources={"CPU": group.cpus} | ({"GPU": group.gpus} if group.gpus else {}),
        )
        for number, group in enumerate(groups)
    ]
    patience_s = 0.0  # after Ctrl-C above all
    try:
        snapshot = _follow(lanes, queue, show, stuck_after_s)
        patience_s = LANES_LEAVING_S
    finally:
        with suppress(ray.exceptions.RayError):  # Ray itself may be what failed
            # Lanes without work leave by themselves; not those that work, or never found room.
            ray.wait(lanes, num_returns=len(lanes), timeout=patience_s)
            ray.kill(keeper)
    problems = [*snapshot.unfit.values(), *_problems(lanes)]
    storage.clear()
    if left := len(snapshot.waiting) + len(snapshot.running):
        raise ValueError(
            f"{snapshot.halted or 'No lane is left: ' + ' '.join(problems[:1])}. "
            f"Still to do: {counted(left, 'run')}; give the same command again to go on."
        )
    return snapshot


def _train_variables() -> dict[str, str]:
    """What this process tells Ray Train; processes on a cluster do not inherit it."""
    return {name: text for name, text in os.environ.items() if name.startswith("RAY_TRAIN_")}


def _problems(lanes: list[Any]) -> Iterator[str]:
    """Why lanes ended, those apart that ended as they should."""
    import ray

    for lane in lanes:
        try:
            problem = ray.get(lane)
        except ray.exceptions.RayError as failure:
            first_line = str(failure).partition("\n")[0]
            problem = f"{type(failure).__name__}: {first_line}"
        if problem:
            yield problem


def _follow(
    lanes: list[Any], queue: Any, show: Callable[[Snapshot], None], stuck_after_s: float
) -> Snapshot:
    """Show how far the study is until there is nothing more to do; its last state."""
    import ray

    while True:
        _, alive = ray.wait(lanes, num_returns=len(lanes), timeout=0)
        snapshot: Snapshot = ray.get(queue.snapshot.remote())
        show(snapshot)
        if snapshot.over or not alive:
            return snapshot
        _end_stuck_runs(queue, snapshot, stuck_after_s)
        time.sleep(POLL_EVERY_S)


def _end_stuck_runs(queue: Any, snapshot: Snapshot, stuck_after_s: float) -> None:
    """End the processes of lanes whose run gets no further; Ray Train starts them anew."""
    import ray

    for lane, current in snapshot.running.items():
        still_s = time.time() - current.alive
        if still_s < stuck_after_s:
            continue
        where = f"at step {current.done} of {current.steps}" if current.steps else "before a step"
        why = f"it was stuck {where} on {current.node}, without progress for {duration(still_s)}"
        for worker in ray.get(queue.workers.remote(lane)):
            ray.kill(worker)
        ray.get(queue.lose.remote(lane, why))
