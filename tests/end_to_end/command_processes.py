"""Commands as a person gives them: processes of their own, everything they start, what they say."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray  # noqa: F401 - brings psutil along

psutil: Any = importlib.import_module("psutil")

REPOSITORY = Path(__file__).parents[2]
POLL_EVERY_S = 0.05
PATIENCE_S = 600.0
"""For what takes seconds on an idle machine."""
LEAVING_S = 60.0
"""For a cluster to go with its driver."""
AGENTS_LEAVING_S = 180.0
"""For the agents of a killed driver's cluster, which hope for its return for a minute or two."""


def environment() -> dict[str, str]:
    """This process's environment, with this checkout's packages and no cluster to join."""
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return {**kept, "PYTHONPATH": str(REPOSITORY)}


def run(*arguments: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """``python -m ARGUMENTS`` to its end, whatever that is."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=cwd,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class Running:
    """A command in a session of its own, as on a terminal of its own, and all that it started."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self._said = [folder / name for name in ("stdout.txt", "stderr.txt")]
        with self._said[0].open("w") as out, self._said[1].open("w") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *map(str, arguments)],
                cwd=folder,
                env=environment(),
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._family = {psutil.Process(self._process.pid)}
        self.killed = False

    def descendants(self) -> set[Any]:
        """Every process that came from this command and still runs."""
        for process in list(self._family):
            try:
                self._family.update(process.children(recursive=True))
            except psutil.NoSuchProcess:
                continue
        return {process for process in self._family if _runs(process)}

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Watch until something is true, which must happen while the command still runs."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            self.descendants()
            assert self._process.poll() is None, f"it ended too early: {self.ended().err}"
            assert time.monotonic() < deadline, f"nothing came of it: {self.ended().err}"
            time.sleep(POLL_EVERY_S)

    def interrupt(self) -> Ended:
        """Ctrl-C: to the command and to all that share its terminal."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self.finish()

    def kill(self) -> Ended:
        """``kill -9`` of the command itself; what it started must notice."""
        self.descendants()
        self._process.kill()
        self.killed = True
        return self.finish()

    def finish(self) -> Ended:
        """Wait for its end."""
        deadline = time.monotonic() + PATIENCE_S
        while self._process.poll() is None:
            self.descendants()
            assert time.monotonic() < deadline, f"it does not end: {self.ended().err}"
            time.sleep(POLL_EVERY_S)
        return self.ended()

    def ended(self) -> Ended:
        """What it has said so far, and its exit code if there is one."""
        out, err = (path.read_text() for path in self._said)
        return Ended(-1 if (code := self._process.poll()) is None else code, out, err)


class Watch:
    """Sees to it that no process outlives its command, and that none outlives the tests."""

    def __init__(self) -> None:
        self._agents: set[Any] = set()

    @contextmanager
    def running(self, folder: Path, *arguments: object) -> Iterator[Running]:
        """Start a command; at the end its processes must go, by themselves.

        After ``kill -9`` Ray's agents, which compute nothing, have until :meth:`close`.
        """
        command = Running(folder, *arguments)
        left: set[Any] = set()
        try:
            yield command
            deadline = time.monotonic() + LEAVING_S
            while (left := command.descendants()) and time.monotonic() < deadline:
                if command.killed and all("Agent" in _name(process) for process in left):
                    self._agents |= left
                    return
                time.sleep(POLL_EVERY_S)
            assert not left, f"left behind: {sorted(map(_name, left))}"
        except BaseException as problem:
            problem.add_note(f"The command had said:\n{command.ended().err}")
            raise
        finally:
            for process in command.descendants() - self._agents:
                process.kill()

    def close(self) -> None:
        """Wait for the last of them."""
        deadline = time.monotonic() + AGENTS_LEAVING_S
        while (left := set(filter(_runs, self._agents))) and time.monotonic() < deadline:
            time.sleep(POLL_EVERY_S)
        names = sorted(map(_name, left))
        for process in left:
            process.kill()
        assert not names, f"left behind: {names}"


def _name(process: Any) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return "gone, an Agent or not"


def _runs(process: Any) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
