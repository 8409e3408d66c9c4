"""Ray Tune's schedulers for sweeps: which trials stop, and which take over from others."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    PopulationBasedTraining,
    TrialScheduler,
)

from tune.search.settings import HalvingSettings, PopulationSettings
from tune.search.trainable import SCORE, STEPS, name_of
from tune.space.parameters import Range
from tune.trials import BASE, WORST, Trial

BASE_NAME = name_of(BASE)


def halving(settings: HalvingSettings, budget: int, ended: Iterable[Trial] = ()) -> FIFOScheduler:
    """Ray Tune's asynchronous halving; no scheduler where there is one rung.

    Args:
        settings: the rungs.
        budget: steps of a whole trial.
        ended: trials of an earlier attempt; others are compared with them as well.
    """
    if len(settings.steps(budget)) == 1:
        return FIFOScheduler()
    return Halving(settings, budget, ended)


@dataclass(frozen=True)
class _Ended:
    """What ASHAScheduler must know of a trial of an earlier attempt."""

    trial_id: str


class Halving(ASHAScheduler):
    """ASHAScheduler over steps, with two rules of this project.

    Trial 0 has the settings as they are and is never stopped, for the best is compared with it. A
    trial that failed for another reason than its settings is compared with none.
    """

    def __init__(self, settings: HalvingSettings, budget: int, ended: Iterable[Trial]) -> None:
        super().__init__(
            time_attr=STEPS,
            metric=SCORE,
            mode="max",
            max_t=budget,
            grace_period=settings.first(budget),
            reduction_factor=settings.reduction,
        )
        self._budget = budget
        nobody: Any = None
        rungs = settings.steps(budget)
        for trial in ended:
            known: Any = _Ended(f"ended-{trial.number}")
            self.on_trial_add(nobody, known)
            for step, score in trial.curve:
                self.on_trial_result(nobody, known, {STEPS: step, SCORE: score})
            if trial.diverged:
                after = next(step for step in rungs if step > trial.steps)
                self.on_trial_result(nobody, known, {STEPS: after, SCORE: WORST})

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Called with each score; says whether the trial goes on."""
        action: str = super().on_trial_result(tune_controller, trial, result)
        is_last = result[STEPS] >= self._budget
        return TrialScheduler.CONTINUE if str(trial) == BASE_NAME and not is_last else action

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Called when a trial has ended."""
        if result.get("reason") and not result.get("diverged"):
            self.on_trial_remove(tune_controller, trial)
        else:
            super().on_trial_complete(tune_controller, trial, result)


class Population(PopulationBasedTraining):
    """PopulationBasedTraining in step: nobody goes on before all are judged.

    Who takes over from whom follows from the seed and the scores alone, so a population that was
    interrupted is repeated from its trials' folders to where it was.
    """

    def __init__(
        self,
        settings: PopulationSettings,
        rate: str,
        domain: Range,
        *,
        base_rate: float,
        seed: int,
    ) -> None:
        """Get ready.

        Args:
            settings: how members take over.
            rate: the name of the learning rate, which is what changes.
            domain: its range.
            base_rate: of trial 0, which keeps it: it takes over from nobody.
            seed: of the draws.
        """
        draw = tune.loguniform if domain.log else tune.uniform
        super().__init__(
            time_attr="training_iteration",
            metric=SCORE,
            mode="max",
            perturbation_interval=1,
            hyperparam_mutations={rate: draw(domain.low, domain.high)},
            quantile_fraction=settings.share,
            resample_probability=0.0,
            perturbation_factors=(settings.factor, 1 / settings.factor),
            synch=True,
        )
        self._rate, self._base_rate, self._seed = rate, base_rate, seed

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Called with each score; the last one of an interval decides for all members."""
        # Ray Tune draws from Python's own generator, which others use as well.
        before = random.getstate()
        random.seed(f"{self._seed} {result['training_iteration']}")
        try:
            action: str = super().on_trial_result(tune_controller, trial, result)
        finally:
            random.setstate(before)
        for other in tune_controller.get_trials():
            if str(other) == BASE_NAME and other.config[self._rate] != self._base_rate:
                other.set_config({**other.config, self._rate: self._base_rate})
        return action
