"""The driver's view of a sweep, from Ray Tune's loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray
from ray import tune

from tune.search.referee import Standing

EVERY_S = 0.5


class Watch(tune.Callback):
    """Shows the sweep, and tells the referee which lanes have a process."""

    def __init__(self, referee: Any, show: Callable[[Standing], None]) -> None:
        self._referee, self._show = referee, show
        self._last = 0.0

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Called many times a second."""
        if time.monotonic() - self._last < EVERY_S:
            return
        lanes = [trial.config["lane"] for trial in trials if trial.status == "RUNNING"]
        standing: Standing = ray.get(self._referee.standing.remote(lanes))
        self._show(standing)
        if standing.halted:
            raise ValueError(
                f"{standing.halted.rstrip('.')}. The same command with --resume goes on."
            )
        self._last = time.monotonic()


class Over(tune.Stopper):
    """Ends all lanes with the last trial, those that never found a place again included."""

    def __init__(self, referee: Any) -> None:
        self._referee = referee
        self._last = 0.0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """A lane ends by itself."""
        return False

    def stop_all(self) -> bool:
        """Whether every trial has ended."""
        if time.monotonic() - self._last < EVERY_S:
            return False
        self._last = time.monotonic()
        return bool(ray.get(self._referee.over.remote()))
