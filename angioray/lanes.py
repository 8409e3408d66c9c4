"""Lanes: long-lived Ray Train workers that take a study's runs from one queue.

Starting a trainer per run would pay process start, device context and frame loading every time;
a lane pays them once. Ray is only the way to launch: a lane calls the same Executor as
``angioray.train`` does.
"""

from __future__ import annotations

import shutil
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from angioray.queue import RunQueue, Snapshot
from angioray.study import Run, Study

LANE_RESTARTS = 20
POLL_EVERY_S = 0.5
PROGRESS_EVERY_S = 0.5


@dataclass(frozen=True, kw_only=True)
class LaneSettings:
    """How runs share the resources of the cluster; changes no number of the study."""

    lanes: int | None = None
    """Runs at once; as many as the resources bear if null."""
    ranks: int = 1
    """Processes of one run, each with the resources below."""
    cpus: float = 1.0
    """CPU cores of a process; its computing threads follow."""
    gpus: float = 1.0
    """GPUs of a process where the cluster has any; a fraction shares one among runs."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {value}, expected {least}"
            for name, value, fits, least in (
                ("lanes", self.lanes, self.lanes is None or self.lanes >= 1, "1 or more"),
                ("ranks", self.ranks, self.ranks >= 1, "1 or more"),
                ("cpus", self.cpus, self.cpus > 0, "more than 0"),
                ("gpus", self.gpus, self.gpus >= 0, "0 or more"),
            )
            if not fits
        ]
        if problems:
            raise ValueError("The lanes' settings cannot work: " + "; ".join(problems) + ".")


@dataclass(frozen=True)
class LanePlan:
    """What was decided, and why."""

    lanes: int
    ranks: int
    cpus: float
    gpus: float
    reason: str

    @classmethod
    def of(cls, settings: LaneSettings, resources: dict[str, float], runs: int) -> LanePlan:
        """Cut a cluster's resources into lanes.

        Args:
            settings: what one process needs.
            resources: what the cluster has (``ray.cluster_resources()``).
            runs: how many there are to do.

        Raises:
            ValueError: not even one lane fits.
        """
        cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
        gpus_each = settings.gpus if gpus else 0.0
        fits = int(cpus // (settings.cpus * settings.ranks))
        if gpus_each:
            fits = min(fits, int(gpus // (gpus_each * settings.ranks)))
        has = f"{gpus:g} GPUs and {cpus:g} CPU cores"
        needs = f"{settings.ranks} x ({gpus_each:g} GPUs, {settings.cpus:g} CPU cores)"
        if fits < 1:
            raise ValueError(
                f"The cluster has {has}, but one run needs {needs}. Lower `--lanes.cpus`, "
                "`--lanes.gpus` or `--lanes.ranks`, or start a larger cluster."
            )
        if gpus_each % 1 and settings.ranks > 1:
            raise ValueError(
                "Two ranks of one run must not share a GPU: use whole `--lanes.gpus` with "
                "`--lanes.ranks` above 1."
            )
        lanes = max(1, min(fits, runs, settings.lanes or fits))
        reason = f"{has}, {needs} per run: {lanes} of {runs} runs at once"
        return cls(lanes, settings.ranks, settings.cpus, gpus_each, reason)


def run_lanes(
    study: Study, todo: list[Run], plan: LanePlan, show: Callable[[Snapshot], None]
) -> Snapshot:
    """Carry out runs over the plan's lanes; returns when each is finished or has failed.

    Args:
        study: already frozen, on storage that every node sees.
        todo: the runs, in the order they should start.
        plan: how many lanes, of what size.
        show: called a few times a second with the state of the study.
    """
    import ray

    actor: Any = ray.remote(RunQueue)
    queue = actor.options(num_cpus=0).remote([(run.name, run.frames_key) for run in todo])
    storage = study.folder / ".lanes"
    lanes = [_Lane(number, study, plan, queue, storage) for number in range(plan.lanes)]
    for lane in lanes:
        lane.start()
    while any(lane.is_alive() for lane in lanes):
        show(ray.get(queue.snapshot.remote()))
        time.sleep(POLL_EVERY_S)
    snapshot: Snapshot = ray.get(queue.snapshot.remote())
    show(snapshot)
    shutil.rmtree(storage, ignore_errors=True)
    problems = [lane.problem for lane in lanes if lane.problem]
    if snapshot.waiting and problems:
        raise ValueError(
            f"Every lane ended before {len(snapshot.waiting)} runs were begun: {problems[0]}. "
            "Give the same command again to go on with them."
        )
    return snapshot


class _Lane(threading.Thread):
    """Keeps one TorchTrainer alive until the queue is empty."""

    def __init__(
        self, number: int, study: Study, plan: LanePlan, queue: Any, storage: Path
    ) -> None:
        super().__init__(daemon=True)
        self.problem: str | None = None
        self._number, self._study, self._plan = number, study, plan
        self._queue, self._storage = queue, storage

    def run(self) -> None:
        import ray
        from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        resources = {"CPU": self._plan.cpus}
        if self._plan.gpus:
            resources["GPU"] = self._plan.gpus
        trainer = TorchTrainer(
            _lane_loop,
            train_loop_config={
                "lane": self._number,
                "runs": str(self._study.folder),
                "cohort": str(self._study.cohort_folder),
                "queue": self._queue,
            },
            scaling_config=ScalingConfig(
                num_workers=self._plan.ranks,
                use_gpu=bool(self._plan.gpus),
                resources_per_worker=resources,
            ),
            # Ray's annotations still describe the Train of before version 2.
            run_config=RunConfig(  # type: ignore[call-arg]
                name=f"lane-{self._number}-{uuid.uuid4().hex[:8]}",
                storage_path=str(self._storage),
                failure_config=FailureConfig(max_failures=LANE_RESTARTS),
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        )
        try:
            trainer.fit()
        except Exception as problem:  # noqa: BLE001 - one lane's end must not end the others
            self.problem = f"{type(problem).__name__}: {problem}"
            if ray.is_initialized():
                ray.get(self._queue.lose.remote(self._number))


def _lane_loop(config: dict[str, Any]) -> None:
    """What a lane's worker does: runs from the queue, one after the other, until none is left."""
    import ray
    import ray.train.torch

    from angioray.execution import Executor
    from angioray.step import World
    from preprocess.cohort import Cohort

    context = ray.train.get_context()
    world = World(ray.train.torch.get_device(), context.get_world_rank(), context.get_world_size())
    study = Study.open(Path(config["runs"]))
    executor = Executor(study, Cohort.open(config["cohort"]), world)
    queue, lane = config["queue"], config["lane"]
    while (name := _next_run(queue, lane, world)) is not None:
        _carry_out(executor, study.run(name), study.folder, queue, lane, world)


