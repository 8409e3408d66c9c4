"""Ray Tune at work: actors for the trials that the referee gives out, as many as there is room."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from angioray.plan import LaneGroup
from preprocess.storage import Storage, open_storage
from tune.referee import Referee, Standing
from tune.search import SearchRun
from tune.trial import Workplace, record_failure

SHOWN_EVERY_S = 0.5
WORKER_LOSSES = 5
"""Workers that one trial may lose before it counts as failed."""
GIVEN_UP = "given up: its workers died again and again (out of memory?); see Ray's logs"
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the command, not one trial after the other
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # the trials' own folders are all that a resume needs
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


def run_search(
    search: SearchRun,
    workplace: Workplace,
    group: LaneGroup,
    show: Callable[[Standing], None],
) -> Standing:
    """Take a search to its end over the cluster that this process has joined.

    Args:
        search: as far as it has come.
        workplace: what workers must know.
        group: how many trials at once, and the resources of each.
        show: called a few times a second with the state of the sweep.

    Raises:
        ValueError: no trial can go on, as where the disk is full.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from tune.adaptors import Display

    # Beside this process: anywhere else it could go down with a node that the sweep can spare.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(Referee)
    referee = actor.options(num_cpus=0, scheduling_strategy=here).remote(search)
    storage = open_storage(workplace.trials).parent / ".tune"
    tuner = _tuner(referee, workplace, group, storage, Display(referee, show, SHOWN_EVERY_S))
    try:
        tuner.fit()
        standing: Standing = ray.get(referee.standing.remote(()))
        show(standing)
    except ray.exceptions.RayActorError as problem:
        raise ValueError(
            "The process that decides on trials died. No trial is lost: the same command with "
            "--resume goes on."
        ) from problem
    finally:
        storage.clear()
    return standing


def _tuner(
    referee: Any, workplace: Workplace, group: LaneGroup, storage: Storage, display: Any
) -> Any:
    import ray
    from ray import tune

    from tune.actor import TrialActor
    from tune.adaptors import Numbers, Parking

    def give_up(number: int) -> None:
        suggested, _ = ray.get(referee.task.remote(number))
        record_failure(workplace, suggested, GIVEN_UP)
        ray.get(referee.fail.remote(number, GIVEN_UP))

    constants = {"referee": referee, "workplace": workplace}
    trainable = tune.with_parameters(TrialActor, cpus=group.cpus, gpus=group.gpus, **constants)
    resources = {"cpu": group.cpus, **({"gpu": group.gpus} if group.gpus else {})}
    return tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=Numbers(referee, give_up),
            scheduler=Parking(),  # type: ignore[no-untyped-call]
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=f"sweep-{time.time_ns()}",
            storage_path=str(storage),
            failure_config=tune.FailureConfig(max_failures=WORKER_LOSSES),
            callbacks=[display],
            verbose=0,
        ),
    )
