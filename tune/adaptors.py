"""Ray Tune's own seats, taken by the referee: who searches, who schedules, who is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tune.referee import Standing


class Numbers(Searcher):
    """Hands the referee's trials to Ray Tune; their settings wait at the referee."""

    def __init__(self, referee: Any, give_up: Callable[[int], None]) -> None:
        """``give_up`` is told of a trial that has lost its workers too often."""
        super().__init__(metric="number", mode="max")
        self._referee, self._give_up = referee, give_up
        self._numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> Any:
        """The next trial; None if one must end first."""
        number = ray.get(self._referee.take.remote())
        if number is None:
            return Searcher.FINISHED if ray.get(self._referee.over.remote()) else None
        self._numbers[trial_id] = number
        return {"number": number}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """How others end the referee knows already."""
        if error:
            self._give_up(self._numbers[trial_id])

    def save(self, checkpoint_path: str) -> None:
        """The trials' folders are all that a resume needs."""

    def restore(self, checkpoint_path: str) -> None:
        """See :meth:`save`."""


class Parking(FIFOScheduler):
    """First come, first served; a trial that waits for one without a place makes room for it."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Pause a trial that asks for it; all other verdicts are the referee's."""
        return TrialScheduler.PAUSE if result.get("parked") else TrialScheduler.CONTINUE


class Display(tune.Callback):
    """Shows the sweep, from Ray Tune's own loop."""

    def __init__(self, referee: Any, show: Callable[[Standing], None], every_s: float) -> None:
        self._referee, self._show, self._every_s = referee, show, every_s
        self._last = 0.0

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Called many times a second."""
        if time.monotonic() - self._last < self._every_s:
            return
        placed = [trial.config["number"] for trial in trials if trial.status == "RUNNING"]
        standing: Standing = ray.get(self._referee.standing.remote(placed))
        self._show(standing)
        if standing.halted:
            raise ValueError(
                f"{standing.halted.rstrip('.')}. The same command with --resume goes on."
            )
        self._last = time.monotonic()
