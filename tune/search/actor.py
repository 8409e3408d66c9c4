"""The trainable that Ray Tune runs: a lane that takes rungs from the referee."""

from __future__ import annotations

import time
from typing import Any

import ray
import torch
from ray.tune import Trainable

from angioray.cluster.nodes import share_here
from angioray.cluster.queue import PROGRESS_EVERY_S
from angioray.study.executor import reason_of, stops_all
from angioray.training.step import World
from tune.search.referee import Errand
from tune.search.trial import TrialWorker, Workplace

ASK_EVERY_S = 0.1


class Lane(Trainable):
    """To Ray Tune one long trial, whose steps are the rungs of whatever trials are next.

    The process stays from trial to trial, and with it PyTorch, the device's context and the
    frames. Actors of Ray Tune that change their trial are ended where no other trial is known yet,
    as here, where the next one depends on how this one ends.
    """

    def setup(  # type: ignore[override]  # Ray Tune passes the constants on by name
        self,
        config: dict[str, Any],
        *,
        referee: Any,
        place: Workplace,
        cpus: float,
        gpus: float,
    ) -> None:
        """Called once per process."""
        torch.set_num_threads(max(1, int(cpus)))
        device = torch.device("cuda" if gpus else "cpu")
        self._lane, self._referee = int(config["lane"]), referee
        self._told = 0.0
        ray.get(referee.join.remote(self._lane, ray.get_runtime_context().current_actor))
        world = World(device, share=share_here(cpus, gpus))
        self._worker = TrialWorker(place, world, alive=self._alive)

    def step(self) -> dict[str, Any]:
        """One rung of one trial: train, judge, report."""
        if (errand := self._next()) is None:
            return {"done": True}
        try:
            trial = self._worker.advance(errand.trial, errand.settings, errand.rung, self._progress)
        except OSError as problem:
            if stops_all(problem):
                ray.get(self._referee.halt.remote(reason_of(problem)))
            raise
        said = (trial.number, trial.curve, trial.seconds, trial.reason, trial.diverged)
        ray.get(self._referee.report.remote(self._lane, *said))
        return {"done": False}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """A trial keeps its own checkpoint in its folder."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load."""

    def _next(self) -> Errand | None:
        while True:
            errand: Errand | None = ray.get(self._referee.take.remote(self._lane))
            if errand is not None or ray.get(self._referee.over.remote()):
                return errand
            time.sleep(ASK_EVERY_S)

    def _alive(self) -> None:
        if time.monotonic() - self._told > PROGRESS_EVERY_S:
            self._told = time.monotonic()
            self._referee.alive.remote(self._lane)

    def _progress(self, done: int, steps: int, values: dict[str, float]) -> None:
        now = time.monotonic()
        if now - self._told > PROGRESS_EVERY_S:
            self._told = now
            self._referee.progress.remote(self._lane, done, values)
