"""Ray for preprocessing: joining a cluster, and tasks over its nodes."""

from __future__ import annotations

import importlib
import ipaddress
import logging
import os
import secrets
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from preprocess.console.ray_failures import (
    TOKEN,
    lasting_causes,
    why_not_joined,
    why_not_started,
)

Task = TypeVar("Task")
Result = TypeVar("Result")

ANSWER_WITHIN_S = 10.0
LOCAL_STARTS = 3
"""Ray gives a node 30 s to start, which a machine with other work may not keep; then again."""
QUEUED_PER_CORE = 2
LONGEST_SESSION_FOLDER = 39
"""Characters of a folder under which Ray's sockets still have paths that systems accept: 103, less
the 64 of ``/session_DATE_TIME_PROCESS/sockets/plasma_store``."""
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
ENDING_WITHIN_S = 10.0
NOTED = 1 << 16
"""Bytes of what Ray writes on standard error while it joins a cluster."""


def start_ray(address: str | None) -> dict[str, float]:
    """Join the cluster at ``address`` or RAY_ADDRESS, or start one here; its resources.

    Nothing may have imported Ray before in a process that starts a cluster.

    Raises:
        ValueError: the cluster cannot be reached or started; the message names the cause.
    """
    # Only an address joins a cluster: one that happens to run here may be another study's.
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    here = where == "local"
    # Read once when Ray is imported; set for the workers as well, which inherit them.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray's name for listening on loopback alone, which on Linux it does not do by itself.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0" if here else "1"
    # Nobody takes this machine away, and here no dashboard shows what Ray Train does.
    for feature in ("PREEMPTION_WATCHER", "STATE_TRACKING"):
        os.environ.setdefault(f"RAY_TRAIN_ENABLE_{feature}", "0" if here else "1")
    import ray

    if ray.is_initialized():  # one that this process has joined before
        return dict(ray.cluster_resources())
    if here:
        _start_here()
    else:
        _join(where)
    return dict(ray.cluster_resources())


def _start_here() -> None:
    """Start a cluster that no other machine can reach, nor another user without its secret."""
    import ray
    from ray.util import get_node_ip_address

    if not ipaddress.ip_address(get_node_ip_address()).is_loopback:
        raise ValueError(
            "Other machines could reach a Ray that is started here, for something has imported "
            "it before. Start Python with RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0."
        )
    meet_on_loopback()
    folder = _session_folder_path()
    for tries_left in reversed(range(LOCAL_STARTS)):
        try:
            keep_token_private(create=True)
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(session_folder()),
            )
        except Exception as problem:  # Ray raises a bare one where a node starts slowly
            ray.shutdown()
            _end_processes_of(folder)
            if not tries_left or any(lasting_causes(folder)):
                raise ValueError(why_not_started(problem, folder)) from problem
        else:
            return


def _join(address: str) -> None:
    """Become a driver of the cluster at ``address``."""
    import ray

    with _standard_error_kept() as noted:
        try:
            _expect_ray(address)
            keep_token_private(create=False)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as problem:
            raise ValueError(why_not_joined(problem, address, noted())) from problem


@contextmanager
def _standard_error_kept() -> Iterator[Callable[[], str]]:
    """Keep what Ray's C++ writes on standard error: the cause, but a line a second of it."""
    with tempfile.TemporaryFile() as kept:
        standard_error = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield lambda: os.pread(kept.fileno(), NOTED, 0).decode(errors="replace")
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


def meet_on_loopback() -> None:
    """Ranks that this process starts exchange gradients within this machine alone."""
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = LOOPBACK


def session_folder() -> Path:
    """A folder for Ray's sockets, logs and spilled objects that this user alone can enter.

    Ray makes its own folders writable for everyone, so that they are put into a private one. Where
    the path of the folder for temporary files is too long for sockets, it is in ``/tmp``.

    Raises:
        OSError: it belongs to another user, or cannot be made.
    """
    private = _session_folder_path().parent
    with suppress(FileExistsError):
        private.mkdir(mode=0o700, parents=True)
    found = private.lstat()  # not where a link leads that somebody else has put there
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{private} is not a folder of yours; set RAY_TMPDIR to one")
    private.chmod(0o700)
    return private / "ray"


def _session_folder_path() -> Path:
    wanted = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()).absolute()
    name = f"angioray-{os.getuid()}"
    too_long = len(os.fsencode(wanted / name / "ray")) > LONGEST_SESSION_FOLDER
    return (Path("/tmp") if too_long else wanted) / name / "ray"


def keep_token_private(*, create: bool) -> None:
    """Nobody else may read the secret: Ray itself would write it readable for everyone."""
    path = TOKEN.expanduser()
    given = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if create and not given and not (path.exists() and path.stat().st_size):
        path.unlink(missing_ok=True)  # an empty one, in whose place Ray would write its own
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # its mode is 0600
            file.write(secrets.token_hex(32))
            file.flush()
            with suppress(FileExistsError):  # another process was faster; its secret counts
                os.link(file.name, path)
    if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        path.chmod(0o600)


def _end_processes_of(folder: Path) -> None:
    """End what a failed start of Ray has left: processes of this one that work in ``folder``."""
    psutil: Any = importlib.import_module("psutil")  # Ray brings it along
    left = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=ENDING_WITHIN_S)


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


def _expect_ray(address: str) -> None:
    """Ray itself tries for minutes before it says that there is no cluster."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or "/" in host:
        return  # auto, or a client address with a scheme
    socket.create_connection((host.strip("[]"), int(port)), ANSWER_WITHIN_S).close()
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return  # it would want certificates first
    grpc: Any = importlib.import_module("grpc")  # Ray brings it along; it has no types
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(ANSWER_WITHIN_S)
        except grpc.FutureTimeoutError:
            raise ValueError("what listens there is no Ray") from None
