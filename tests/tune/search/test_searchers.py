"""Where trials come from: what is given, what Optuna draws, and what it is told."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.search import ConcurrencyLimiter, Searcher

from tests.angioray.settings import TOY
from tune.cost import TrialCost
from tune.search.candidates import Candidate
from tune.search.searchers import SettingsSearch, make_searcher
from tune.space.space import Space
from tune.space.space_file import read_space
from tune.trials import BY_BASE, Trial

BUDGET = 90
ALPHA, RATE = "detector.focal_alpha", "detector.optimiser.learning_rate"
FORM = f"""\
{ALPHA}: {{low: 0.05, high: 0.95, points: 3}}
{RATE}: {{low: 1.0e-4, high: 1.0e-1, log: true, points: 2}}
"""


class Ranked(TrialCost):
    """A trial costs ten times its focal alpha, so that no network is built here."""

    def __call__(self, params: dict[str, Any]) -> float:
        return float(10 * params[ALPHA])


@pytest.fixture
def space(tmp_path: Path) -> Space:
    (tmp_path / "space.yaml").write_text(FORM)
    return read_space(tmp_path / "space.yaml", TOY, "detector")


def searcher(space: Space, **changed: Any) -> ConcurrencyLimiter:
    options: dict[str, Any] = {
        "samples": 12,
        "seed": 0,
        "slots": 2,
        "budget": BUDGET,
        "recorded": {},
        "exact": False,
    }
    most = changed.pop("most", None)
    search = changed.pop("search", "tpe")
    cost = Ranked(space, None, most)  # type: ignore[arg-type]
    first = [Candidate(space.of_base(), BY_BASE)]
    return make_searcher(search, space, cost, first, **{**options, **changed})


def carry_out(limited: ConcurrencyLimiter, order: random.Random, at_once: int) -> list[Any]:
    """As Ray Tune does: ask for all that is given, train some at once, which end in any order."""
    found: dict[int, Any] = {}
    waiting: list[str] = []
    running: list[str] = []
    configs: dict[str, Any] = {}
    while True:
        while (config := limited.suggest(name := f"t{len(configs)}")) is not None:
            if config == Searcher.FINISHED:
                break
            configs[name] = found[config["trial"]] = config
            waiting.append(name)
        while waiting and len(running) < at_once:
            running.append(waiting.pop(0))
        if not running:
            return [found[number] for number in sorted(found)]
        name = running.pop(order.randrange(len(running)))
        score = 1 - (configs[name][ALPHA] - 0.6) ** 2
        limited.on_trial_complete(name, {"steps": BUDGET, "score": score, "training_iteration": 3})


def states(limited: ConcurrencyLimiter) -> list[TrialState]:
    inner = limited.searcher
    assert isinstance(inner, SettingsSearch)
    return [trial.state for trial in inner._study.trials]


def test_the_settings_as_they_are_come_first_and_each_trial_once(space: Space) -> None:
    found = carry_out(searcher(space), random.Random(0), 2)
    assert [config["trial"] for config in found] == list(range(12))
    assert found[0] == {"trial": 0, "origin": BY_BASE, "cost": 1.0, **space.of_base()}
    assert {config["origin"] for config in found[1:]} == {"search"}
    assert len({config[ALPHA] for config in found}) == 12


def test_exact_is_the_same_whatever_ends_first_and_however_many_train(space: Space) -> None:
    runs = [
        carry_out(searcher(space, exact=True, samples=30, slots=n), random.Random(n), n)
        for n in (1, 2, 5, 8)
    ]
    assert runs[0] == runs[1] == runs[2] == runs[3] and len(runs[0]) == 30
    other = carry_out(searcher(space, exact=True, samples=30, seed=1), random.Random(1), 2)
    assert other[1:] != runs[0][1:]


def test_a_grid_has_every_point_once(space: Space) -> None:
    found = carry_out(searcher(space, search="grid", samples=20), random.Random(0), 3)
    points = sorted((config[ALPHA], config[RATE]) for config in found[1:])
    expected = [(a, r) for a in (0.05, 0.5, 0.95) for r in (1e-4, 1e-1)]
    assert points == [pytest.approx(point) for point in expected]


def test_a_dear_trial_is_not_drawn(space: Space) -> None:
    limited = searcher(space, most=4.0, search="random", samples=20)
    found = carry_out(limited, random.Random(0), 2)
    assert max(config["cost"] for config in found[1:]) <= 4.0
    assert TrialState.FAIL in states(limited), "Optuna knows that those were not tried"
    with pytest.raises(ValueError, match=r"Of 1000 trials drawn from the space none costs 0\.4"):
        carry_out(searcher(space, most=0.4), random.Random(0), 1)


def test_optuna_is_told_how_each_trial_ended(space: Space) -> None:
    limited = searcher(space, slots=5)
    names = [limited.suggest(name) and name for name in "abcde"]
    assert names == list("abcde")
    for name, rung, step in (("a", 1, 10), ("a", 2, 30), ("b", 1, 10)):
        shown = {"steps": step, "score": 0.5 + rung / 10, "training_iteration": rung}
        limited.on_trial_result(name, shown)
        limited.on_trial_result(name, shown)  # a process that was lost tells it twice
    end: dict[str, Any] = {"steps": 90, "score": 0.8, "training_iteration": 3}
    limited.on_trial_complete("a", end)
    limited.on_trial_complete("b", {**end, "steps": 30, "training_iteration": 2})
    limited.on_trial_complete("c", {**end, "reason": "no number", "diverged": True})
    limited.on_trial_complete("d", {**end, "reason": "out of memory", "diverged": False})
    limited.on_trial_complete("e", error=True)
    assert states(limited) == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.FAIL,
    ]
    told = [trial.intermediate_values for trial in limited.searcher._study.trials]
    assert told[:3] == [{1: 0.6, 2: 0.7}, {1: 0.6, 2: 0.8}, {3: 0.0}]


def test_what_was_begun_is_taken_up_and_nothing_is_drawn_twice(space: Space) -> None:
    first = carry_out(searcher(space, search="random"), random.Random(0), 2)
    recorded = {}
    for config in first[:6]:
        params = {name: config[name] for name in (ALPHA, RATE)}
        trial = Trial(config["trial"], params, config["origin"], curve=[(10, 0.1)])
        recorded[trial.number] = trial
    recorded[0] = replace(recorded[0], state="finished", curve=[(10, 0.1), (90, 0.5)])
    recorded[1].state = "stopped"
    recorded[2] = replace(recorded[2], state="failed", reason="out of memory")
    recorded[3] = replace(recorded[3], state="failed", reason="no number", diverged=True)
    again = searcher(space, search="random", recorded=recorded, samples=16)
    known = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.PRUNED]
    assert states(again) == known
    rest = carry_out(again, random.Random(0), 2)
    assert [config["trial"] for config in rest] == [4, 5, *range(6, 16)]
    assert [config[ALPHA] for config in rest[:2]] == [first[4][ALPHA], first[5][ALPHA]]
    assert len({config[ALPHA] for config in (*first[:6], *rest[2:])}) == 16