def _next_run(queue: Any, lane: int, world: Any) -> str | None:
    """The lead rank asks the queue; all ranks of the lane do the same run."""
    import ray
    import torch.distributed

    name = [ray.get(queue.take.remote(lane)) if world.leads else None]
    if world.size > 1:
        torch.distributed.broadcast_object_list(name)
    return name[0]


def _carry_out(executor: Any, run: Run, runs: Path, queue: Any, lane: int, world: Any) -> None:
    import ray

    from angioray.run_folder import RunFolder

    folder = RunFolder.of(runs, run)
    told = 0.0

    def progress(done: int, steps: int, values: dict[str, float]) -> None:
        nonlocal told
        if world.leads and (done == steps or time.monotonic() - told > PROGRESS_EVERY_S):
            told = time.monotonic()
            queue.progress.remote(lane, done, steps, values)

    try:
        if world.leads:
            with folder.locked():
                metrics = executor.execute(run, progress)
        else:
            metrics = executor.execute(run, progress)
    except Exception as problem:  # noqa: BLE001 - one run's failure must not end the lane
        reason = f"{type(problem).__name__}: {problem}"
        if world.leads:
            folder.fail(reason, traceback.format_exc())
            ray.get(queue.fail.remote(lane, run.name, reason))
    else:
        if world.leads:
            ray.get(queue.finish.remote(lane, run.name, metrics))
