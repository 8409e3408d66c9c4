"""Trials in their folders: given up, taken over, and gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from angioray.training.step import World
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY
from tune.objective import Objective
from tune.search.worker import TRIAL_FILE, Takeover, TrialInputs, TrialWorker, read_trial
from tune.space.parameters import Parameter, Range
from tune.space.space import Space
from tune.trials import Trial

NAME = "detector.optimiser.learning_rate"
RUNGS = (10, 20, 40)
WEIGHTS = "weights-000010.safetensors"


@pytest.fixture
def worker(toy_cohort: Cohort, tmp_path: Path) -> TrialWorker:
    """Of a population of three that have all reached the first rung."""
    objective = Objective.of(toy_cohort, TOY, task="detector", view="RCA")
    space = Space((Parameter(name=NAME, domain=Range(low=1e-3, high=1.0)),), objective.base)
    where = (str(tmp_path), str(toy_cohort.folder), toy_cohort.digest)
    inputs = TrialInputs(*where, objective, space, RUNGS, population=True)
    for number in range(3):
        write(inputs, member(number), step=10)
    return TrialWorker(inputs, World(torch.device("cpu")))


def member(number: int) -> Trial:
    rate = 0.01 * (number + 1)
    return Trial(number, {NAME: rate}, "search", [(10, 0.1)], rates=[(0.0, rate)])


def write(inputs: TrialInputs, trial: Trial, *, step: int) -> None:
    folder = inputs.folder(trial.number)
    folder.files.write_json(TRIAL_FILE, trial.as_json())
    folder.checkpoint.write(WEIGHTS, b"of %d" % trial.number)
    state = {"schema_version": 1, "files": {"weights": WEIGHTS}, "optimiser_groups": []}
    folder.checkpoint.write_json("state.json", {**state, "step": step, "of": trial.number})


def test_weights_are_taken_over_as_they_were_and_once(worker: TrialWorker) -> None:
    inputs = worker._inputs
    kept = worker.keep_for_others(2, 0)
    assert kept == Takeover(2, 0, [(0.0, 0.03)])
    write(inputs, member(2), step=20)  # which has gone on since
    inputs.folder(2).checkpoint.write(WEIGHTS, b"later")
    worker.take_over(1, kept, 0.04)
    heir = inputs.folder(1)
    assert heir.checkpoint.read(WEIGHTS) == b"of 2"
    assert heir.checkpoint.read_json("state.json")["step"] == 10
    taken = read_trial(heir)
    assert taken is not None and taken.params == member(1).params
    assert taken.rates == [(0.0, 0.03), (0.25, 0.04)] and taken.curve == [(10, 0.1)]

    taken.curve.append((20, 0.2))
    write(inputs, taken, step=20)
    worker.take_over(1, kept, 0.04)
    assert heir.checkpoint.read(WEIGHTS) == b"of 1", "it has gone on with them"
    assert worker.keep_for_others(1, 1).rates == taken.rates
    assert worker.keep_for_others(1, 0).rates == [(0.0, 0.03)], "as they were at that rung"


def test_trial_0_takes_over_from_nobody(worker: TrialWorker) -> None:
    worker.take_over(0, worker.keep_for_others(2, 0), 0.04)
    base = read_trial(worker._inputs.folder(0))
    assert base is not None and base.rates == [(0.0, 0.01)]


def test_who_has_failed_goes_on_with_the_weights_of_another(worker: TrialWorker) -> None:
    inputs = worker._inputs
    failed = member(1)
    failed.curve, failed.reason, failed.diverged = [], "the loss is not finite", True
    write(inputs, failed, step=5)
    assert worker.advance(member(1), 0, lambda *_: None).reason == failed.reason
    nothing = worker.keep_for_others(1, 0)
    sound = worker.keep_for_others(2, 0)
    worker.take_over(1, sound, 0.04)
    revived = read_trial(inputs.folder(1))
    assert revived is not None and revived.reason is None and revived.curve == [(10, 0.0)]
    assert worker.advance(member(1), 0, lambda *_: None).reason is None, "said again, it stays"

    write(inputs, failed, step=5)
    worker.take_over(2, nothing, 0.04)
    assert inputs.folder(2).checkpoint.read(WEIGHTS) == b"of 2", "from it nobody takes over"


def test_a_member_that_failed_twice_is_not_trained_backwards(worker: TrialWorker) -> None:
    inputs = worker._inputs
    failed = member(1)
    failed.curve, failed.reason = [], "the loss is not finite"
    write(inputs, failed, step=5)
    later = member(2)
    later.curve.append((20, 0.3))
    write(inputs, later, step=20)
    worker.take_over(1, worker.keep_for_others(2, 1), 0.04)
    for rung in (0, 1):  # as a resumed population asks for
        told = worker.advance(member(1), rung, lambda *_: None)
        assert told.curve == [(10, 0.0), (20, 0.0)]


def test_what_was_taken_over_long_ago_is_not_taken_over_again(worker: TrialWorker) -> None:
    """A resumed population repeats every takeover, whatever its members have done since."""
    inputs = worker._inputs
    first = worker.keep_for_others(2, 0)
    worker.take_over(1, first, 0.04)
    heir = read_trial(inputs.folder(1))
    assert heir is not None
    heir.curve.append((20, 0.2))
    heir.rates = [(0.0, 0.01), (0.5, 0.05)]  # of trial 0, from which it has taken over since
    write(inputs, heir, step=20)
    parent = member(2)
    parent.rates = [(0.0, 0.01), (0.25, 0.02)]  # which the parent has too
    for kept in (first, Takeover(2, 0, [(0.0, 0.01)])):
        worker.take_over(1, kept, 0.04)
    again = read_trial(inputs.folder(1))
    assert again == heir and inputs.folder(1).checkpoint.read(WEIGHTS) == b"of 1"


def test_weights_that_are_gone_are_missed(worker: TrialWorker) -> None:
    with pytest.raises(ValueError, match="as that was at step 10, but its weights of"):
        worker.take_over(1, Takeover(2, 0, [(0.0, 0.03)]), 0.04)
    first = worker.keep_for_others(2, 0)
    for rung, step in enumerate(RUNGS[1:], start=1):
        write(worker._inputs, member(2), step=step)
        worker.keep_for_others(2, rung)
    with pytest.raises(ValueError, match="begin a new one"):
        worker.take_over(1, first, 0.04)


def test_a_trial_that_ends_its_processes_is_given_up(worker: TrialWorker) -> None:
    given_up = worker.advance(member(1), 1, lambda *_: None, attempt=4)
    assert given_up.reason is not None and "3 processes died on it" in given_up.reason
    assert not given_up.diverged and given_up.curve == [(10, 0.1)]
    again = worker.advance(member(1), 1, lambda *_: None)
    assert again.reason == given_up.reason, "it stays so"
