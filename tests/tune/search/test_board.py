"""The board: the gate before the first steps, lost and stuck processes."""

from __future__ import annotations

import time
from typing import Any

import pytest
import ray

from preprocess.console.cluster import start_ray
from tune.search import board as module
from tune.search.board import Board


def test_the_gate_opens_when_all_are_set_up() -> None:
    board = Board(3, 60.0)
    board.join()
    board.join()
    assert not board.gate_is_open()
    board.join()  # of a process that was started again, when another was killed
    assert board.gate_is_open()


def test_the_gate_opens_when_one_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(3, 60.0)
    board.join()
    monkeypatch.setattr(module, "WAIT_FOR_SLOTS_S", 0.0)
    assert board.gate_is_open()


def test_how_far_trials_are_and_how_often_they_set_out() -> None:
    board = Board(1, 60.0)
    assert [board.begin(4, None), board.begin(4, None)] == [1, 2]
    assert board.begin(6, None) == 0, "the one slot is taken"
    board.progress(4, 20, {"loss": 0.5})
    board.progress(5, 20, {})  # told late by a process that was given up
    running, news, halted = board.look()
    assert {n: (p.done, p.values) for n, p in running.items()} == {4: (20, {"loss": 0.5})}
    board.leave(4)  # its process was lost at step 20: it has got further
    assert [board.begin(4, None), board.begin(4, None), board.begin(4, None)] == [1, 2, 3]
    board.reach(4)
    assert board.begin(4, None) == 1
    board.leave(4)
    board.halt("the disk is full")
    assert board.look() == ({}, [], "the disk is full") and news == [] and halted == ""


def test_a_silent_process_is_ended() -> None:
    start_ray("local")
    try:
        actor: Any = ray.remote(num_cpus=0)(Board)
        board, silent = actor.remote(1, 0.2), actor.remote(1, 1.0)
        ray.get([board.begin.remote(3, silent), silent.join.remote()])
        time.sleep(0.3)
        running, news, _ = ray.get(board.look.remote())
        assert running == {} and news == ["trial 003 was stuck, without progress for 0 s"]
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(silent.join.remote())
    finally:
        ray.shutdown()
