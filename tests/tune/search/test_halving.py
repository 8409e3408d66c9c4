"""Halving in virtual time: Ray's rule, the same verdicts in whatever order scores arrive."""

from __future__ import annotations

import random
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from tune.search.halving import Course
from tune.search.settings import HalvingSettings

RUNGS = (1, 3, 9)
Scores = dict[tuple[int, int], float]


@dataclass
class Made:
    """A course, and what it has told."""

    course: Course
    begun: list[int]
    ended: list[tuple[int, str]]


def make(
    samples: int, lanes: int, times: list[float] | None = None, rungs: tuple[int, ...] = RUNGS
) -> Made:
    begun: list[int] = []
    ended: list[tuple[int, str]] = []

    def begin(trial: int) -> float | None:
        if trial >= samples:
            return None
        begun.append(trial)
        return times[trial] if times else 1.0

    end = lambda trial, outcome: ended.append((trial, outcome))  # noqa: E731
    return Made(Course(rungs, 3, lanes, begin=begin, end=end), begun, ended)


def settle(made: Made, scores: Scores) -> None:
    """All scores at once."""
    for (trial, rung), score in scores.items():
        made.course.learn(trial, {rung: score})
    made.course.settle()


def drawn(samples: int, seed: int) -> tuple[Scores, list[float]]:
    generator = random.Random(seed)
    scores = {(t, r): generator.random() for t in range(samples) for r in range(len(RUNGS))}
    return scores, [generator.choice([0.5, 1.0, 1.7]) for _ in range(samples)]


def raced(scores: Scores, times: list[float], lanes: int) -> dict[int, int]:
    """How far each trial gets when lanes run against Ray's scheduler, step by step."""
    ray_s = AsyncHyperBandScheduler(
        time_attr="steps", metric="score", mode="max", max_t=9, grace_period=1, reduction_factor=3
    )
    reached: dict[int, int] = {}
    waiting = list(range(len(times)))
    lanes_at = [0.0] * lanes
    running: list[tuple[float, int, int, float]] = []  # due, trial, rung, start
    handles = {trial: SimpleNamespace(trial_id=str(trial)) for trial in waiting}
    while waiting or running:
        while waiting and lanes_at:
            start = lanes_at.pop(0)
            trial = waiting.pop(0)
            ray_s.on_trial_add(None, handles[trial])  # type: ignore[arg-type]
            running.append((start + times[trial] * RUNGS[0], trial, 0, start))
        running.sort()
        due, trial, rung, start = running.pop(0)
        result = {"steps": RUNGS[rung], "score": scores[trial, rung]}
        said = ray_s.on_trial_result(None, handles[trial], result)  # type: ignore[arg-type]
        reached[trial] = rung
        if rung < 2 and (said == TrialScheduler.CONTINUE or trial == 0):
            running.append((start + times[trial] * RUNGS[rung + 1], trial, rung + 1, start))
        else:
            lanes_at.append(due)
    return reached


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_the_rule_is_rays(lanes: int, seed: int) -> None:
    scores, times = drawn(30, seed)
    made = make(30, lanes, times)
    settle(made, scores)
    reached = {trial: made.course.passed.get(trial, 0) for trial in range(30)}
    assert reached == raced(scores, times, lanes)
    assert {o for o in made.course.outcomes.values()} == {"finished", "stopped"}


@pytest.mark.parametrize("seed", range(50))
def test_no_order_of_arrival_changes_a_verdict(seed: int) -> None:
    scores, times = drawn(25, seed)
    at_once = make(25, 3, times)
    settle(at_once, scores)
    one_by_one = make(25, 3, times)
    order = list(scores.items())
    random.Random(seed).shuffle(order)
    for (trial, rung), score in order:
        one_by_one.course.learn(trial, {rung: score})
        one_by_one.course.settle()
        before = list(one_by_one.ended)
        assert before == at_once.ended[: len(before)], "what is settled stays"
    assert one_by_one.ended == at_once.ended
    assert one_by_one.course.passed == at_once.course.passed
    assert one_by_one.course.over and not one_by_one.course.wanted()


def test_by_hand_on_two_lanes() -> None:
    made = make(4, 2)
    made.course.settle()
    assert made.begun == [0, 1]
    made.course.learn(1, {0: 0.9})
    made.course.settle()
    assert made.course.passed == {}, "trial 0 reports before 1"
    assert made.course.wanted() == [(0, 0)]
    made.course.learn(0, {0: 0.1})
    made.course.settle()
    assert made.course.passed == {0: 1, 1: 1}
    # At step 3 (time 3): 0 passes as the base, then 1 is held against 0.3 and falls.
    made.course.learn(1, {1: 0.2})
    made.course.learn(0, {1: 0.3})
    made.course.settle()
    assert made.ended == [(1, "stopped")] and made.begun == [0, 1, 2]
    # Trial 2 started at time 3 and is judged at time 4: the cutoff is the two-thirds percentile
    # of 0.1 and 0.9, which is 0.633.
    made.course.learn(2, {0: 0.63})
    made.course.settle()
    assert made.ended == [(1, "stopped"), (2, "stopped")] and made.begun == [0, 1, 2, 3]
    made.course.learn(0, {2: 0.3})
    made.course.learn(3, {0: 0.2})
    made.course.settle()
    assert made.ended[2:] == [(3, "stopped"), (0, "finished")]


def test_of_equal_scores_a_third_passes() -> None:
    made = make(12, 1)
    settle(made, {(trial, rung): 0.0 for trial in range(12) for rung in range(3)})
    assert sum(passed > 0 for passed in made.course.passed.values()) == 4
    assert made.course.outcomes[0] == "finished"


@pytest.mark.parametrize(("diverged", "passed"), [(True, 2), (False, 1)])
def test_a_trial_that_diverged_counts_as_the_worst_and_an_accident_as_nothing(
    diverged: bool, passed: int
) -> None:
    made = make(3, 1)
    made.course.learn(0, {0: 0.5, 1: 0.5, 2: 0.5})
    made.course.learn(1, {0: 0.6}, failed_at=1, diverged=diverged)
    made.course.learn(2, {0: 0.7, 1: 0.4, 2: 0.4})
    made.course.settle()
    assert made.ended[:2] == [(0, "finished"), (1, "diverged" if diverged else "failed")]
    # At rung 1 the cutoff for trial 2 is the two-thirds percentile of 0.5 and 0, which is 0.333;
    # without the trial that failed it is 0.5.
    assert made.course.passed[2] == passed


def test_rungs_by_hand() -> None:
    assert HalvingSettings().steps(3500) == (389, 1167, 3500)
    assert HalvingSettings(rungs=1).steps(50) == (50,)
    assert HalvingSettings(rungs=4, reduction=2).steps(3) == (1, 2, 3)
    with pytest.raises(ValueError, match=r"reduction is .*; it must be above 1"):
        HalvingSettings(reduction=1)
