"""A search is a function of its seed and its scores: no order, no interruption changes a trial."""

from __future__ import annotations

import math
import pickle
import random
from pathlib import Path
from typing import Any

import pytest

from tests.angioray.settings import TOY
from tests.tune.search.let_report import let_report
from tune.search.halving import WORST
from tune.search.samplers import Optuna, make_sampler
from tune.search.search import Candidate, SearchRun
from tune.search.settings import Search
from tune.space.space import Space
from tune.space.space_file import read_space
from tune.trials import BY_BASE, BY_SEARCH, Trial, best_of

RUNGS = (4, 12, 36)
SPACE = """\
detector.focal_alpha: {low: 0.1, high: 0.9, points: 3}
detector.optimiser.name: {choices: [sgd, adamw]}
detector.optimiser.momentum: {low: 0.5, high: 0.95, points: 2, when: {detector.optimiser.name: sgd}}
detector.optimiser.learning_rate: {low: 1.0e-5, high: 1.0e-1, log: true, points: 2}
"""


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    path = tmp_path_factory.mktemp("space") / "space.yaml"
    path.write_text(SPACE)
    return read_space(path, TOY, "detector")


def begin(
    space: Space,
    *,
    search: Search = "tpe",
    samples: int = 30,
    lanes: int = 3,
    recorded: dict[int, Trial] | None = None,
) -> SearchRun:
    return SearchRun(
        space,
        make_sampler(search, space, seed=7, lanes=lanes),
        [Candidate(space.of_base(), BY_BASE)],
        rungs=RUNGS,
        reduction=3,
        lanes=lanes,
        samples=samples,
        step_time=step_time,
        recorded=recorded or {},
    )


def step_time(params: dict[str, Any]) -> float:
    return 1.0 if params["detector.optimiser.name"] == "sgd" else 1.3


def score(trial: Trial, rung: int) -> float:
    """Best at a learning rate of 1e-3 and an alpha of 0.6, and better with every rung."""
    rate = math.log10(trial.params["detector.optimiser.learning_rate"])
    off = abs(rate + 3) / 4 + abs(trial.params["detector.focal_alpha"] - 0.6)
    return round(max(WORST, 1 - off) * (rung + 1) / 3, 6)


def carry_on(search: SearchRun, choose: random.Random, most: int = 10**9) -> None:
    """The sixth trial fails on its way to the first rung."""
    let_report(search, choose, rungs=RUNGS, score=score, fails=(5, 0), most=most)


def table(search: SearchRun) -> list[dict[str, Any]]:
    return [trial.as_json() for trial in search.trials.values()]


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_the_same_seed_gives_the_same_trials(space: Space, kind: Search, lanes: int) -> None:
    tables = []
    for seed in range(4):
        search = begin(space, search=kind, lanes=lanes)
        carry_on(search, random.Random(seed))
        assert search.over and len(search.trials) == 30
        tables.append(table(search))
    assert all(other == tables[0] for other in tables)
    first, *rest = tables[0]
    assert first["params"] == space.of_base() and first["origin"] == BY_BASE
    assert first["state"] == "finished"
    assert {row["origin"] for row in rest} == {BY_SEARCH}
    assert tables[0][5]["state"] == "failed" and tables[0][5]["score"] is None
    assert len({str(row["params"]) for row in rest}) == 29


def test_tpe_finds_more_than_random_draws(space: Space) -> None:
    scores = {}
    for kind in ("tpe", "random"):
        search = begin(space, search=kind, samples=60)  # type: ignore[arg-type]
        carry_on(search, random.Random(0))
        late = list(search.trials.values())[30:]
        scores[kind] = sum(score(trial, 2) for trial in late) / len(late)
    assert scores["tpe"] > scores["random"] + 0.1


