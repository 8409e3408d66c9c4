"""Trials of Ray Tune in MLflow or Weights & Biases.

Ray's own MLflowLoggerCallback ends a sweep at a metric's name with an ``@``, when population based
training changes a trial's settings, and when the server does not answer; a trial that failed or was
restored leaves a run that is under way for ever. WandbLoggerCallback sends host names and paths.
"""

from __future__ import annotations

import atexit
from collections import defaultdict
from numbers import Real
from typing import Any

from ray import tune
from ray.air.constants import TRAINING_ITERATION
from ray.tune.result import AUTO_RESULT_KEYS, DONE

from angioray.cluster.trackers import Outcome, Track
from angioray.cluster.tracking import Tracked, Tracking, flat
from preprocess.storage import Location, open_storage

OF_TUNE = {*AUTO_RESULT_KEYS, DONE}
"""Values that Ray Tune adds to every result."""


def tune_callbacks(
    track: Track | None, folder: Location, *, step: str = TRAINING_ITERATION
) -> list[tune.Callback]:
    """The callbacks of Ray Tune that track a sweep; none where nothing is tracked.

    Args:
        track: the tracker.
        folder: of the sweep, which keeps the ids of its trials in the tracker.
        step: which value of a result says how far the trial is.
    """
    return [] if track is None else [TrialTracking(track, folder, step)]


class TrialTracking(tune.Callback):
    """Tells a tracker of trials and the numbers of their results.

    ``setup`` opens the tracker, in whatever process runs the sweep.
    """

    def __init__(self, track: Track, folder: Location, step: str) -> None:
        """As for :func:`tune_callbacks`."""
        self._track, self._folder, self._step = track, str(folder), step
        self._tracking: Tracking | None = None
        self._lines: defaultdict[str, list[dict[str, float]]] = defaultdict(list)

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Open the tracker, and close it with this process at the latest.

        Raises:
            ValueError: it is not installed, or does not answer.
        """
        self._tracking = Tracking(self._track, open_storage(self._folder))
        atexit.register(self._tracking.close)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial begins, or goes on."""
        self._follow(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial has come to a rung."""
        values = {
            name: float(value)
            for name, value in result.items()
            if isinstance(value, Real) and name not in {*OF_TUNE, self._step}
        }
        self._lines[str(trial)].append({**values, "step": result[self._step]})
        self._follow(trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has ended, or was stopped by the scheduler."""
        failed = (trial.last_result or {}).get("reason")
        self._follow(trial, "failed" if failed else "finished")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has failed for good."""
        self._follow(trial, "failed")

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Log what is left."""
        if self._tracking is not None:
            self._tracking.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tracking": None}

    def _follow(self, trial: Any, outcome: Outcome | None = None) -> None:
        name, lines = str(trial), self._lines[str(trial)]
        params = flat(trial.config)
        run = Tracked(name, {"trial": name}, params, lambda: list(lines), dict)
        if self._tracking is not None:
            self._tracking.follow(run, outcome)
