"""Tasks over processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from preprocess.console.workers import map_unordered


def double_or_die(task: int) -> int:
    """Stands for a decoder that takes its process with it."""
    if task == 3:
        os.kill(os.getpid(), 9)
    return 2 * task


def fail(task: int) -> int:
    raise OSError(28, "No space left on device")


def died(task: int) -> int:
    return -task


def test_a_task_that_kills_its_worker_stops_no_other() -> None:
    results = map_unordered(double_or_die, range(8), processes=2, died=died)
    assert sorted(results) == [-3, 0, 2, 4, 8, 10, 12, 14]


def test_an_error_ends_it() -> None:
    with pytest.raises(OSError, match="No space left"):
        list(map_unordered(fail, range(8), processes=2, died=died))


def test_tasks_are_read_a_few_ahead_only() -> None:
    read: list[int] = []

    def tasks() -> object:
        for task in range(100, 200):
            read.append(task)
            yield task

    results = map_unordered(double_or_die, tasks(), processes=2, died=died)  # type: ignore[arg-type]
    next(results)
    assert len(read) <= 8
    results.close()  # type: ignore[attr-defined]


def test_one_process_needs_no_other(tmp_path: Path) -> None:
    assert list(map_unordered(lambda task: task + 1, [1, 2], processes=1, died=died)) == [2, 3]
