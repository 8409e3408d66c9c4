"""What Ray Tune runs: an actor that takes one trial after the other through its rungs."""

from __future__ import annotations

import errno
import time
from typing import Any

import ray
import torch
from ray.tune import Trainable

from angioray.execution import reason_of
from angioray.lanes import PROGRESS_EVERY_S
from angioray.nodes import share_here
from angioray.step import World
from tune.search import Trial
from tune.trial import TrialWorker, Workplace

ASK_EVERY_S = 0.1


class TrialActor(Trainable):
    """One step of Ray Tune is one rung of a trial.

    The process stays for the next trial, and with it PyTorch, the device's context and the frames.
    A new one in its place goes through the rungs again; those on disk take no time.
    """

    def setup(  # type: ignore[override]  # Ray Tune passes the constants on by name
        self,
        config: dict[str, Any],
        *,
        referee: Any,
        workplace: Workplace,
        cpus: float,
        gpus: float,
    ) -> None:
        """Called once per process."""
        torch.set_num_threads(max(1, int(cpus)))
        device = torch.device("cuda" if gpus else "cpu")
        self._referee, self._place = referee, workplace
        self._worker = TrialWorker(workplace, World(device, share=share_here(cpus, gpus)))
        self._told = 0.0
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in this process."""
        self._number, self._rung = int(new_config["number"]), 0
        return True

    def step(self) -> dict[str, Any]:
        """One rung: train, judge, report, and hear whether to go on."""
        suggested, settings = ray.get(self._referee.task.remote(self._number))
        try:
            trial = self._worker.advance(suggested, settings, self._rung, self._progress)
        except OSError as problem:
            if problem.errno == errno.ENOSPC:
                ray.get(self._referee.halt.remote(reason_of(problem)))
            raise
        ray.get(self._referee.report.remote(trial.number, trial.curve, trial.seconds))
        if trial.reason is not None:
            ray.get(self._referee.fail.remote(trial.number, trial.reason))
        answer = self._answer(trial)
        if answer == "end":
            self._end(trial)
        if answer == "go on":
            self._rung += 1
        return {"number": trial.number, "parked": answer == "park", "done": answer == "end"}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """A trial keeps its own checkpoint in its folder."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load."""

    def _answer(self, trial: Trial) -> str:
        rung = min(self._rung, len(trial.curve))  # one that failed has not got there
        while True:
            answer: str = ray.get(self._referee.verdict.remote(trial.number, rung))
            if answer != "wait":
                return answer
            time.sleep(ASK_EVERY_S)

    def _end(self, trial: Trial) -> None:
        finished = len(trial.curve) == len(self._place.rungs)
        failed = trial.reason is not None
        self._worker.end(trial, "failed" if failed else "finished" if finished else "stopped")

    def _progress(self, done: int, steps: int, values: dict[str, float]) -> None:
        now = time.monotonic()
        if now - self._told > PROGRESS_EVERY_S:
            self._told = now
            self._referee.progress.remote(self._number, done, values)
