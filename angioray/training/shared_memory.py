"""Bytes that the processes of one user hold once on a machine.

They lie in a file without a name, in memory or on disk. Each process that uses it has it open, and
the next one finds it among their open files, in ``/proc``. So nobody else can read it, it goes with
the last process however that ends, and the size of ``/dev/shm``, small in containers, is no limit.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

OWNER_ONLY = 0o600
ASKED_AGAIN_S = 0.02
"""Between two questions whether another process has finished."""


class NoRoomError(Exception):
    """Nothing can be shared here: there is no room, or the system does not allow it."""


@contextmanager
def turn(name: str, alive: Callable[[], None]) -> Iterator[None]:
    """One process of this user at a time among those that give the same name.

    The kernel ends the turn of a killed process. Where the lock cannot be had, nobody waits: work
    may then be done twice, which harms nothing.

    Args:
        name: hexadecimal, 16 digits at least.
        alive: is called again and again while another has its turn.
    """
    path = Path(tempfile.gettempdir()) / f"angioray-{os.geteuid()}.lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, OWNER_ONLY)
    except OSError:  # another user has put something there
        yield
        return
    if os.fstat(lock).st_uid != os.geteuid():  # who could keep it for ever
        os.close(lock)
        yield
        return
    try:
        # A byte of one file for each name: nothing is left behind that has to be removed.
        while not _locked(lock, int(name[:15], 16)):
            alive()
            time.sleep(ASKED_AGAIN_S)
        yield
    finally:
        os.close(lock)


def find(name: str, length: int) -> NDArray[np.uint8] | None:
    """The bytes of that name, if a process of this user holds them whole.

    They are read-only (uint8[length]).
    """
    for link in _open_files():
        try:
            if _label(name) not in link.readlink().name:
                continue
            descriptor = os.open(link, os.O_RDONLY)
        except OSError:  # it was closed meanwhile
            continue
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if status.st_uid == os.geteuid() and status.st_size == length + 1:
                return _view(file, length)
    return None


def make(
    name: str, length: int, fill: Callable[[NDArray[np.uint8]], None], *, on_disk: bool = False
) -> NDArray[np.uint8]:
    """New bytes that others find once they are whole (uint8[length]).

    Args:
        name: by which others find them; it should say all that they depend on.
        length: how many.
        fill: writes them.
        on_disk: in the folder for temporary files, rather than in memory.

    Raises:
        NoRoomError: there is no room for them.
    """
    try:
        descriptor = _new_file(name, length, on_disk=on_disk)
    except (OSError, AttributeError) as problem:  # some systems have no such files
        raise NoRoomError(str(problem)) from problem
    with os.fdopen(descriptor, "r+b") as file:
        fill(np.memmap(file, np.uint8, "r+", shape=(length,)))
        os.ftruncate(descriptor, length + 1)  # says that they are whole
        return _view(file, length)


def _new_file(name: str, length: int, *, on_disk: bool) -> int:
    if on_disk:
        descriptor, path = tempfile.mkstemp(prefix=_label(name))  # its owner's alone
        Path(path).unlink()
    else:
        descriptor = os.memfd_create(_label(name))
        os.fchmod(descriptor, OWNER_ONLY)
    try:
        os.posix_fallocate(descriptor, 0, length)  # else a full disk would kill who writes
    except (OSError, AttributeError):
        os.close(descriptor)
        raise
    return descriptor


def _open_files() -> Iterator[Path]:
    """Links to what the processes of this user have open."""
    processes = Path("/proc")
    for process in processes.iterdir() if processes.is_dir() else ():
        if process.name.isdigit():
            with suppress(OSError):  # it has ended, or is another user's
                yield from list((process / "fd").iterdir())


def _label(name: str) -> str:
    return f"angioray-{name}-"


def _view(file: IO[bytes], length: int) -> NDArray[np.uint8]:
    """A view that has the file open as long as it lives, so that others find it.

    One that could be written would be charged to each process, and refused beyond the memory.
    """
    return np.memmap(file, np.uint8, "r", shape=(length,))


def _locked(lock: int, byte: int) -> bool:
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError as problem:  # where a file system has no locks, nobody waits
        return problem.errno not in (errno.EAGAIN, errno.EACCES)
    return True
