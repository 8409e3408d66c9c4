"""Why Ray did not start, or no cluster took this process in: the cause, and what to do about it.

Ray mostly says that it waited in vain. So its message is read first, and then this machine is
looked at for what Ray needs. Both come after a failure, and refuse nothing that would have worked.
"""

from __future__ import annotations

import importlib
import os
import re
import resource
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WITHOUT_RAY = (
    "Without Ray, `python -m angioray.train` trains one run of a study, and `preprocess ingest` "
    "leaves out `--ray`."
)
TOKEN = Path("~/.ray/auth_token")
"""Where Ray keeps the secret that lets a process join a cluster."""
FILES_NEEDED = 1024
"""Open files of a process. Ray starts with fewer, but not with many fewer."""
DISK_NEEDED = 100 << 20
"""Bytes for the sockets and logs of a session."""
MEMORY_NEEDED = 500 << 20
"""Bytes that Ray's processes take before there is any work."""


def why_not_started(problem: Exception, folder: Path) -> str:
    """Sentences about a cluster of this machine alone that did not start.

    Args:
        problem: what Ray, or the preparation for it, has raised.
        folder: of Ray's sessions; it need not exist.
    """
    causes = [*_causes_in(problem, str(problem)), *lasting_causes(folder)]
    load = f"{os.getloadavg()[0]:.0f} processes for {os.cpu_count()} cores"
    cause = " ".join(causes) or (
        f"It did not say why ({_first_line(problem)}). This machine may be too busy ({load}): Ray "
        f"gives a node 30 seconds. Give the same command again; {folder}/session_latest has logs."
    )
    return f"Ray could not be started on this machine. {cause} {WITHOUT_RAY}"


def why_not_joined(problem: Exception, address: str, noted: str = "") -> str:
    """Sentences about a cluster that did not take this process in.

    Args:
        problem: what Ray, or the look at the address, has raised.
        address: of the cluster, as it was given.
        noted: what Ray has written on standard error.
    """
    causes = list(_causes_in(problem, f"{problem} {noted}"))
    cause = " ".join(causes) or f"Check the address ({_first_line(problem)})."
    return (
        f"No Ray cluster answers at {address}. {cause} Without an address the work is done on this "
        f"machine. {WITHOUT_RAY}"
    )


def lasting_causes(folder: Path) -> Iterator[str]:
    """What this machine lacks for Ray and will lack at the next try, a sentence or two for each.

    Args:
        folder: of Ray's sessions; it need not exist.
    """
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < FILES_NEEDED:
        yield (
            f"A process may open {files} files here, and Ray needs {FILES_NEEDED}: `ulimit -n "
            f"{FILES_NEEDED}` in this shell, or ask the administrator for more than {most}."
        )
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if addresses != resource.RLIM_INFINITY:
        yield (
            f"A process may have {addresses >> 20} MiB of addresses here, and Ray reserves many "
            "times what it uses: `ulimit -v unlimited` in this shell."
        )
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if free < DISK_NEEDED:
        yield (
            f"The disk of {there} has {free >> 20} MiB left, and Ray needs {DISK_NEEDED >> 20} for "
            "its logs: make room, or set RAY_TMPDIR to a folder of yours on another disk."
        )
    psutil: Any = importlib.import_module("psutil")  # Ray brings it along
    memory = psutil.virtual_memory()
    if memory.available < MEMORY_NEEDED:
        yield (
            f"{memory.available >> 20} of {memory.total >> 20} MiB of memory are free, and Ray "
            f"itself takes {MEMORY_NEEDED >> 20}: end other programs."
        )


def _causes_in(problem: Exception, text: str) -> Iterator[str]:
    """What the exception's kind and Ray's words say."""
    if isinstance(problem, socket.gaierror):
        yield "This machine knows no address for that name: check how it is spelled."
    elif isinstance(problem, ConnectionRefusedError):
        yield "Nothing listens there: check the port, and that the cluster runs."
    elif isinstance(problem, TimeoutError):
        yield "Nothing there answered in time: the machine may be off, or behind a firewall."
    elif isinstance(problem, OSError) and problem.filename and problem.strerror:
        secret = TOKEN.expanduser().parent in (
            Path(problem.filename),
            *Path(problem.filename).parents,
        )
        advice = (
            f"{TOKEN.parent} must be a folder of yours"
            if secret
            else "set RAY_TMPDIR to a folder of yours with a short path"
        )
        yield f"{problem.filename} cannot be used ({problem.strerror}): {advice}."
    elif isinstance(problem, PermissionError):
        yield f"{problem}."
    if "Could not find any running Ray instance" in text:
        yield "`auto` means a cluster that this machine is part of: `ray start` makes it one."
    if gone := re.search(r"GCS at address (\S+) within", text):
        yield f"Ray looked for it at {gone[1]}, where none runs any more."
    if "Version mismatch" in text:
        (ray, python), (our_ray, our_python) = zip(
            re.findall(r"Ray: (\S+)", text), re.findall(r"Python: (\S+)", text), strict=True
        )
        yield (
            f"It runs Ray {ray} and Python {python}, and this is Ray {our_ray} and Python "
            f"{our_python}: install the same versions on every machine."
        )
    if "amount of memory on this node" in text or "object store memory usage" in text:
        yield "Too little memory is left for Ray here: end other programs, or allow it more."
    if "uthenticat" in text or "InvalidAuthToken" in text:
        yield _wrong_token()


def _wrong_token() -> str:
    """Which token this process shows, and what to do that it is the cluster's."""
    mode = os.environ.get("RAY_AUTH_MODE", "")
    if mode.lower() != "token":
        return f"It asks for its token, and RAY_AUTH_MODE is {mode!r} here: export it as token."
    if os.environ.get("RAY_AUTH_TOKEN"):
        return (
            "RAY_AUTH_TOKEN is not its token, and goes before any file: unset it, or set it anew."
        )
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else TOKEN.expanduser()
    try:
        found = "has another token" if path.read_text().strip() else "is empty"
    except OSError as problem:
        found = f"cannot be read ({problem.strerror})"
    whose = " (RAY_AUTH_TOKEN_PATH)" if named else ""
    return f"{path}{whose} {found}: copy the file of that name from the cluster's head, mode 600."


def _first_line(problem: Exception) -> str:
    return str(problem).partition("\n")[0] or type(problem).__name__
