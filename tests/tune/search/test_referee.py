"""The referee: which rung is next, and what becomes of the rungs of lanes that died."""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path

import pytest

from preprocess.cohort import Cohort
from tests.angioray.settings import TOY
from tune.objective import Objective
from tune.search.referee import Referee
from tune.search.samplers import make_sampler
from tune.search.search import Candidate, SearchRun
from tune.search.trial import Workplace
from tune.space.space_file import read_space
from tune.trials import BY_BASE


@pytest.fixture
def referee(toy_cohort: Cohort, tmp_path: Path) -> Referee:
    """Of three trials, two at once, judged at steps 4 and 12."""
    path = tmp_path / "space.yaml"
    path.write_text("detector.focal_alpha: {low: 0.1, high: 0.9}\n")
    return referee_of(toy_cohort, tmp_path, path)


def referee_of(toy_cohort: Cohort, tmp_path: Path, path: Path) -> Referee:
    objective = Objective.of(toy_cohort, TOY, task="detector", view="RCA")
    space = read_space(path, objective.base, "detector")
    rungs = (4, 12)
    search = SearchRun(
        space,
        make_sampler("random", space, seed=0, lanes=2),
        [Candidate(space.of_base(), BY_BASE)],
        rungs=rungs,
        reduction=3,
        lanes=2,
        samples=3,
        step_time=lambda params: 1.0,
        recorded={},
    )
    place = Workplace(str(tmp_path), str(toy_cohort.folder), toy_cohort.digest, objective, rungs)
    return Referee(search, place, stuck_after_s=100.0)


def taken(referee: Referee, lane: int) -> tuple[int, int] | None:
    errand = referee.take(lane)
    return None if errand is None else (errand.trial.number, errand.rung)


def test_rungs_are_handed_out_once_and_as_verdicts_fall(referee: Referee) -> None:
    assert [taken(referee, lane) for lane in (0, 1, 2)] == [(0, 0), (1, 0), None]
    referee.report(1, 1, [(4, 0.1)], 1.0, None)
    assert taken(referee, 1) is None, "trial 0 is judged before trial 1"
    referee.report(0, 0, [(4, 0.5)], 1.0, None)
    # Trial 1 was stopped at step 4. Trial 2 takes its turn and is due at 8, trial 0 at 12.
    errand = referee.take(1)
    assert errand is not None and (errand.trial.number, errand.rung) == (2, 0)
    assert taken(referee, 0) == (0, 1)
    assert errand.settings.detector.focal_alpha == errand.trial.params["detector.focal_alpha"]
    referee.report(1, 2, [], 1.0, "the loss is not finite", diverged=True)
    referee.report(0, 0, [(4, 0.5), (12, 0.6)], 2.0, None)
    assert referee.over() and taken(referee, 0) is None
    states = [trial.state for trial in referee.standing().trials]
    assert states == ["finished", "stopped", "failed"]


def test_another_lane_goes_on_with_what_a_lost_one_had(referee: Referee) -> None:
    assert [taken(referee, lane) for lane in (0, 1)] == [(0, 0), (1, 0)]
    referee.progress(0, 3, {"loss": 0.5})
    assert referee.standing([0, 1]).running[0].done == 3
    standing = referee.standing([1])  # the node of lane 0 is lost
    assert 0 not in standing.running and standing.losses == (
        "trial 000 lost its process, and goes on in another process",
    )
    referee.report(1, 1, [(4, 0.9)], 1.0, None)
    assert taken(referee, 1) == (0, 0), "one lane alone can do it all"
    referee.report(0, 0, [(4, 0.5)], 1.0, None)  # and the lost one was not lost
    referee.report(1, 0, [(4, 0.5)], 1.0, None)
    assert [taken(referee, lane) for lane in (0, 1)] == [(0, 1), (1, 1)]


def test_a_lane_without_a_sign_of_life_loses_its_trial_and_one_that_judges_keeps_it(
    referee: Referee, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: seconds)

    at(1000.0)
    assert [taken(referee, lane) for lane in (0, 1)] == [(0, 0), (1, 0)]
    at(1060.0)
    referee.progress(0, 3, {"loss": 0.5})
    referee.alive(1)
    at(1159.0)
    assert referee.standing([0, 1]).running.keys() == {0, 1}
    referee.alive(1)
    at(1160.0)
    standing = referee.standing([0, 1])
    assert standing.running.keys() == {1}
    assert standing.losses == (
        "trial 000 was stuck, without progress for 1 min 40 s, and goes on in another process",
    )


def test_a_trial_that_kills_its_processes_is_given_up(referee: Referee, tmp_path: Path) -> None:
    assert taken(referee, 1) == (0, 0)
    assert [taken(referee, 0) for _ in range(3)] == [(1, 0)] * 3
    assert taken(referee, 0) is None
    referee.report(1, 0, [(4, 0.5)], 1.0, None)
    trial = referee.standing([0, 1]).trials[1]
    assert trial.state == "failed"
    assert trial.reason is not None and "3 processes died on it" in trial.reason
    kept = json.loads((tmp_path / "001" / "trial.json").read_text())
    assert (kept["state"], kept["reason"]) == ("failed", trial.reason)
    assert not (tmp_path / "000").exists()


def test_a_trial_whose_settings_are_refused_fails_and_the_next_is_handed_out(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    """Both ends of a range may do where most of what is between them does not."""
    path = tmp_path / "space.yaml"
    path.write_text("detector.size: {low: 64, high: 512}\n")
    referee = referee_of(toy_cohort, tmp_path, path)
    assert taken(referee, 0) == (0, 0)
    sizes = [trial.params["detector.size"] for trial in referee.standing().trials]
    assert sizes[0] == 64 and sizes[1] % 16
    assert taken(referee, 1) is None
    trial = referee.standing().trials[1]
    assert trial.state == "running" and not trial.diverged
    assert trial.reason is not None and "it must be a multiple of 16" in trial.reason


def test_a_sweep_that_is_halted_says_why(referee: Referee) -> None:
    referee.halt("the disk is full")
    assert taken(referee, 0) is None and referee.over()
    standing = referee.standing([0])
    assert standing.halted == "the disk is full" and not standing.over


def test_a_search_that_cannot_go_on_is_halted_and_not_waited_for(
    referee: Referee, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(SearchRun, "report", full)
    assert taken(referee, 0) == (0, 0)
    referee.report(0, 0, [(4, 0.5)], 1.0, None)
    assert referee.over() and taken(referee, 0) is None
    assert referee.standing().halted == "the disk is full (while writing). Make room."
