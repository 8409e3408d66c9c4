"""The work of a lane's processes: runs from the queue, one after the other."""

from __future__ import annotations

import os
import time
import traceback
from contextlib import ExitStack, suppress
from typing import Any

import ray
import ray.train.torch
import torch
import torch.distributed
from ray.util.metrics import Gauge

from angioray.cluster.nodes import share_here
from angioray.cluster.queue import PROGRESS_EVERY_S
from angioray.study.executor import Executor, reason_of, stops_all
from angioray.study.matrix import Run
from angioray.study.run_folder import RunFolder
from angioray.study.study import Study
from angioray.training.step import World
from preprocess.cohort import Cohort

LOOK_EVERY = 10
"""Steps between two questions whether the node is about to be taken away; each takes a moment."""
GAUGES = {
    "step": "Steps that a run has taken.",
    "steps": "Steps of a whole run.",
    "loss": "Loss of a run at its last logged step.",
    "frames_per_second": "Frames that a run trains on, each second.",
}
"""What Ray offers Prometheus of each run, as ``ray_angioray_run_NAME``, until it is set no more."""


def work(config: dict[str, Any]) -> None:
    """A lane's rank, from its start to the end of the queue."""
    context, device = ray.train.get_context(), ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # exchanges between ranks take the current one
    queue, lane = config["queue"], config["lane"]
    node = ray.util.get_node_ip_address()
    ray.get(queue.join.remote(lane, ray.get_runtime_context().current_actor))
    try:
        study = Study.open(config["runs"])
        cohort = Cohort.open(config["cohort"])
    except (ValueError, OSError) as problem:
        ray.get(queue.reject.remote(lane, f"node {node} does not see the study: {problem}"))
        return
    if cohort.digest != config["digest"]:
        ray.get(
            queue.reject.remote(
                lane, f"another cohort lies in {cohort.copy.location} on node {node}"
            )
        )
        return
    frame_sets = len({run.frames_key for run in study.runs})
    world = World(
        device,
        context.get_world_rank(),
        context.get_world_size(),
        share_here(config["cpus"], config["gpus"], frame_sets),
    )
    worker = _Worker(study, cohort, queue, lane, world)
    while (name := _next_run(queue, lane, world, wide=config["wide"], node=node)) is not None:
        worker.carry_out(study.run(name))


def _next_run(queue: Any, lane: int, world: World, *, wide: bool, node: str) -> str | None:
    """The lead rank asks the queue; all ranks of the lane do the same run."""
    name = [ray.get(queue.take.remote(lane, wide=wide, node=node)) if world.leads else None]
    if world.size > 1:
        torch.distributed.broadcast_object_list(name)
    return name[0]


class _Worker:
    """One rank of a lane with what it needs for a run."""

    def __init__(self, study: Study, cohort: Cohort, queue: Any, lane: int, world: World) -> None:
        self._executor = Executor(study, cohort, world, alive=self._alive, leaving=self._leaving)
        self._study, self._queue, self._lane, self._world = study, queue, lane, world
        self._run = ""
        self._told = 0.0
        self._gauges = {
            name: Gauge(f"angioray_run_{name}", says, ("study", "run", "lane"))
            for name, says in GAUGES.items()
        }
        self._watched = os.environ.get("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER") != "0"
        self._steps_seen = 0
        self._leaves = False

    def carry_out(self, run: Run) -> None:
        """Execute a run and tell the queue how it ended."""
        self._run, folder = run.name, RunFolder.of(self._study.folder, run)
        try:
            with ExitStack() as held:
                if self._world.leads:
                    held.enter_context(folder.locked(self._alive))
                if self._world.size > 1:
                    # No rank reads a checkpoint that another process may still replace.
                    torch.distributed.barrier()
                metrics = self._executor.execute(run, self._progress_of(run))
        except Exception as problem:  # noqa: BLE001 - one run's failure must not end the lane
            self._fail(run, folder, problem)
        else:
            if self._world.leads:
                ray.get(self._queue.finish.remote(self._lane, run.name, metrics))
            # Ray Train waits until it has heard this of all ranks, which end a run together.
            ray.train.report({"run": run.name, **metrics})

    def _leaving(self) -> bool:
        """Whether Ray has been told that this node will be taken away.

        Each rank must ask Ray Train equally often, and so by steps, which all take.
        """
        self._steps_seen += 1
        if self._watched and not self._leaves and self._steps_seen % LOOK_EVERY == 0:
            self._leaves = ray.train.get_preemption_info() is not None
        return self._leaves

    def _alive(self) -> None:
        if self._world.leads and time.monotonic() - self._told > PROGRESS_EVERY_S:
            self._told = time.monotonic()
            self._queue.alive.remote(self._lane, self._run)

    def _progress_of(self, run: Run) -> Any:
        def progress(done: int, steps: int, values: dict[str, float]) -> None:
            now = time.monotonic()
            if self._world.leads and (done == steps or now - self._told > PROGRESS_EVERY_S):
                self._told = now
                self._queue.progress.remote(self._lane, run.name, done, steps, values)
                self._measure(run, done, steps, values)

        return progress

    def _measure(self, run: Run, done: int, steps: int, values: dict[str, float]) -> None:
        tags = {"study": self._study.folder.name, "run": run.name, "lane": str(self._lane)}
        measured = {
            "step": done,
            "steps": steps,
            "loss": values["loss"],
            "frames_per_second": values["frames_per_s"],
        }
        for name, value in measured.items():
            self._gauges[name].set(value, tags)

    def _fail(self, run: Run, folder: RunFolder, problem: Exception) -> None:
        reason = reason_of(problem)
        with suppress(OSError):  # the disk may be what failed; the queue knows the reason too
            folder.fail(reason, traceback.format_exc())
        if stops_all(problem):
            ray.get(self._queue.halt.remote(reason.rstrip(".")))
        ray.get(self._queue.fail.remote(self._lane, run.name, reason))
        self._executor.release()
        if self._world.size > 1:
            # The other ranks may wait in an exchange for this one: only an end frees them.
            raise problem
