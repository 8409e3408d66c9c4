"""The trainable of a sweep: what Ray Tune runs in each process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from angioray.cluster.nodes import share_here
from angioray.cluster.queue import PROGRESS_EVERY_S
from angioray.study.executor import reason_of, stops_all
from angioray.training.step import World
from tune.search.worker import Takeover, TrialInputs, TrialWorker
from tune.space.space import learning_rate
from tune.trials import WORST, Trial

SCORE, STEPS = "score", "steps"
"""In each result: the score, and at how many steps."""
TRIAL, ORIGIN, COST = "trial", "origin", "cost"
"""In each config, beside the searched settings: the trial's number, who chose it, its cost."""
TAKEOVER_FILE = "takeover.json"
ASK_EVERY_S = 0.2


def name_of(number: int) -> str:
    """How Ray Tune calls a trial: as its run folder."""
    return f"{number:03d}"


def trial_of(name: str, config: Mapping[str, Any]) -> Trial:
    """The trial that Ray Tune has given a name and a config.

    Its number is in its name: a member of a population gets the whole config of the one from which
    it takes over.
    """
    params = {key: value for key, value in config.items() if key not in (TRIAL, ORIGIN, COST)}
    return Trial(int(name), params, config[ORIGIN], cost=config[COST])


class TrialTrainable(tune.Trainable):
    """Trains a trial; a step of it goes on to the next rung and judges the trial there.

    The trial's own run folder has its checkpoint, exact to the step. So a trial needs no checkpoint
    of Ray Tune: whoever begins it again is told its scores at the rungs where it has been, and goes
    on from there. The process stays from trial to trial, and with it PyTorch, the device's context
    and the frames.
    """

    def setup(  # type: ignore[override]  # Ray Tune passes the constants on by name
        self, config: dict[str, Any], *, board: Any, inputs: TrialInputs, cpus: float, gpus: float
    ) -> None:
        """Called once per process."""
        torch.set_num_threads(max(1, int(cpus)))
        self._board, self._inputs = board, inputs
        self._waited, self._told = False, 0.0
        self.reset_config(config)
        with self._halting():
            device = torch.device("cuda" if gpus else "cpu")
            world = World(device, share=share_here(cpus, gpus))
            self._worker = TrialWorker(inputs, world, alive=self._alive)
        ray.get(board.join.remote())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Go over to another trial, in the same process."""
        self._trial = trial_of(self.trial_name, new_config)
        if self._inputs.population:
            self._trial.rates = [(0.0, new_config[self._rate])]
        return True

    def step(self) -> dict[str, Any]:
        """Train to the next rung, and judge."""
        self._wait_for_the_others()
        number, rung = self._trial.number, int(self.iteration)
        this = ray.get_runtime_context().current_actor
        while not (attempt := ray.get(self._board.begin.remote(number, this))):
            time.sleep(ASK_EVERY_S)
        try:
            with self._halting():
                trial = self._worker.advance(self._trial, rung, self._progress, attempt=attempt)
            ray.get(self._board.reach.remote(number))
        finally:
            self._board.leave.remote(number)
        step = self._inputs.rungs[rung]
        score = trial.score_at(step)
        # A member of a population that failed may take over from another, so it stays.
        failed = score is None and not self._inputs.population
        return {
            STEPS: step,
            SCORE: WORST if score is None else score,
            "seconds": trial.seconds,
            "reason": trial.reason,
            "diverged": trial.diverged,
            "curve": json.dumps(trial.curve),
            "rates": json.dumps(trial.rates),
            "done": failed or rung == len(self._inputs.rungs) - 1,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Keep the weights for others, and say where: Ray Tune pauses members of a population."""
        with self._halting():
            kept = self._worker.keep_for_others(self._trial.number, int(self.iteration) - 1)
        Path(checkpoint_dir, TAKEOVER_FILE).write_text(json.dumps(vars(kept)))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on, or take over from another."""
        document = json.loads(Path(checkpoint, TAKEOVER_FILE).read_text())
        rates = [(share, rate) for share, rate in document["rates"]]
        kept = Takeover(document["number"], document["rung"], rates)
        if kept.number != self._trial.number:
            rate = self._trial.params[self._rate]
            with self._halting():
                self._worker.take_over(self._trial.number, kept, rate)

    @property
    def _rate(self) -> str:
        """The name of the learning rate."""
        (task,) = self._inputs.objective.base.tasks
        return learning_rate(task)

    @contextmanager
    def _halting(self) -> Iterator[None]:
        """What a trial itself did wrong is its reason; all else would stop every other trial too.

        Ray Tune tries again what a network file system may have done once.
        """
        try:
            yield
        except Exception as problem:
            if not isinstance(problem, OSError) or stops_all(problem):
                ray.get(self._board.halt.remote(reason_of(problem)))
            raise

    def _wait_for_the_others(self) -> None:
        while not self._waited:
            self._waited = ray.get(self._board.gate_is_open.remote())
            if not self._waited:
                time.sleep(ASK_EVERY_S)

    def _alive(self) -> None:
        if time.monotonic() - self._told > PROGRESS_EVERY_S:
            self._told = time.monotonic()
            self._board.alive.remote(self._trial.number)

    def _progress(self, done: int, steps: int, values: dict[str, float]) -> None:
        if time.monotonic() - self._told > PROGRESS_EVERY_S:
            self._told = time.monotonic()
            self._board.progress.remote(self._trial.number, done, values)
