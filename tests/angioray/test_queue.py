"""The queue's promises, without Ray: order, shared frames, lost lanes."""

from angioray.queue import LOST_ATTEMPTS, RunQueue

RUNS = [("a0", "A"), ("a1", "A"), ("b0", "B"), ("b1", "B")]


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
    queue.progress(0, 5, 10, {"loss": 1.0})
    assert queue.snapshot().running[0].done == 5
    assert queue.take(0) == "a0"
    assert queue.snapshot().waiting == ("a1", "b0", "b1")


def test_a_run_that_kills_its_lane_again_and_again_is_given_up() -> None:
    queue = RunQueue(RUNS[:1])
    for _ in range(LOST_ATTEMPTS):
        assert queue.take(0) == "a0"
    assert queue.take(0) is None
    assert "died 3 times" in queue.snapshot().failed["a0"]


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
