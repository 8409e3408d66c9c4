"""Ray for preprocessing: joining a cluster, and tasks over its nodes."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

ANSWER_WITHIN_S = 10.0
LOCAL_STARTS = 3
"""Ray gives a node 30 s to start, which a machine with other work may not keep; then again."""
QUEUED_PER_CORE = 2
TOKEN = Path("~/.ray/auth_token")
"""Where Ray keeps the secret that lets a process join a cluster."""


def start_ray(address: str | None) -> dict[str, float]:
    """Join the cluster at ``address`` or RAY_ADDRESS, or start one here; its resources.

    Raises:
        ValueError: the cluster cannot be reached.
    """
    # Read once when Ray is imported; set for the workers as well, which inherit them.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():  # one that this process has joined before
        return dict(ray.cluster_resources())
    # Only an address joins a cluster: one that happens to run here may be another study's.
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    _expect_an_answer(where)
    own: dict[str, Any] = {"include_dashboard": False} if where == "local" else {}
    for tries_left in reversed(range(LOCAL_STARTS if where == "local" else 1)):
        try:
            ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR, **own)
            break
        except Exception as problem:  # Ray raises a bare one where a node starts slowly
            if not tries_left:
                raise _no_cluster(where, problem) from problem
            ray.shutdown()
    if (token := TOKEN.expanduser()).is_file():
        token.chmod(0o600)  # Ray makes it readable for everyone, and it opens the cluster
    return dict(ray.cluster_resources())


def map_on_cluster(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    address: str,
    died: Callable[[Task], Result],
) -> Iterator[Result]:
    """Yield ``function(task)`` for every task as they finish, one core of a cluster for each.

    Args:
        function: importable by name on every node; what it raises ends the iteration.
        tasks: read a few ahead of the cluster's cores, not all at once.
        address: of the cluster, such as ``auto`` or ``head:6379``; ``local`` starts one here.
        died: the result of a task whose worker died twice (a decoder's crash, out of memory).

    Raises:
        ValueError: the cluster cannot be reached, or its nodes lack this package.
    """
    start_ray(address)
    import ray
    from ray.exceptions import RayError, RaySystemError, RayTaskError

    remote: Any = ray.remote(num_cpus=1, max_retries=0)(_call)
    shared = ray.put(function)
    waiting = iter(tasks)
    running: dict[Any, tuple[Task, bool]] = {}
    try:
        while True:
            # Asked each time: clusters grow while there is work.
            room = QUEUED_PER_CORE * max(1, int(ray.cluster_resources().get("CPU", 1)))
            while len(running) < room and (task := next(waiting, _END)) is not _END:
                running[remote.remote(shared, task)] = (task, False)
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1)
            task, is_second_try = running.pop(done[0])
            try:
                result = ray.get(done[0])
            except RayTaskError as problem:
                if isinstance(problem.cause, RaySystemError):  # it could not even be unpacked
                    raise ValueError(
                        f"A worker of the cluster at {address} cannot take up the work. Install "
                        "the same version of angioray on every node."
                    ) from problem
                raise problem.cause from None
            except RayError:  # its worker is gone; another node's end is no fault of the task
                if not is_second_try:
                    running[remote.remote(shared, task)] = (task, True)
                    continue
                result = died(task)
            yield result
    finally:
        ray.shutdown()  # ends what still runs


_END: Any = object()


def _call(function: Callable[[Task], Result], task: Task) -> Result:
    return function(task)


def _expect_an_answer(where: str) -> None:
    """Ray itself tries for minutes before it says that there is no cluster."""
    host, _, port = where.rpartition(":")
    if not port.isdigit() or "/" in host:
        return  # auto, local, or a client address with a scheme
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_WITHIN_S).close()
    except OSError as problem:
        raise _no_cluster(where, problem) from problem


def _no_cluster(where: str, problem: Exception) -> ValueError:
    if where == "local":
        return ValueError(
            f"Ray could not be started on this machine ({problem}). It may be too busy, or short "
            "of memory or disk; give the same command again."
        )
    return ValueError(
        f"No Ray cluster answers at {where} ({problem}). Check the address, and that "
        "RAY_AUTH_MODE and ~/.ray/auth_token are the cluster's; without an address the work is "
        "done on this machine."
    )
