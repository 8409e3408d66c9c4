"""The queue's promises, without Ray: order, shared frames, lost lanes."""

import time

import pytest

from angioray.cluster.queue import LOST_ATTEMPTS, QueuedRun, RunQueue

RUNS = [QueuedRun(name, name[0], 10.0) for name in ("a0", "a1", "b0", "b1")]


def test_lanes_start_on_different_frames_and_stay_on_them() -> None:
    queue = RunQueue(RUNS)
    assert [queue.take(0), queue.take(1)] == ["a0", "b0"]
    queue.finish(0, "a0", {"x": 1.0})
    queue.finish(1, "b0", {})
    assert [queue.take(1), queue.take(0)] == ["b1", "a1"]
    queue.finish(0, "a1", {})
    assert queue.take(0) is None
    assert queue.snapshot().finished["a0"] == {"x": 1.0}


def test_a_lane_without_work_on_its_frames_helps_another() -> None:
    queue = RunQueue(RUNS[:3])
    assert [queue.take(0), queue.take(1)] == ["a0", "b0"]
    queue.finish(1, "b0", {})
    assert queue.take(1) == "a1"


def test_a_lane_that_comes_back_gets_its_run_again() -> None:
    queue = RunQueue(RUNS)
    assert queue.take(0) == "a0"
    queue.progress(0, "a0", 5, 10, {"loss": 1.0})
    assert queue.snapshot().running[0].done == 5
    assert queue.take(0) == "a0"
    assert queue.snapshot().waiting == ("a1", "b0", "b1")


def test_a_run_that_kills_its_lane_again_and_again_is_given_up() -> None:
    queue = RunQueue(RUNS[:1])
    for _ in range(LOST_ATTEMPTS):
        assert queue.take(0) == "a0"
    assert queue.take(0) is None
    assert "given up after 3 attempts: its worker died" in queue.snapshot().failed["a0"]


def test_a_run_that_gets_further_each_time_is_not_given_up() -> None:
    queue = RunQueue(RUNS[:1])
    for attempt in range(2 * LOST_ATTEMPTS):
        assert queue.take(0) == "a0"
        queue.progress(0, "a0", attempt + 1, 100, {})
    assert queue.snapshot().failed == {}


def test_longest_first_comes_before_shared_frames() -> None:
    queue = RunQueue(
        [QueuedRun("long0", "A", 30.0), QueuedRun("long1", "B", 29.0), QueuedRun("a", "A", 9.0)]
    )
    assert queue.take(0) == "long0"
    queue.finish(0, "long0", {})
    assert queue.take(0) == "long1"


def test_wide_runs_wait_for_wide_lanes() -> None:
    queue = RunQueue([QueuedRun("narrow", "A", 10.0), QueuedRun("wide", "A", 10.0, wide=True)])
    assert queue.take(0) == "narrow"
    assert queue.take(1) is None
    assert queue.take(2, wide=True) == "wide"


def test_nothing_is_begun_after_a_halt() -> None:
    queue = RunQueue(RUNS)
    queue.take(0)
    queue.halt("the disk is full")
    assert queue.take(1) is None
    assert not queue.snapshot().over
    queue.fail(0, "a0", "the disk is full")
    assert queue.snapshot().over and queue.snapshot().halted == "the disk is full"


def test_a_run_taken_for_lost_that_finishes_after_all_is_not_repeated() -> None:
    queue = RunQueue(RUNS[:1])
    queue.take(0)
    queue.lose(0)
    queue.finish(0, "a0", {"x": 1.0})
    assert queue.take(1) is None
    assert queue.snapshot().over


def test_only_getting_further_counts_as_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = RunQueue(RUNS)
    monkeypatch.setattr(time, "time", lambda: 100.0)
    queue.take(0, node="10.0.0.1")
    for now, done in ((110.0, 1), (120.0, 2), (130.0, 2)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        queue.progress(0, "a0", done, 10, {})
    current = queue.snapshot().running[0]
    assert (current.node, current.heard) == ("10.0.0.1", 120.0)
    assert current.seconds_left == 80.0  # ten seconds a step, eight steps left


def test_a_sign_of_life_is_no_progress_and_keeps_a_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = RunQueue(RUNS)
    monkeypatch.setattr(time, "time", lambda: 100.0)
    queue.take(0)
    monkeypatch.setattr(time, "time", lambda: 110.0)
    queue.alive(0, "a0")
    queue.alive(0, "b0")  # a late word of an earlier run
    queue.alive(1, "a1")  # a lane that has nothing to do
    current = queue.snapshot().running[0]
    assert (current.heard, current.alive) == (100.0, 110.0)
    monkeypatch.setattr(time, "time", lambda: 120.0)
    queue.progress(0, "a0", 1, 10, {})
    current = queue.snapshot().running[0]
    assert (current.heard, current.alive) == (120.0, 120.0)


def test_a_failed_run_leaves_the_lane_free() -> None:
    queue = RunQueue(RUNS)
    queue.take(0)
    queue.fail(0, "a0", "the loss is not finite")
    assert queue.snapshot().failed == {"a0": "the loss is not finite"}
    assert queue.take(0) == "a1"


def test_a_lane_lost_for_good_gives_its_run_to_the_others() -> None:
    queue = RunQueue(RUNS)
    queue.take(0)
    queue.lose(0)
    queue.lose(0)  # nothing more to lose
    assert queue.take(1) == "a0"


def test_a_late_word_from_a_replaced_worker_frees_nobody_elses_lane() -> None:
    queue = RunQueue(RUNS)
    queue.take(0)
    queue.lose(0)
    assert queue.take(0) == "a0"
    queue.finish(0, "a0", {})
    assert queue.take(0) == "a1"
    queue.finish(0, "a0", {})
    assert queue.snapshot().running[0].run == "a1"
