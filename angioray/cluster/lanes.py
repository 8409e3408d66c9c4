"""Lanes: long-lived Ray Train workers that take a study's runs from one queue.

Starting a trainer per run would pay process start, device context and frame loading every time;
a lane pays them once. Ray is only the way to launch: a lane calls the same Executor as
``angioray.train`` does.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from angioray.cluster.plan import LaneGroup, Plan
from angioray.cluster.queue import RunQueue, Snapshot
from angioray.study.study import Study
from preprocess.console.progress import duration
from preprocess.storage import Storage

LANE_RESTARTS = 100
"""Restarts of a lane, which may lose its node many times."""
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
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Beside this process: anywhere else it could go down with a node that the study can spare.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(RunQueue)
    queue = actor.options(num_cpus=0, scheduling_strategy=here).remote(plan.entries)
    storage = study.folder / ".lanes"
    groups = [group for group in plan.groups for _ in range(group.lanes)]
    lanes = [
        _Lane(number, study, group, queue, storage, digest) for number, group in enumerate(groups)
    ]
    for lane in lanes:
        lane.start()
    try:
        snapshot = _follow(lanes, queue, show, stuck_after_s)
    except BaseException:  # Ctrl-C above all
        with suppress(ray.exceptions.RayError):  # Ray itself may be what failed
            _end(lanes, queue, patience_s=0.0)
        raise
    _end(lanes, queue, patience_s=LANES_LEAVING_S)
    storage.clear()
    problems = [*snapshot.unfit.values(), *(lane.problem for lane in lanes if lane.problem)]
    if snapshot.halted or (snapshot.waiting and problems):
        raise ValueError(
            f"{snapshot.halted or 'No lane is left: ' + str(problems[0])}. "
            f"{len(snapshot.waiting)} runs were not begun; give the same command again to go on."
        )
    return snapshot


def _follow(
    lanes: list[_Lane], queue: Any, show: Callable[[Snapshot], None], stuck_after_s: float
) -> Snapshot:
    """Show how far the study is until there is nothing more to do; its last state."""
    import ray

    while True:
        snapshot: Snapshot = ray.get(queue.snapshot.remote())
        show(snapshot)
        if snapshot.over or not any(lane.is_alive() for lane in lanes):
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


def _end(lanes: list[_Lane], queue: Any, *, patience_s: float) -> None:
    """Lanes without work leave by themselves; those that work or never found room must be told to.

    A thread that still waits for its lane when Ray shuts down takes the whole process with it.
    """
    import ray

    deadline = time.monotonic() + patience_s
    for lane in lanes:
        lane.join(max(0.0, deadline - time.monotonic()))
    left = [(number, lane) for number, lane in enumerate(lanes) if lane.is_alive()]
    for number, _ in left:
        if (controller := ray.get(queue.controller.remote(number))) is not None:
            ray.kill(controller)
    for _, lane in left:
        lane.join(LANES_LEAVING_S)


class _Lane(threading.Thread):
    """Keeps one TorchTrainer alive until the queue has nothing more for it."""

    def __init__(
        self, number: int, study: Study, group: LaneGroup, queue: Any, storage: Storage, digest: str
    ) -> None:
        super().__init__(daemon=True)
        self.problem: str | None = None
        self._number, self._group, self._queue = number, group, queue
        self._storage = storage
        self._config = {
            "lane": number,
            "wide": group.wide,
            "cpus": group.cpus,
            "gpus": group.gpus,
            "runs": str(study.folder),
            "cohort": study.cohort_folder,
            "digest": digest,
            "queue": queue,
        }

    def run(self) -> None:
        import ray

        try:
            self._trainer().fit()
        except Exception as problem:  # noqa: BLE001 - one lane's end must not end the others
            self.problem = f"{type(problem).__name__}: {problem}"
            if ray.is_initialized():
                ray.get(self._queue.lose.remote(self._number))

    def _trainer(self) -> Any:
        from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        from angioray.cluster.lane_control import LaneControl, LaneWatch, work
        from angioray.cluster.process_group import LaneTorchConfig

        callbacks: Any = [kind(self._number, self._queue) for kind in (LaneWatch, LaneControl)]
        resources = {"CPU": self._group.cpus}
        if self._group.gpus:
            resources["GPU"] = self._group.gpus
        return TorchTrainer(
            work,
            train_loop_config=self._config,
            torch_config=LaneTorchConfig(),
            scaling_config=ScalingConfig(
                num_workers=self._group.ranks,
                use_gpu=bool(self._group.gpus),
                resources_per_worker=resources,
            ),
            # Ray's annotations still describe the Train of before version 2.
            run_config=RunConfig(  # type: ignore[call-arg]
                name=f"lane-{self._number}-{uuid.uuid4().hex[:8]}",
                storage_path=str(self._storage),
                failure_config=FailureConfig(max_failures=LANE_RESTARTS),
                callbacks=callbacks,
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        )
