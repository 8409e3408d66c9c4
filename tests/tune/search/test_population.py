"""A population: who takes over from whom, by hand and whatever happens on the way."""

from __future__ import annotations

import json
import math
import pickle
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from preprocess.cohort import Cohort
from tests.angioray.settings import TOY
from tests.tune.search.let_report import let_report
from tune.objective import Objective
from tune.search.population import Population, learning_rate_alone
from tune.search.samplers import make_sampler
from tune.search.search import settings_of
from tune.search.settings import PopulationSettings
from tune.search.trial import TRIAL_FILE, Workplace, inherit, read_trial
from tune.space.space import Space
from tune.space.space_file import read_space
from tune.trials import Trial

NAME = "detector.optimiser.learning_rate"
RUNGS = (10, 20, 30, 40)
SETTINGS = PopulationSettings(intervals=4, share=0.25, factor=2.0)


def read(tmp_path: Path, text: str) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return read_space(path, replace(TOY, tasks=("detector",)), "detector")


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return read(tmp_path, f"{NAME}: {{low: 1.0e-5, high: 1.0e-1, log: true}}\n")


class Weights:
    """Whose weights each member has, by the rungs at which they were handed on."""

    def __init__(self) -> None:
        self.handed: list[tuple[int, int, int]] = []

    def inherit(self, heir: Trial, parent: int, rung: int) -> None:
        self.handed.append((heir.number, parent, rung))


def begin(
    space: Space,
    *,
    samples: int = 8,
    weights: Weights | None = None,
    recorded: dict[int, Trial] | None = None,
) -> Population:
    return Population(
        space,
        make_sampler("pbt", space, seed=3, lanes=2),
        rungs=RUNGS,
        settings=SETTINGS,
        seed=3,
        samples=samples,
        recorded=recorded or {},
        inherit=(weights or Weights()).inherit,
    )


def score(trial: Trial, rung: int) -> float:
    """The nearer the rate of the moment is to 1e-3, the more a part of the training brings."""
    earned = trial.curve[-1][1] if trial.curve else 0.0
    off = abs(math.log10(trial.rates[-1][1]) + 3)
    return round(earned + 0.2 * math.exp(-off) * (1 if rung else 0.5), 6)


def carry_on(population: Population, choose: random.Random, most: int = 10**9) -> None:
    """The sixth member fails on its way to the third rung."""
    let_report(population, choose, rungs=RUNGS, score=score, fails=(5, 2), most=most)


def table(population: Population) -> list[dict[str, object]]:
    return [trial.as_json() for trial in population.trials.values()]


def test_the_worst_takes_over_from_the_best_by_hand(space: Space) -> None:
    weights = Weights()
    population = begin(space, samples=4, weights=weights)
    assert population.wanted() == [(0, 0), (1, 0), (2, 0), (3, 0)]
    rates = [trial.rates[0][1] for trial in population.trials.values()]
    assert rates[0] == TOY.detector.optimiser.learning_rate
    for number, earned in ((3, 0.5), (0, 0.3), (2, 0.1)):
        population.report(number, [(10, earned)], 1.0)
        assert weights.handed == []
    assert population.wanted() == [(1, 0)], "nobody goes on before all are judged"
    population.report(1, [(10, 0.2)], 1.0)
    # One of four is replaced: trial 2, by trial 3, whose rate it doubles or halves.
    assert weights.handed == [(2, 3, 0)]
    (_, first), (share, then) = population.trials[2].rates
    assert (first, share) == (rates[3], 0.25)
    assert then in (rates[3] * 2, rates[3] / 2)
    assert [trial.rates for n, trial in population.trials.items() if n != 2] == [
        [(0.0, rates[n])] for n in (0, 1, 3)
    ]
    optimiser = population.settings(2).detector.optimiser
    assert optimiser.learning_rate == rates[3] and optimiser.changes == ((0.25, then),)
    assert optimiser.rate(9, 40) == rates[3] and optimiser.rate(10, 40) == then
    assert population.wanted() == [(0, 1), (1, 1), (2, 1), (3, 1)]


