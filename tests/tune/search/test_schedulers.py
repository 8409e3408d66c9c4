"""Halving by Ray Tune: where it decides, whom it spares, and what it compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import FIFOScheduler

from tune.search.schedulers import Halving, halving
from tune.search.settings import HalvingSettings
from tune.trials import Trial

NOBODY: Any = None
"""Asynchronous halving asks nothing of Ray Tune's controller."""


@dataclass(frozen=True)
class Shown:
    """What a scheduler sees of a trial."""

    trial_id: str

    def __str__(self) -> str:
        return self.trial_id


def begun(scheduler: Halving, number: int) -> Any:
    trial = Shown(f"{number:03d}")
    scheduler.on_trial_add(NOBODY, trial)  # type: ignore[arg-type]
    return trial


def tell(scheduler: Halving, trial: Any, step: int, score: float) -> str:
    return scheduler.on_trial_result(NOBODY, trial, {"steps": step, "score": score})


@given(
    budget=st.integers(1, 3000),
    rungs=st.integers(2, 5),
    reduction=st.sampled_from([1.5, 2.0, 3.0, 4.0, 2.7]),
)
def test_it_decides_at_every_rung_of_the_settings(
    budget: int, rungs: int, reduction: float
) -> None:
    settings = HalvingSettings(rungs=rungs, reduction=reduction)
    steps = settings.steps(budget)
    assert steps[-1] == budget and list(steps) == sorted(set(steps)) and len(steps) <= rungs
    if len(steps) == 1:
        return
    scheduler = Halving(settings, budget, ())
    good, bad = begun(scheduler, 1), begun(scheduler, 2)
    for step in steps[:-1]:
        assert tell(scheduler, good, step, 0.9) == "CONTINUE"
    assert tell(scheduler, bad, steps[-2], 0.8) == "STOP", "the best third goes on, of two one"


def test_the_settings_as_they_are_are_never_stopped_before_the_end() -> None:
    scheduler = Halving(HalvingSettings(), 90, ())
    best, base, other = (begun(scheduler, number) for number in (1, 0, 2))
    assert tell(scheduler, best, 10, 0.9) == "CONTINUE"
    assert tell(scheduler, base, 10, 0.1) == "CONTINUE"
    assert tell(scheduler, other, 10, 0.2) == "STOP"
    assert tell(scheduler, base, 90, 0.1) == "STOP"


@pytest.mark.parametrize("diverged", [True, False])
def test_an_accident_is_compared_with_nobody_and_a_divergence_is(diverged: bool) -> None:
    scheduler = Halving(HalvingSettings(reduction=2.0), 40, ())
    first, lost, third = (begun(scheduler, number) for number in (1, 2, 3))
    tell(scheduler, first, 10, 0.8)
    result = {"steps": 10, "score": 0.0, "reason": "no number", "diverged": diverged}
    scheduler.on_trial_complete(NOBODY, lost, result)
    # Of 0.8 and 0.0 the median is 0.4, which 0.5 passes; of 0.8 alone it is 0.8.
    assert tell(scheduler, third, 10, 0.5) == ("CONTINUE" if diverged else "STOP")


def test_trials_of_an_earlier_attempt_are_compared_with_as_well() -> None:
    ended = [Trial(4, {}, "search", curve=[(10, 0.7), (30, 0.8)], state="stopped")]
    scheduler = Halving(HalvingSettings(), 90, ended)
    later = begun(scheduler, 5)
    assert tell(scheduler, later, 10, 0.6) == "STOP"
    lost = Trial(4, {}, "search", curve=[(10, 0.7)], reason="no number", diverged=True)
    scheduler = Halving(HalvingSettings(reduction=2.0), 40, [lost])
    good = begun(scheduler, 5)
    assert tell(scheduler, good, 20, 0.1) == "CONTINUE", "better than one that diverged on the way"


def test_one_rung_stops_nobody() -> None:
    assert type(halving(HalvingSettings(rungs=1), 90)) is FIFOScheduler
