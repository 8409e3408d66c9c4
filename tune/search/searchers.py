"""Where trials come from: Optuna in Ray Tune, or a list of settings."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.search.optuna import OptunaSearch

from tune.cost import TrialCost
from tune.search.candidates import Candidate
from tune.search.settings import Search
from tune.search.trainable import COST, ORIGIN, SCORE, STEPS, TRIAL
from tune.space.parameters import Params
from tune.space.space import Space
from tune.trials import BASE, BY_BASE, BY_SEARCH, WORST, Trial

RANDOM_FIRST = 10
"""Trials that TPE draws at random before it begins to learn, those it is given included."""
EXACT_BATCH = 8
"""Trials that `--exact` suggests together, on few GPUs as on many."""
DRAWS = 1000
"""Of one trial, until one is within the limit of costs."""
STUDY = "sweep"
ITERATION = "training_iteration"
"""Ray Tune's count of a trial's steps: here of its rungs."""


def make_searcher(
    search: Search,
    space: Space,
    cost: TrialCost,
    candidates: Sequence[Candidate],
    *,
    samples: int,
    seed: int,
    slots: int,
    budget: int,
    recorded: Mapping[int, Trial],
    exact: bool,
) -> ConcurrencyLimiter:
    """The searcher of that name, as Ray Tune takes it.

    Args:
        search: its name: tpe, random or grid.
        space: what it draws from.
        cost: of trials; those over its limit are not drawn.
        candidates: the first trials; the base's settings are the very first.
        samples: trials in all.
        seed: of its draws.
        slots: trials at once.
        budget: steps of a whole trial.
        recorded: what an earlier attempt has left; it is not drawn again.
        exact: suggest trials in batches, as the same seed alone decides.
    """
    given = dict(enumerate(candidates))
    if search == "grid":
        points = (Candidate(params, BY_SEARCH) for params in space.grid() if cost.allows(params))
        given = dict(enumerate((*candidates, *points)))
        samples = min(samples, len(given))
    if not exact:
        # Otherwise what was drawn before would be drawn again.
        seed = int(np.random.SeedSequence((seed, len(recorded))).generate_state(1)[0])
        given |= {n: Candidate(trial.params, trial.origin) for n, trial in recorded.items()}
    ended = [trial for trial in recorded.values() if trial.state != "running" and not exact]
    numbers = [n for n in range(samples) if n not in {trial.number for trial in ended}]
    searcher = SettingsSearch(
        space,
        cost,
        _sampler(search, seed, together=exact or slots > 1),
        given=given,
        ended=ended,
        numbers=numbers,
        budget=budget,
    )
    return ConcurrencyLimiter(searcher, EXACT_BATCH if exact else slots, batch=exact)


def member_space(space: Space, *, samples: int, seed: int) -> dict[str, Any]:
    """The settings with which the members of a population begin, as Ray Tune's `param_space`.

    Args:
        space: the learning rate's, alone.
        samples: members; the first begins with the base's rate, the others at random.
        seed: of the draws.
    """
    (rate,) = space
    draws = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    others = [space.suggest(draws.ask())[rate.name] for _ in range(1, samples)]
    rates = [space.of_base()[rate.name], *others]
    origins = [BY_BASE, *(BY_SEARCH for _ in others)]
    return {
        TRIAL: tune.grid_search(list(range(samples))),
        ORIGIN: tune.sample_from(lambda spec: origins[_number(spec)]),
        COST: 1.0,
        rate.name: tune.sample_from(lambda spec: rates[_number(spec)]),
    }


def _number(spec: Any) -> int:
    number: int = spec.config[TRIAL]
    return number


def _sampler(search: Search, seed: int, *, together: bool) -> optuna.samplers.BaseSampler:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if search != "tpe":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings(action="ignore"):  # that these options may change one day
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=RANDOM_FIRST,
            multivariate=True,
            group=True,
            constant_liar=together,
        )


class SettingsSearch(OptunaSearch):
    """OptunaSearch over a space of settings: first what is given, then what Optuna draws.

    Ray Tune tells Optuna that a stopped trial is complete, with the score of its few steps. Here
    it is told that it was pruned, and its scores by rung, by which TPE ranks it.
    """

    def __init__(
        self,
        space: Space,
        cost: TrialCost,
        sampler: optuna.samplers.BaseSampler,
        *,
        given: Mapping[int, Candidate],
        ended: Iterable[Trial],
        numbers: Sequence[int],
        budget: int,
    ) -> None:
        storage = optuna.storages.InMemoryStorage()
        super().__init__(
            space.suggest,
            metric=SCORE,
            mode="max",
            sampler=sampler,
            storage=storage,
            study_name=STUDY,
        )
        # Another view of the same study, for what OptunaSearch has no method for.
        self._study = optuna.load_study(study_name=STUDY, storage=storage, sampler=sampler)
        self._settings_space, self._cost, self._budget = space, cost, budget
        self._given, self._numbers = dict(given), list(numbers)
        self._asked: dict[str, str] = {}
        for trial in ended:
            self._take_up(trial)

    def suggest(self, trial_id: str) -> Any:
        """The settings of the next trial."""
        if not self._numbers:
            return Searcher.FINISHED
        number = self._numbers.pop(0)
        if number in self._given:
            params, origin = self._given[number].params, self._given[number].origin
            self._enqueue(trial_id, params)
        else:
            params, origin = self._draw(trial_id), BY_SEARCH
        cost = 1.0 if number == BASE else self._cost(params)
        return {TRIAL: number, ORIGIN: origin, COST: cost, **params}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Called with each score, but for the last one."""
        if trial_id in self._asked:
            with warnings.catch_warnings(action="ignore"):  # a trial begun again tells it twice
                super().on_trial_result(self._asked[trial_id], result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Called when a trial has ended, or was stopped."""
        if (asked := self._asked.get(trial_id)) is None:
            return
        failed = error or result is None or bool(result.get("reason"))
        if failed and not (result or {}).get("diverged"):
            super().on_trial_complete(asked, error=True)
        elif failed:
            # TPE ranks what was pruned by its last score.
            self._prune(trial_id, {SCORE: WORST, ITERATION: (result or {}).get(ITERATION, 0)})
        elif result is not None and result[STEPS] < self._budget:
            self._prune(trial_id, result)
        else:
            super().on_trial_complete(asked, result)
        del self._asked[trial_id]

    def _prune(self, trial_id: str, result: dict[str, Any]) -> None:
        self.on_trial_result(trial_id, result)
        super().on_trial_complete(self._asked[trial_id])

    def _enqueue(self, trial_id: str, params: Params) -> None:
        """Let Optuna know of settings that it did not choose, if its space holds them."""
        if self._settings_space.holds(params):
            self._study.enqueue_trial(params)
            self._asked[trial_id] = trial_id
            super().suggest(trial_id)

    def _draw(self, trial_id: str) -> Params:
        for attempt in range(DRAWS):
            asked = f"{trial_id}-{attempt}"
            params: Any = super().suggest(asked)
            if self._cost.allows(params):
                self._asked[trial_id] = asked
                return dict(params)
            super().on_trial_complete(asked, error=True)
        raise ValueError(
            f"Of {DRAWS} trials drawn from the space none costs {self._cost.most:g} times the base "
            "or less. Give a higher `--most-cost`, or search cheaper values."
        )

    def _take_up(self, trial: Trial) -> None:
        known = f"ended-{trial.number}"
        self._enqueue(known, trial.params)
        results: list[dict[str, Any]] = [
            {SCORE: score, STEPS: step, ITERATION: rung + 1}
            for rung, (step, score) in enumerate(trial.curve)
        ]
        for result in results:
            self.on_trial_result(known, result)
        last = results[-1] if results else {}
        if trial.diverged:
            last = {ITERATION: len(results) + 1}
        self.on_trial_complete(known, {**last, "reason": trial.reason, "diverged": trial.diverged})