def test_the_base_stays_and_equals_do_not_take_over(space: Space) -> None:
    weights = Weights()
    population = begin(space, samples=4, weights=weights)
    for number in range(4):  # the base is the worst, and the one before it is replaced
        population.report(number, [(10, 0.1 * number)], 1.0)
    assert weights.handed == [(1, 3, 0)]
    for number in range(4):  # all alike
        population.report(number, [(10, 0.1 * number), (20, 0.5)], 1.0)
    assert weights.handed == [(1, 3, 0)] and population.wanted()[0] == (0, 2)


@pytest.mark.parametrize("members", range(2, 9))
def test_whoever_gives_does_not_take(space: Space, members: int) -> None:
    weights = Weights()
    population = Population(
        space,
        make_sampler("pbt", space, seed=3, lanes=2),
        rungs=RUNGS,
        settings=PopulationSettings(intervals=4, share=0.5),
        seed=3,
        samples=members,
        recorded={},
        inherit=weights.inherit,
    )
    for number in range(members):  # the base is the worst of all
        population.report(number, [(10, 0.1 * number)], 1.0)
    heirs, parents = {heir for heir, _, _ in weights.handed}, {p for _, p, _ in weights.handed}
    assert not heirs & parents and 0 not in heirs
    assert len(heirs) == (members - 1) - members // 2


def test_one_alone_trains_to_the_end(space: Space) -> None:
    population = begin(space, samples=1)
    carry_on(population, random.Random(0))
    assert population.over and population.trials[0].state == "finished"


def test_whatever_the_order_of_reports_the_course_is_the_same(space: Space) -> None:
    tables, handed = [], []
    for seed in range(20):
        weights = Weights()
        population = begin(space, weights=weights)
        carry_on(population, random.Random(seed))
        assert population.over
        tables.append(table(population))
        handed.append(weights.handed)
    assert all(each == tables[0] for each in tables)
    assert all(each == handed[0] for each in handed)
    assert {rung for _, _, rung in handed[0]} == {0, 1, 2}
    assert tables[0][5]["state"] == "failed" and len(tables[0]) == 8
    best = max(trial["score"] for trial in tables[0] if trial["state"] == "finished")  # type: ignore[type-var]
    assert best > tables[0][0]["score"]  # type: ignore[operator]


def test_stopped_anywhere_it_goes_on_from_what_is_recorded(space: Space) -> None:
    whole_weights = Weights()
    whole = begin(space, weights=whole_weights)
    carry_on(whole, random.Random(1))
    for most in range(1, 32):
        choose = random.Random(most)
        first = begin(space)
        carry_on(first, choose, most)
        recorded = {
            trial.number: Trial.of_json(json.loads(json.dumps(trial.as_json())))
            for trial in pickle.loads(pickle.dumps(first)).trials.values()
            if trial.curve or trial.reason
        }
        weights = Weights()
        again = begin(space, weights=weights, recorded=recorded)
        assert again.wanted() == first.wanted()
        carry_on(again, choose)
        assert table(again) == table(whole)
        assert weights.handed == whole_weights.handed, "each is asked for again, to be sure"


def test_another_seed_is_no_continuation(space: Space) -> None:
    stranger = Trial(1, {NAME: 0.5}, "search", curve=[(10, 0.1)])
    with pytest.raises(ValueError, match="Trial 1 was begun with"):
        begin(space, recorded={1: stranger})