@pytest.mark.parametrize("reports", [0, 1, 7, 23, 40])
def test_a_search_that_was_interrupted_ends_as_if_undisturbed(space: Space, reports: int) -> None:
    undisturbed, killed = begin(space), begin(space)
    carry_on(undisturbed, random.Random(0))
    carry_on(killed, random.Random(1), most=reports)
    kept = {n: Trial.of_json(trial.as_json()) for n, trial in killed.trials.items()}
    resumed = begin(space, recorded=kept)
    assert all(n in killed.trials or not t.curve for n, t in resumed.trials.items())
    resumed = pickle.loads(pickle.dumps(resumed))  # as it travels to Ray's actor
    carry_on(resumed, random.Random(2))
    assert table(resumed) == table(undisturbed)


def test_more_samples_may_be_asked_for_later(space: Space) -> None:
    few, many = begin(space, samples=12), begin(space, samples=20)
    carry_on(few, random.Random(0))
    carry_on(many, random.Random(0))
    resumed = begin(space, samples=20, recorded=few.trials)
    carry_on(resumed, random.Random(1))
    assert table(resumed) == table(many)


def test_another_trial_under_a_number_is_an_error(space: Space) -> None:
    search = begin(space)
    carry_on(search, random.Random(0), most=20)
    kept = {n: Trial.of_json(trial.as_json()) for n, trial in search.trials.items()}
    kept[2].params["detector.focal_alpha"] = 0.123
    with pytest.raises(ValueError, match="Trial 2 was begun with"):
        begin(space, recorded=kept)


def test_a_grid_is_every_combination_once(space: Space) -> None:
    search = pickle.loads(pickle.dumps(begin(space, search="grid", samples=100)))
    carry_on(search, random.Random(0))
    # 3 alphas and 2 learning rates, with adamw or with sgd and one of 2 momenta; and the base.
    assert len(search.trials) == 3 * 2 * (1 + 2) + 1
    assert search.trials[1].params == {
        "detector.focal_alpha": 0.1,
        "detector.optimiser.name": "sgd",
        "detector.optimiser.momentum": 0.5,
        "detector.optimiser.learning_rate": pytest.approx(1e-5),
    }


def test_a_sampler_learns_from_what_diverged_and_not_from_accidents(space: Space) -> None:
    sampler = make_sampler("tpe", space, seed=0, lanes=1)
    assert isinstance(sampler, Optuna)
    for number, outcome in enumerate(("finished", "diverged", "failed")):
        sampler.suggest(number)
        sampler.tell(number, outcome, [(4, 0.5)])
    states = [trial.state.name for trial in sampler._study.get_trials(deepcopy=False)]
    assert states == ["COMPLETE", "PRUNED", "FAIL"]


def test_the_best_is_a_finished_one_and_of_equals_the_first() -> None:
    trials = [
        Trial(0, {}, BY_BASE, [(36, 0.5)], state="finished"),
        Trial(1, {}, BY_SEARCH, [(12, 0.9)], state="stopped"),
        Trial(2, {}, BY_SEARCH, [(36, 0.7)], state="finished"),
        Trial(3, {}, BY_SEARCH, [(36, 0.7)], state="finished"),
    ]
    best = best_of(trials)
    assert best is not None and best.number == 2
    assert best_of(trials[1:2]) is None


def test_a_base_outside_the_space_is_tried_but_not_learned_from(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("detector.optimiser.learning_rate: {low: 1.0e-5, high: 1.0e-3, log: true}\n")
    space = read_space(path, TOY, "detector")
    assert not space.holds(space.of_base())
    search = SearchRun(
        space,
        make_sampler("tpe", space, seed=0, lanes=1),
        [Candidate(space.of_base(), BY_BASE)],
        rungs=RUNGS,
        reduction=3,
        lanes=1,
        samples=3,
        step_time=lambda params: 1.0,
        recorded={},
    )
    assert search.trials[0].params == {"detector.optimiser.learning_rate": 1e-2}
    search.report(0, [(4, 0.1), (12, 0.2), (36, 0.3)], 1.0)
    assert search.trials[0].state == "finished"
    assert search.trials[1].params["detector.optimiser.learning_rate"] <= 1e-3
