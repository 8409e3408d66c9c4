"""Ingest on a Ray cluster: the same command, the same cohort."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from preprocess.cohort import Cohort
from preprocess.console.workers import map_unordered
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
def test_a_node_that_starts_too_slowly_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    start, tries = ray.init, []

    def slow_at_first(**options: Any) -> object:
        tries.append(options["address"])
        if len(tries) == 1:
            raise Exception("The current node timed out during startup.")
        return start(**options)

    monkeypatch.setattr(ray, "init", slow_at_first)
    results = map_unordered(double_or_die, range(2), processes=0, died=died, cluster="local")
    assert sorted(results) == [0, 2]
    assert tries == ["local", "local"]


def test_nobody_at_the_address_is_said() -> None:
    with pytest.raises(ValueError, match=r"No Ray cluster answers at 127\.0\.0\.1:1 "):
        next(map_unordered(fail, [1], processes=0, died=died, cluster="127.0.0.1:1"))


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
