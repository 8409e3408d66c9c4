"""Where Ray cannot start or join, the cause is named: a real Ray that fails, and its words."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from preprocess.console.ray_failures import WITHOUT_RAY, why_not_joined, why_not_started
from tests.end_to_end.command_processes import PATIENCE_S, environment

START = """
import sys
{first}
from preprocess.console.cluster import start_ray
try:
    start_ray({address!r})
except ValueError as problem:
    print(problem)
"""


def told(
    address: str | None,
    *,
    first: str = "",
    under: str = "",
    before: tuple[str, ...] = (),
    **variables: str,
) -> str:
    """What a process says that starts Ray or joins a cluster, in a shell that ran ``under``."""
    code = START.format(first=first, address=address)
    done = subprocess.run(
        [*before, "bash", "-c", f'{under}\nexec "$@"', "-", sys.executable, "-c", code],
        env={**environment(), "RAY_NUM_REDIS_GET_RETRIES": "2", **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "gcs_client" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("problem", "noted", "cause"),
    [
        (
            socket.gaierror(-2, "Name or service not known"),
            "",
            "knows no address for that name: check how it is spelled.",
        ),
        (ConnectionRefusedError(111, "Connection refused"), "", "Nothing listens there: check"),
        (TimeoutError("timed out"), "", "may be off, or behind a firewall."),
        (
            RuntimeError(
                "Version mismatch: The cluster was started with:\n    Ray: 2.60.0\n    Python: "
                "3.12.4\nThis process on node 10.0.0.2 was started with:\n    Ray: 2.61.0\n"
                "    Python: 3.11.9\n"
            ),
            "",
            "runs Ray 2.60.0 and Python 3.12.4, and this is Ray 2.61.0 and Python 3.11.9",
        ),
        (ValueError("nothing known\nat all"), "", "Check the address (nothing known)."),
    ],
)
def test_what_keeps_a_process_out_of_a_cluster_is_named(
    problem: Exception, noted: str, cause: str
) -> None:
    said = why_not_joined(problem, "head:6379", noted)
    assert said.startswith("No Ray cluster answers at head:6379. ")
    assert cause in said and said.endswith(WITHOUT_RAY)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("variables", "content", "cause"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, "a" * 64, "RAY_AUTH_MODE is 'disabled' here"),
        ({"RAY_AUTH_TOKEN": "old"}, "a" * 64, "RAY_AUTH_TOKEN is not its token"),
        ({}, None, "/.ray/auth_token cannot be read (No such file or directory)"),
        ({}, " ", "/.ray/auth_token is empty"),
        ({}, "a" * 64, "/.ray/auth_token has another token: copy the file"),
        ({"RAY_AUTH_TOKEN_PATH": "/no/token"}, None, "/no/token (RAY_AUTH_TOKEN_PATH) cannot be"),
    ],
)
def test_a_wrong_token_is_told_by_where_it_came_from(
    variables: dict[str, str],
    content: str | None,
    cause: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path), **variables}.items():
        monkeypatch.setenv(name, value)
    if content is not None:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text(content)
    noted = "W gcs_client.cc:210: Unauthenticated: RPC error: InvalidAuthToken: Authentication"
    said = why_not_joined(ConnectionError("Failed to connect to Ray"), "auto", noted)
    assert cause in said
    assert not content or content.strip() not in said or content == " "


@pytest.mark.parametrize(
    ("problem", "cause"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "/scratch/x/angioray-7"),
            "/scratch/x/angioray-7 cannot be used (Permission denied): set RAY_TMPDIR",
        ),
        (
            PermissionError("/tmp/angioray-7 is not a folder of yours; set RAY_TMPDIR to one"),
            "/tmp/angioray-7 is not a folder of yours; set RAY_TMPDIR to one.",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", str(Path("~/.ray/x").expanduser())),
            "cannot be used (Read-only file system): ~/.ray must be a folder of yours",
        ),
        (Exception("The current node timed out during startup."), "This machine may be too busy"),
    ],
)
def test_what_keeps_ray_from_starting_is_named(
    problem: Exception, cause: str, tmp_path: Path
) -> None:
    said = why_not_started(problem, tmp_path / "not" / "there")
    assert said.startswith("Ray could not be started on this machine. ")
    assert cause in said and said.endswith(WITHOUT_RAY)


def test_limits_of_the_shell_are_named() -> None:
    code = (
        "import ray; from pathlib import Path\n"
        "from preprocess.console.ray_failures import why_not_started\n"
        "print(why_not_started(RuntimeError('Timed out waiting for file'), Path('/tmp/none')))"
    )
    shell = 'ulimit -n 40; ulimit -v 4000000; exec "$@"'
    said = subprocess.run(
        ["bash", "-c", shell, "-", sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "A process may open 40 files here, and Ray needs 1024: `ulimit -n 1024`" in said
    assert "may have 3906 MiB of addresses here" in said and "`ulimit -v unlimited`" in said
    assert "too busy" not in said


def test_a_ray_that_other_machines_would_reach_is_not_started() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("192.0.2.1", 9))  # asks for the way there, and sends nothing
        except OSError:
            pytest.skip("no other machine could reach this one")
    said = told(None, first="import ray", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="1")
    assert "something has imported it before" in said


@pytest.mark.slow
def test_what_listens_but_is_no_ray_is_named() -> None:
    """Ray itself would wait for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_answer_in_http, args=(listening,), daemon=True).start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        assert f"No Ray cluster answers at {address}. Check the address (what" in told(address)


