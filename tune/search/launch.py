"""The start of a sweep: a Ray Tune Tuner over the cluster that this process has joined."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from angioray.cluster.nodes import beside_this_process
from angioray.cluster.plan import LaneGroup
from preprocess.storage import Storage
from tune.cost import TrialCost
from tune.search.candidates import FirstTrials
from tune.search.order import Order
from tune.search.progress import Standing
from tune.search.worker import TrialInputs
from tune.space.parameters import Range
from tune.trials import Trial

RESTARTS = 100
"""Of a trial, whose node may be lost many times; one that dies by itself is given up sooner."""
SETTINGS_OF_RAY_TUNE = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the command, not one trial after the other
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the command tells of a lost process in one sentence
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


def run_search(
    order: Order,
    first: FirstTrials,
    cost: TrialCost,
    inputs: TrialInputs,
    recorded: Mapping[int, Trial],
    group: LaneGroup,
    folder: Storage,
    keep: Callable[[Standing], None],
    *,
    trains: type[Any] | None = None,
    gated: bool = True,
) -> bool:
    """Take a search to its end; False where it must be begun again, for a process was lost.

    Args:
        order: what is searched, and how.
        first: the space, and the trials that come first.
        cost: of trials.
        inputs: what the processes must know.
        recorded: what an earlier attempt has left, by number.
        group: trials at once, and the resources of each.
        folder: where Ray Tune keeps its experiments.
        keep: is told how the sweep stands, a few times a second.
        trains: the trainable, where it is not the sweep's own: benchmarks measure without training.
        gated: whether all processes wait for each other; benchmarks measure what that brings.

    Raises:
        ValueError: no trial can go on, as where the disk is full.
    """
    for name, value in SETTINGS_OF_RAY_TUNE.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    import ray
    from ray import tune

    from tune.search.board import Board
    from tune.search.callback import ProcessLostError, SweepCallback
    from tune.search.tracking import tune_callbacks
    from tune.search.trainable import STEPS, TrialTrainable

    running = [trial for trial in recorded.values() if trial.state == "running"]
    left = order.samples - len(recorded) + len(running)
    slots = max(1, min(group.lanes, left))
    actor: Any = ray.remote(Board)
    board = actor.options(**beside_this_process()).remote(
        slots if gated else 0, order.lanes.stuck_after_s
    )
    trainable = tune.with_parameters(
        trains or TrialTrainable, board=board, inputs=inputs, cpus=group.cpus, gpus=group.gpus
    )
    resources = {"cpu": group.cpus, **({"gpu": group.gpus} if group.gpus else {})}
    param_space: dict[str, Any] = {}
    if inputs.population:
        param_space, config = _population(order, first)
    else:
        config = _search(order, first, cost, inputs.rungs[-1], recorded, slots)
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        param_space=param_space,
        tune_config=config,
        run_config=tune.RunConfig(
            name=time.strftime("%Y-%m-%d_%H-%M-%S"),
            storage_path=str(folder),
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[
                SweepCallback(
                    board, recorded, inputs.rungs[-1], keep, checked=not inputs.population
                ),
                *tune_callbacks(order.track, folder.parent, step=STEPS),
            ],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except ProcessLostError:
        return False
    finally:
        ray.kill(board)
    return True


def _search(
    order: Order,
    first: FirstTrials,
    cost: TrialCost,
    budget: int,
    recorded: Mapping[int, Trial],
    slots: int,
) -> Any:
    """The TuneConfig of a search of settings."""
    from ray import tune

    from tune.search.schedulers import halving
    from tune.search.searchers import make_searcher

    searcher = make_searcher(
        order.search,
        first.space,
        cost,
        first.candidates,
        samples=order.samples,
        seed=order.seed,
        slots=slots,
        budget=budget,
        recorded=recorded,
        exact=order.exact,
    )
    ended = [t for t in recorded.values() if t.state in ("finished", "stopped") or t.diverged]
    return tune.TuneConfig(
        trial_name_creator=_name,
        trial_dirname_creator=_name,
        search_alg=searcher,
        scheduler=None if order.exact else halving(order.halving, budget, ended),
        num_samples=order.samples,
        reuse_actors=True,
    )


def _population(order: Order, first: FirstTrials) -> tuple[dict[str, Any], Any]:
    """The `param_space` and the TuneConfig of a population.

    Ray Tune's scheduler of populations takes no searcher. All members are begun anew, and told what
    they have.
    """
    from ray import tune
    from ray.tune.search import BasicVariantGenerator

    from tune.search.schedulers import Population
    from tune.search.searchers import member_space

    (rate,) = first.space
    assert isinstance(rate.domain, Range), "learning_rate_alone has seen to it"
    base_rate = first.space.of_base()[rate.name]
    return member_space(first.space, samples=order.samples, seed=order.seed), tune.TuneConfig(
        trial_name_creator=_name,
        trial_dirname_creator=_name,
        search_alg=BasicVariantGenerator(),
        scheduler=Population(
            order.population, rate.name, rate.domain, base_rate=base_rate, seed=order.seed
        ),
        reuse_actors=True,
    )


def _name(trial: Any) -> str:
    from tune.search.trainable import TRIAL, name_of

    return name_of(trial.config[TRIAL])
