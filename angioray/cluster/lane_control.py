"""Callbacks of the process that controls a lane; it loads no networks.

Ray Train loads this module in the process that controls a lane. The modules that train take three
seconds more to load, and that process never calls them.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.train import UserCallback
from ray.train.v2._internal.execution.callback import ControllerCallback


class LaneWatch(UserCallback):
    """Tells the queue at once that a lane has died, so that another may take its run."""

    def __init__(self, lane: int, queue: Any) -> None:
        self._lane, self._queue = lane, queue

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called by the lane's controller before it starts new workers."""
        problem = next(iter(worker_exceptions.values()))
        first_line = str(problem).strip().partition("\n")[0]
        why = f"its worker died ({type(problem).__name__}: {first_line})"
        ray.get(self._queue.lose.remote(self._lane, why))


class LaneControl(ControllerCallback):
    """Tells the queue who controls a lane: a lane without room ends only if its controller does."""

    def __init__(self, lane: int, queue: Any) -> None:
        self._lane, self._queue = lane, queue

    def after_controller_start(self, train_run_context: Any) -> None:
        """Called by the controller before it asks for room."""
        controller = ray.get_runtime_context().current_actor
        ray.get(self._queue.control.remote(self._lane, controller))


def work(config: dict[str, Any]) -> None:
    """A lane's rank, in the process that trains."""
    from angioray.cluster import lane_worker

    lane_worker.work(config)
