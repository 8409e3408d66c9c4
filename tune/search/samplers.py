"""The samplers of trials: Optuna's, or a grid."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tune.search.halving import WORST, Outcome
from tune.search.settings import Search
from tune.space.parameters import Params
from tune.space.space import Space

if TYPE_CHECKING:
    import optuna

RANDOM_FIRST = 10
"""Trials that TPE draws at random before it begins to learn, those it is given included."""


class Sampler(Protocol):
    """Suggests, and is told what became of it."""

    def suggest(self, number: int) -> Params | None:
        """Settings for a trial; None if there are no more."""
        ...

    def tell(self, number: int, outcome: Outcome, curve: Sequence[tuple[int, float]]) -> None:
        """How a trial ended, and its scores by step."""
        ...


def make_sampler(search: Search, space: Space, *, seed: int, lanes: int) -> Sampler:
    """The sampler of that name.

    Args:
        search: its name.
        space: what it draws from.
        seed: of its draws.
        lanes: trials at once.
    """
    if search == "grid":
        return Grid(space.grid())
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if search in ("random", "pbt"):  # a population begins at random places
        return Optuna(space, optuna.samplers.RandomSampler(seed=seed))
    with warnings.catch_warnings(action="ignore"):  # that these options may change one day
        tpe = optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=RANDOM_FIRST,
            multivariate=True,
            group=True,
            constant_liar=lanes > 1,
        )
    return Optuna(space, tpe)


class Grid:
    """Every point of a grid, in order."""

    def __init__(self, points: Iterable[Params]) -> None:
        self._points = list(points)

    def suggest(self, number: int) -> Params | None:
        """The next point."""
        return self._points.pop(0) if self._points else None

    def tell(self, number: int, outcome: Outcome, curve: Sequence[tuple[int, float]]) -> None:
        """A grid learns nothing."""


class Optuna:
    """One of Optuna's samplers, asked and told in the order of the course."""

    def __init__(self, space: Space, sampler: optuna.samplers.BaseSampler) -> None:
        import optuna

        self._space = space
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._asked: dict[int, Any] = {}

    def suggest(self, number: int) -> Params:
        """Ask for settings."""
        self._asked[number] = trial = self._study.ask()
        return self._space.suggest(trial)

    def give(self, number: int, params: Params) -> None:
        """Let it know of a trial whose settings it did not choose, which its space must hold."""
        self._study.enqueue_trial(params)
        assert self.suggest(number) == params

    def tell(self, number: int, outcome: Outcome, curve: Sequence[tuple[int, float]]) -> None:
        """Tell how a trial ended."""
        import optuna

        if (trial := self._asked.pop(number, None)) is None:
            return
        if outcome == "finished":
            self._study.tell(trial, curve[-1][1])
            return
        if outcome == "failed":
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        # TPE ranks stopped trials by step and score; one that diverged comes last of all.
        for step, score in curve if outcome == "stopped" else [(0, WORST)]:
            trial.report(score, step)
        self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
