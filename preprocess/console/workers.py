"""Tasks over several processes; a task that kills its process does not stop the others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

QUEUED_PER_PROCESS = 2


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_unordered(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    processes: int,
    died: Callable[[Task], Result],
    cluster: str | None = None,
) -> Iterator[Result]:
    """Yield ``function(task)`` for every task, as they finish.

    Args:
        function: importable by name; what it raises ends the iteration.
        tasks: read a few ahead, not all at once.
        processes: 0 = one per core; 1 = in this process, without protection from crashes.
        died: the result of a task that killed its worker (a decoder's crash, out of memory).
        cluster: the address of a Ray cluster that does the work instead of this machine.
    """
    if cluster:
        from preprocess.console.cluster import map_on_cluster

        yield from map_on_cluster(function, tasks, address=cluster, died=died)
        return
    if processes == 1:
        yield from map(function, tasks)
        return
    processes = processes or available_cores()
    waiting = iter(tasks)
    while True:
        suspects: list[Task] = []
        yield from _until_broken(function, waiting, processes, suspects)
        if not suspects:
            return
        for task in suspects:
            yield _alone(function, task, died)


def _until_broken(
    function: Callable[[Task], Result],
    waiting: Iterator[Task],
    processes: int,
    suspects: list[Task],
) -> Iterator[Result]:
    """Results until the tasks end, or a worker dies: then ``suspects`` holds what was running."""
    running: dict[Future[Result], Task] = {}
    pool = _pool(processes)
    try:
        while not suspects:
            while len(running) < QUEUED_PER_PROCESS * processes:
                try:
                    task = next(waiting)
                except StopIteration:
                    break
                try:
                    running[pool.submit(function, task)] = task
                except BrokenProcessPool:
                    suspects.append(task)
                    break
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    suspects.append(task)
                else:
                    yield future.result()
        suspects.extend(running.values())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone(
    function: Callable[[Task], Result], task: Task, died: Callable[[Task], Result]
) -> Result:
    with _pool(1) as pool:
        try:
            return pool.submit(function, task).result()
        except BrokenProcessPool:
            return died(task)


def _pool(processes: int) -> ProcessPoolExecutor:
    # Spawned, not forked: zarr's threads do not survive a fork.
    return ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker
    )


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone, even by ``kill -9``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
