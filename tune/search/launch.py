"""The start of a sweep's lanes by Ray Tune."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from angioray.cluster.plan import LaneGroup
from preprocess.storage import Storage, open_storage
from tune.search.referee import Contest, Referee, Standing
from tune.search.trial import Workplace

LANE_RESTARTS = 100
"""Restarts of a lane, which may lose its node many times."""
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the command, not one lane after the other
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # the trials' own folders are all that a resume needs
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


def run_search(
    search: Contest,
    place: Workplace,
    group: LaneGroup,
    show: Callable[[Standing], None],
    *,
    stuck_after_s: float,
) -> Standing:
    """Take a search to its end over the cluster that this process has joined.

    Args:
        search: as far as it has come.
        place: what lanes must know.
        group: the lanes, and the resources of each.
        show: called a few times a second with the state of the sweep.
        stuck_after_s: a lane that gives no sign of life for so long is ended and started anew.

    Raises:
        ValueError: no trial can go on, as where the disk is full.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # The referee tells of a lost process in one sentence; Tune prints a traceback for each.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Beside this process: anywhere else it could go down with a node that the sweep can spare.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(Referee)
    referee = actor.options(num_cpus=0, scheduling_strategy=here).remote(
        search, place, stuck_after_s
    )
    try:
        results = _tuner(referee, place, group, show).fit()
        standing: Standing = ray.get(referee.standing.remote())
    except ray.exceptions.RayActorError as problem:
        raise ValueError(
            "The process that decides on trials died. No trial is lost: the same command with "
            "--resume goes on."
        ) from problem
    finally:
        _storage(place).clear()
    show(standing)
    if not standing.over:
        why = str(results.errors[0]).strip().splitlines()[-1] if results.errors else "all ended"
        raise ValueError(
            f"No lane is left ({why}). The same command with --resume goes on with the trials."
        )
    return standing


def _tuner(
    referee: Any, place: Workplace, group: LaneGroup, show: Callable[[Standing], None]
) -> Any:
    from ray import tune

    from tune.search.actor import Lane
    from tune.search.watch import Over, Watch

    constants = {"referee": referee, "place": place}
    trainable = tune.with_parameters(Lane, cpus=group.cpus, gpus=group.gpus, **constants)
    resources = {"cpu": group.cpus, **({"gpu": group.gpus} if group.gpus else {})}
    return tune.Tuner(
        tune.with_resources(trainable, resources),
        param_space={"lane": tune.grid_search(list(range(group.lanes)))},
        run_config=tune.RunConfig(
            name=f"sweep-{time.time_ns()}",
            storage_path=str(_storage(place)),
            failure_config=tune.FailureConfig(max_failures=LANE_RESTARTS),
            stop=Over(referee),
            callbacks=[Watch(referee, show)],
            verbose=0,
        ),
    )


def _storage(place: Workplace) -> Storage:
    return open_storage(place.trials).parent / ".tune"