def _answer_in_http(listening: socket.socket) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@dataclass(frozen=True)
class Head:
    """A cluster that asks for its token."""

    address: str
    home: Path


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A cluster of one node with a home of its own."""
    with tempfile.TemporaryDirectory(prefix="h", dir="/tmp") as folder:
        home = Path(folder)
        (home / ".ray").mkdir()
        (home / ".ray" / "auth_token").write_text("a" * 64)
        with (
            socket.create_server(("127.0.0.1", 0)) as free,
            socket.create_server(("127.0.0.1", 0)) as also_free,
        ):
            port, client = free.getsockname()[1], also_free.getsockname()[1]
        options = f"--port={port} --ray-client-server-port={client} --num-cpus=1 --block"
        options += " --include-dashboard=false --dashboard-agent-listen-port=0"
        options += " --min-worker-port=0 --max-worker-port=0 --object-store-memory=100000000"
        ray = Path(sys.executable).with_name("ray")
        variables = {"HOME": folder, "RAY_TMPDIR": folder, "RAY_AUTH_MODE": "token"}
        variables["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1"
        log = home / "log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [str(ray), "start", "--head", *options.split()],
                env={**environment(), **variables},
                stdout=out,
                stderr=out,
            )
        try:
            while "Ray runtime started" not in log.read_text():
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.2)
            yield Head(f"127.0.0.1:{port}", home)
        finally:
            process.terminate()
            process.wait()


@pytest.mark.slow
def test_a_cluster_says_why_it_does_not_take_a_process_in(head: Head, tmp_path: Path) -> None:
    there = {"HOME": str(head.home), "RAY_TMPDIR": str(head.home)}
    assert told(head.address, **there) == ""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("b" * 64)
    assert "auth_token has another token" in told(head.address, HOME=str(tmp_path))
    assert "RAY_AUTH_TOKEN is not its token" in told(head.address, RAY_AUTH_TOKEN="c", **there)
    assert "is 'disabled' here" in told(head.address, RAY_AUTH_MODE="disabled", **there)
    (tmp_path / ".ray" / "auth_token").unlink()
    assert "auth_token cannot be read" in told(head.address, HOME=str(tmp_path))
    other = "import os; os.environ['RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER'] = '1'; import ray\n"
    said = told(head.address, first=f"{other}ray.__version__ = '2.1.0'", **there)
    assert "and this is Ray 2.1.0 and Python" in said


@pytest.mark.slow
def test_a_cluster_that_does_not_start_names_what_this_machine_lacks() -> None:
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        said = told(None, under="ulimit -n 40", RAY_TMPDIR=folder)
    assert "A process may open 40 files here" in said and "too busy" not in said


@pytest.mark.slow
def test_a_full_disk_is_named() -> None:
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        full = f"mount -t tmpfs -o size=64k none {folder}"
        if subprocess.run(["unshare", "--mount", "bash", "-c", full], check=False).returncode:
            pytest.skip("this machine lets nobody make a mount namespace")
        said = told(None, under=full, before=("unshare", "--mount"), RAY_TMPDIR=folder)
    assert f"The disk of {folder}" in said and "has 0 MiB left, and Ray needs 100" in said
