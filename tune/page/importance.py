"""The importance of settings: how much of the differences between trials each explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)

from tune.page.parameters import ShownParameter, shown
from tune.page.sweep import Sweep
from tune.trials import Trial

FEWEST = 10
"""Trials judged at one rung, below which shares would be noise."""
_SEED = 0


def importance(sweep: Sweep, parameters: Sequence[ShownParameter]) -> dict[str, float] | str:
    """Share of the scores' variance that each setting explains, by setting, highest first.

    Functional analysis of variance over a random forest (Hutter et al. 2014, PMLR 32:754), as
    Optuna computes it, on the trials judged at the sweep's comparison rung and the settings that
    all of them have. A sentence instead where that says nothing.
    """
    judged = sweep.comparable()
    if len(judged) < FEWEST:
        return (
            f"Which setting matters cannot be said: {len(judged)} trials were judged at the same "
            f"rung, and with fewer than {FEWEST} it would be a matter of luck."
        )
    if len({score for _, score in judged}) == 1:
        return "All trials have the same score, so that no setting made a difference."
    distributions = {p.setting: _distribution(p) for p in parameters}
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize")
        for trial, score in judged:
            study.add_trial(_frozen(trial, score, distributions))
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=_SEED)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    finally:
        optuna.logging.set_verbosity(before)
    if not found:
        return "No setting is common to all trials and varies, so that none can be weighed."
    return found


def _frozen(
    trial: Trial, score: float, distributions: Mapping[str, BaseDistribution]
) -> optuna.trial.FrozenTrial:
    own = {setting: distributions[setting] for setting in trial.params}
    params = {
        setting: shown(value) if isinstance(own[setting], CategoricalDistribution) else value
        for setting, value in trial.params.items()
    }
    return optuna.trial.create_trial(params=params, distributions=own, value=score)


def _distribution(parameter: ShownParameter) -> BaseDistribution:
    if parameter.choices:
        return CategoricalDistribution(parameter.choices)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
