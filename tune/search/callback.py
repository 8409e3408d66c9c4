"""The callback of a sweep: Ray Tune's results become the sweep's own table and screen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray import tune

from tune.search.progress import Standing
from tune.search.trainable import trial_of
from tune.trials import Trial

EVERY_S = 0.5
OF_THE_MACHINE = ("hostname", "node_ip", "pid")


class ProcessLostError(Exception):
    """Ray Tune would end a trial whose process died as it went over to that trial."""


class SweepCallback(tune.Callback):
    """Follows the trials in the process of the command."""

    def __init__(
        self,
        board: Any,
        recorded: Mapping[int, Trial],
        budget: int,
        keep: Callable[[Standing], None],
        *,
        checked: bool,
    ) -> None:
        """Begin with what an earlier attempt has left.

        Args:
            board: of the sweep.
            recorded: trials by number.
            budget: steps of a whole trial.
            keep: is told how it stands, a few times a second.
            checked: whether a trial must have the settings that it was begun with.
        """
        self._board, self._recorded, self._budget = board, recorded, budget
        self._keep, self._checked = keep, checked
        self._trials = {n: t for n, t in recorded.items() if t.state != "running"}
        self._losses: list[str] = []
        self._problem: Exception | None = None
        self._last = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Ray Tune keeps its callbacks in a file, of which nothing here is ever read back."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when a trial has a process."""
        begun = trial_of(str(trial), trial.config)
        number = begun.number
        if number in self._trials and self._trials[number].state == "running":
            return
        self._trials[number] = begun
        if number in self._recorded:
            recorded = self._recorded[number]
            try:
                if self._checked:
                    recorded.refuse_other_settings(begun)
            except ValueError as problem:
                self._problem = problem
            begun.curve, begun.rates = list(recorded.curve), list(recorded.rates)
            begun.params, begun.seconds = recorded.params, recorded.seconds

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Called with each score."""
        known = self._trials[int(str(trial))]
        known.reason, known.diverged = result["reason"], result["diverged"]
        known.seconds = result["seconds"]
        known.curve = [(step, score) for step, score in json.loads(result["curve"])]
        known.rates = [(share, rate) for share, rate in json.loads(result["rates"])]
        for name in OF_THE_MACHINE:  # Ray Tune's own files need not say where it ran
            result.pop(name, None)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when a trial has ended, or was stopped."""
        known = self._trials[int(str(trial))]
        whole = known.steps == self._budget
        known.state = "failed" if known.reason else "finished" if whole else "stopped"

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when a trial's process was lost."""
        number = int(str(trial))
        self._board.leave.remote(number)
        self._losses.append(f"trial {number:03d} lost its process, and goes on in another")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when Ray Tune gives a trial up: its process died between two trials.

        Ray Tune wraps what is raised here, so it is raised at the end of the step.
        """
        self._problem = ProcessLostError(f"trial {int(str(trial)):03d} lost its process")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Called many times a second.

        Raises:
            ProcessLostError: Ray Tune has given a trial up, with which the sweep can go on.
            ValueError: no trial can go on.
        """
        if self._problem is not None:
            raise self._problem
        if time.monotonic() - self._last < EVERY_S:
            return
        halted = self._show()
        if halted:
            raise ValueError(f"{halted.rstrip('.')}. The same command with --resume goes on.")
        self._last = time.monotonic()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Called when all trials have ended."""
        self._show()

    def _show(self) -> str:
        """Tell how it stands; why it was halted."""
        running, stuck, halted = ray.get(self._board.look.remote())
        self._losses += stuck
        known = {n: progress for n, progress in running.items() if n in self._trials}
        ordered = tuple(self._trials[number] for number in sorted(self._trials))
        self._keep(Standing(ordered, known, tuple(self._losses)))
        return str(halted)
