"""The referee: who is next, who waits, and who makes room for whom it waits for."""

from __future__ import annotations

from pathlib import Path

import pytest
from settings import TOY

import tune.referee
from tune.referee import Referee
from tune.samplers import make_sampler
from tune.search import BY_BASE, Candidate, SearchRun
from tune.space_file import read_space


@pytest.fixture
def referee(tmp_path: Path) -> Referee:
    """Of three trials on two lanes, judged at steps 4 and 12."""
    path = tmp_path / "space.yaml"
    path.write_text("detector.focal_alpha: {low: 0.1, high: 0.9}\n")
    space = read_space(path, TOY, "detector")
    search = SearchRun(
        space,
        make_sampler("random", space, seed=0, lanes=2),
        [Candidate(space.of_base(), BY_BASE)],
        rungs=(4, 12),
        reduction=3,
        lanes=2,
        samples=3,
        step_time=lambda params: 1.0,
        recorded={},
    )
    return Referee(search)


def test_trials_are_given_out_once_and_when_a_lane_is_free(referee: Referee) -> None:
    assert [referee.take(), referee.take(), referee.take()] == [0, 1, None]
    referee.report(0, [(4, 0.5)], 1.0)
    referee.report(1, [(4, 0.1)], 1.0)
    assert [referee.verdict(0, 0), referee.verdict(1, 0)] == ["go on", "end"]
    assert [referee.take(), referee.take()] == [2, None]
    trial, settings = referee.task(2)
    assert settings.detector.focal_alpha == trial.params["detector.focal_alpha"]
    referee.fail(2, "the loss is not finite")
    referee.report(0, [(4, 0.5), (12, 0.6)], 2.0)
    assert [referee.verdict(2, 0), referee.verdict(0, 1)] == ["end", "end"]
    assert referee.over() and referee.take() is None
    states = [trial.state for trial in referee.standing(()).trials]
    assert states == ["finished", "stopped", "failed"]


def test_a_trial_makes_room_for_the_one_it_waits_for(
    referee: Referee, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(tune.referee.time, "monotonic", lambda: clock[0])
    referee.take(), referee.take()
    referee.standing([0, 1])
    referee.report(1, [(4, 0.9)], 1.0)
    assert referee.verdict(1, 0) == "wait", "trial 0 reports first, and has a place"
    clock[0] += 60
    referee.standing([0, 1])
    assert referee.verdict(1, 0) == "wait", "however long it takes"
    referee.standing([1])  # its node is lost
    clock[0] += 10
    referee.standing([1])
    assert referee.verdict(1, 0) == "wait", "a new process may be on its way to its place"
    clock[0] += 11
    assert referee.verdict(1, 0) == "park"
    referee.standing([0])
    clock[0] += 60
    referee.standing([0])
    referee.report(0, [(4, 0.5)], 1.0)
    assert referee.verdict(0, 0) == referee.verdict(1, 0) == "go on"


def test_a_sweep_that_is_halted_says_why(referee: Referee) -> None:
    referee.progress(0, 3, {"loss": 0.5})
    standing = referee.standing([0])
    assert standing.running[0].done == 3 and standing.halted == ""
    referee.halt("the disk is full")
    assert referee.standing([0]).halted == "the disk is full"
