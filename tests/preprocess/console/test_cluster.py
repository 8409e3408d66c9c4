"""Ingest on a Ray cluster: the same command, the same cohort."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from preprocess.cohort import Cohort
from preprocess.console.cluster import keep_token_private, session_folder
from preprocess.console.ray_failures import TOKEN
from preprocess.console.workers import map_unordered
from tests.end_to_end.command_processes import psutil
from tests.preprocess.tiny_archive import SIZE, Archive, noise

pytestmark = pytest.mark.slow


def double_or_die(task: int) -> int:
    """Stands for a decoder that takes its process with it."""
    if task == 3:
        os.kill(os.getpid(), 9)
    return 2 * task


def fail(task: int) -> int:
    raise ValueError(f"task {task} found no archive")


def died(task: int) -> int:
    return -task


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's workers find this module, as on nodes where everything is installed."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))


@pytest.mark.usefixtures("importable")
def test_a_task_that_kills_its_worker_stops_no_other() -> None:
    results = map_unordered(double_or_die, range(8), processes=0, died=died, cluster="local")
    assert sorted(results) == [-3, 0, 2, 4, 8, 10, 12, 14]


@pytest.mark.usefixtures("importable")
def test_an_error_ends_it_in_its_own_words() -> None:
    with pytest.raises(ValueError, match=r"^task \d found no archive$"):
        list(map_unordered(fail, range(8), processes=0, died=died, cluster="local"))


def test_nodes_without_the_package_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "on_this_node_alone.py").write_text("def same(task):\n    return task\n")
    monkeypatch.syspath_prepend(tmp_path)
    same = importlib.import_module("on_this_node_alone").same
    with pytest.raises(ValueError, match="Install the same version of angioray on every node"):
        list(map_unordered(same, range(2), processes=0, died=died, cluster="local"))


@pytest.mark.usefixtures("importable")
def test_a_start_that_fails_is_ended_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.node import Node

    start, tokens = Node.start_ray_processes, []

    def slow_at_first(node: Node) -> None:
        tokens.append(TOKEN.expanduser().stat().st_mode & 0o777)
        if len(tokens) == 1:  # the processes of the head have been started
            raise Exception("The current node timed out during startup.")
        start(node)

    monkeypatch.setattr(Node, "start_ray_processes", slow_at_first)
    results = map_unordered(double_or_die, range(2), processes=0, died=died, cluster="local")
    assert sorted(results) == [0, 2]
    assert tokens == [0o600, 0o600]
    left = [process.name() for process in psutil.Process().children(recursive=True)]
    assert "gcs_server" not in left


def test_the_folder_of_a_session_is_this_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    try:
        monkeypatch.setenv("RAY_TMPDIR", str(short))
        private = short / f"angioray-{os.getuid()}"
        private.mkdir(mode=0o755)
        assert session_folder() == private / "ray"
        assert private.stat().st_mode & 0o777 == 0o700
        private.rmdir()
        private.symlink_to(tmp_path)
        with pytest.raises(PermissionError, match="is not a folder of yours; set RAY_TMPDIR"):
            session_folder()
    finally:
        shutil.rmtree(short)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 60)))
    assert session_folder() == Path(f"/tmp/angioray-{os.getuid()}/ray")


def test_a_secret_is_made_once_and_read_by_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    token = TOKEN.expanduser()
    keep_token_private(create=False)
    assert not token.parent.exists()
    keep_token_private(create=True)
    made = token.read_text()
    assert len(made) == 64 and token.stat().st_mode & 0o777 == 0o600
    token.chmod(0o644)  # as Ray leaves it
    keep_token_private(create=True)
    assert token.read_text() == made and token.stat().st_mode & 0o777 == 0o600
    token.write_text("")  # in its place Ray would write one that others can read
    keep_token_private(create=True)
    assert len(token.read_text()) == 64 and token.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in token.parent.iterdir()] == ["auth_token"]


def written(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_the_same_cohort_as_on_one_machine(archive: Archive) -> None:
    for number in range(6):
        archive.add(f"{number}.dcm", frames=noise(seed=number))
    archive.add("short.dcm", NumberOfFrames=9)
    key = archive.folder / "key"
    key.write_text("ab" * 32)
    cohorts = []
    for name, how in (("here", ("--processes", "1")), ("there", ("--ray", "local"))):
        out = archive.folder / name
        command = [
            *(sys.executable, "-m", "preprocess", "ingest", str(archive.src), "--out", str(out)),
            *("--labels", str(archive.labels), "--size", str(SIZE), "--key", str(key), *how),
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert "Accepted 6 cines" in done.stdout
        assert "ray" not in done.stderr.lower()
        cohorts.append(written(out))
    assert len(Cohort.open(out).sequences) == 6
    assert cohorts[0] == cohorts[1]


def test_ray_is_imported_only_where_it_is_asked_for() -> None:
    modules = "sys, preprocess.__main__, preprocess.console.cluster"
    code = f"import {modules}; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
