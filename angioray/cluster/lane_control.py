"""What starts and watches the processes of lanes; it loads no networks.

Ray Train loads this module in the process that controls a lane. The modules that train take three
seconds more to load, and that process never calls them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import ray
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig, UserCallback

LANE_RESTARTS = 100
"""Restarts of a lane, which may lose its node many times."""


class LaneKeeper:
    """Keeps the lanes of a study: an actor, in which each lane's trainer has a thread.

    A trainer has no call that ends it, and one that waits for room waits for ever. But what
    controls it belongs to the process that has started it: who ends this actor ends all its lanes.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """``environment`` is what Ray Train is to find in the variables of this process."""
        os.environ.update(environment)

    def keep(
        self,
        config: dict[str, Any],
        *,
        name: str,
        storage: str,
        ranks: int,
        resources: dict[str, float],
    ) -> str:
        """Run a lane until the queue has nothing more for it; why it ended earlier, or nothing.

        Args:
            config: what each of its ranks is given.
            name: under which Ray's dashboard shows it.
            storage: a folder for what Ray Train remembers of it.
            ranks: its processes, all on one node.
            resources: of each.
        """
        try:
            lane_trainer(config, name, storage, ranks, resources).fit()
        except Exception as problem:  # noqa: BLE001 - one lane's end must not end the others
            ray.get(config["queue"].lose.remote(config["lane"]))
            return f"{type(problem).__name__}: {problem}"
        return ""


def lane_trainer(
    config: dict[str, Any], name: str, storage: str, ranks: int, resources: dict[str, float]
) -> Any:
    """The trainer of one lane; the arguments are those of ``LaneKeeper.keep``."""
    from ray.train.torch import TorchTrainer

    from angioray.cluster.process_group import LaneTorchConfig

    lane, queue = config["lane"], config["queue"]
    # Ray's annotations ask for a TorchConfig, which would load PyTorch, and describe the Train of
    # before version 2.
    torch_config: Any = LaneTorchConfig(lane, queue)
    callbacks: Any = [LaneWatch(lane, queue)]
    return TorchTrainer(
        work,
        train_loop_config=config,
        torch_config=torch_config,
        scaling_config=ScalingConfig(
            num_workers=ranks,
            use_gpu="GPU" in resources,
            resources_per_worker=resources,
            placement_strategy="STRICT_PACK",
        ),
        run_config=RunConfig(  # type: ignore[call-arg]
            name=name,
            storage_path=storage,
            failure_config=FailureConfig(max_failures=LANE_RESTARTS),
            callbacks=callbacks,
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )


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


def work(config: dict[str, Any]) -> None:
    """A lane's rank, in the process that trains."""
    from angioray.cluster import lane_worker

    lane_worker.work(config)
