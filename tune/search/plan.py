"""The plan of a sweep: trials, rungs, hours and GPUs, before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence

from preprocess.console.progress import duration
from preprocess.console.tables import print_table
from preprocess.console.words import counted
from tune.search.fold_sweep import FoldSweep
from tune.search.settings import HalvingSettings

DRAWS = 64
"""Of the space, for the mean cost of a trial."""


def print_plan(sweeps: Sequence[FoldSweep]) -> None:
    """Say what a sweep would do; nothing is started or written.

    Args:
        sweeps: one, or one of each fold.

    Raises:
        ValueError: the cluster cannot be reached, or no trial fits.
    """
    first = sweeps[0]
    print(*first.first.in_words(), sep="\n")
    found = first.room(starting=False)
    costs = drawn_costs(first)
    share = share_trained(first)
    mean_s = found.base_s * share * sum(costs) / len(costs)
    trials = sum(sweep.count for sweep in sweeps)
    total_s = trials * mean_s
    group = found.group
    at_once = min(group.lanes, trials)
    # The longest whole trial may be the last to start.
    makespan_s = max(total_s / at_once, found.base_s * max(costs))
    print_table(
        ("what", "how much"),
        [
            ("trials", str(trials) + (f" over {len(sweeps)} folds" if len(sweeps) > 1 else "")),
            ("judged at steps", ", ".join(map(str, first.rungs))),
            ("trained, of all steps", f"about {share:.0%}"),
            ("one with the settings as they are", f"about {duration(found.base_s)}"),
            ("cost of others, in that", f"{min(costs):.2g} to {max(costs):.2g}"),
            (
                "at once",
                f"{at_once} x ({counted(group.gpus, 'GPU')}, {counted(group.cpus, 'CPU core')})",
            ),
            ("in all", f"about {duration(makespan_s)}, {_spent(total_s, group.gpus, group.cpus)}"),
        ],
    )
    print(*found.notes, sep="\n")
    print(f"Times are {found.source}; frames and judging come on top. Nothing was started.")


def drawn_costs(sweep: FoldSweep) -> list[float]:
    """The costs of trials: of those that come first, and of some that are drawn at random."""
    import optuna

    cost = sweep.cost
    if sweep.order.search == "grid":
        drawn = [params for params in sweep.space.grid() if cost.allows(params)]
    else:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=sweep.order.seed))
        draws = (sweep.space.suggest(study.ask()) for _ in range(DRAWS))
        drawn = [params for params in draws if cost.allows(params)]
    return [1.0, *(cost(first.params) for first in sweep.first.candidates[1:]), *map(cost, drawn)]


def share_trained(sweep: FoldSweep) -> float:
    """The steps that all trials take, of those of as many whole ones, as halving intends it."""
    rungs, order = sweep.rungs, sweep.order
    halves = order.search != "pbt" and not order.exact
    return halved(rungs, order.halving) if halves else 1.0


def halved(rungs: Sequence[int], halving: HalvingSettings) -> float:
    """The share of steps where of the trials at each rung 1/reduction goes on."""
    before = (0, *rungs[:-1])
    parts = (
        (step - earlier) / halving.reduction**rung
        for rung, (earlier, step) in enumerate(zip(before, rungs, strict=True))
    )
    return sum(parts) / rungs[-1]


def _spent(seconds: float, gpus: float, cpus: float) -> str:
    if gpus:
        return f"{seconds * gpus / 3600:.1f} GPU hours"
    return f"{seconds * cpus / 3600:.1f} core hours"