def test_the_default_space_is_narrowed_and_one_that_was_given_is_not(tmp_path: Path) -> None:
    rate = f"{NAME}: {{low: 1.0e-5, high: 1.0e-1, log: true}}\n"
    alpha = "detector.focal_alpha: {low: 0.1, high: 0.9}\n"
    both = read(tmp_path, rate + alpha)
    assert [p.name for p in learning_rate_alone(both, "detector", given=False)] == [NAME]
    with pytest.raises(ValueError, match=r"holds detector\.focal_alpha beside it"):
        learning_rate_alone(both, "detector", given=True)
    with pytest.raises(ValueError, match="has none"):
        learning_rate_alone(read(tmp_path, alpha), "detector", given=False)
    with pytest.raises(ValueError, match="has none"):
        listed = read(tmp_path, f"{NAME}: {{choices: [1.0e-3, 1.0e-2]}}\n")
        learning_rate_alone(listed, "detector", given=True)


@pytest.mark.parametrize(
    "wrong", [{"intervals": 1}, {"share": 0.0}, {"share": 0.6}, {"factor": 1.0}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="; it must be "):
        PopulationSettings(**wrong)  # type: ignore[arg-type]


def test_rungs_are_equal_parts() -> None:
    assert PopulationSettings(intervals=4).steps(90) == (22, 45, 68, 90)
    assert PopulationSettings(intervals=5).steps(3) == (1, 2, 3)


def test_settings_without_rates_are_those_of_the_space(space: Space) -> None:
    plain = settings_of(Trial(0, {NAME: 0.01}, "search"), space)
    assert plain == space.settings({NAME: 0.01})


def test_numpy_is_not_on_disk(space: Space) -> None:
    population = begin(space)
    carry_on(population, random.Random(0))
    for trial in population.trials.values():
        assert not any(isinstance(x, np.generic) for pair in trial.rates for x in pair)


def test_weights_are_taken_over_once_and_whole(toy_cohort: Cohort, tmp_path: Path) -> None:
    objective = Objective.of(toy_cohort, TOY, task="detector", view="RCA")
    place = Workplace(str(tmp_path), str(toy_cohort.folder), toy_cohort.digest, objective, RUNGS)
    trials = [
        Trial(n, {NAME: 0.01 * (n + 1)}, "search", [(10, 0.1)], rates=[(0.0, 0.01 * (n + 1))])
        for n in range(2)
    ]
    weights = "weights-000010.safetensors"
    state = {"schema_version": 1, "files": {"weights": weights}, "optimiser_groups": []}
    for trial in trials:
        folder = place.folder(trial.number)
        folder.files.write_json(TRIAL_FILE, trial.as_json())
        folder.checkpoint.write(weights, b"of %d" % trial.number)
        folder.checkpoint.write_json("state.json", {**state, "step": 10, "of": trial.number})
    heir = Trial.of_json(trials[1].as_json())
    heir.rates = [(0.0, 0.01), (0.25, 0.02)]

    def held() -> tuple[bytes | None, int]:
        there = place.folder(1).checkpoint
        return there.read(weights), there.read_json("state.json")["of"]

    inherit(place, heir, 0, 0)
    assert held() == (b"of 0", 0)
    kept = read_trial(place.folder(1))
    assert kept is not None
    assert kept.rates == heir.rates and kept.params == trials[1].params

    went_on = {**state, "step": 20, "of": 5}
    place.folder(0).checkpoint.write_json("state.json", went_on)
    inherit(place, heir, 0, 0)
    assert held() == (b"of 0", 0), "it has them already"
    kept.curve.append((20, 0.2))
    kept.rates = [(0.0, 0.01), (0.25, 0.02), (0.5, 0.04)]
    place.folder(1).files.write_json(TRIAL_FILE, kept.as_json())
    inherit(place, heir, 0, 0)
    assert held() == (b"of 0", 0), "it has gone on since"

    place.folder(1).files.write_json(TRIAL_FILE, trials[1].as_json())  # begun anew on the way
    with pytest.raises(
        ValueError, match="as that was at step 10, but its checkpoint is of step 20"
    ):
        inherit(place, heir, 0, 0)
    assert held() == (b"of 0", 0)
