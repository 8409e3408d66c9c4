"""Several nodes on one machine: one is lost, one does not see the cohort."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from angioray.cluster.nodes import problem_here
from preprocess.cohort import Cohort
from tests.cluster.cluster_study import RUNS, ToyStudy
from tests.end_to_end.command_processes import PATIENCE_S, Watch
from tests.end_to_end.run_folders import half_done, predictions
from tests.s3_server import S3

pytestmark = pytest.mark.slow


def test_a_lost_node_costs_no_run(
    cluster: Any, toy_study: ToyStudy, watch: Watch, runs: Path, tmp_path: Path
) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    study = toy_study.command(runs, "--address", cluster.address)
    with watch.running(tmp_path, *study) as command:
        command.wait_until(lambda: len(half_done(runs, least_steps=10)) == 2)
        cluster.remove_node(nodes[0], allow_graceful=False)
        ended = command.finish()
    assert ended.code == 0, ended.err
    assert "lost its lane" in ended.err
    assert "2 of 4 runs at once" in ended.err
    assert "4 of 4 runs are finished" in ended.out
    assert predictions(runs, RUNS) == toy_study.predictions


def test_a_node_that_does_not_see_the_cohort_is_named(
    cluster: Any, toy_study: ToyStudy, watch: Watch, runs: Path, tmp_path: Path
) -> None:
    cohort = tmp_path / "cohort"
    shutil.copytree(toy_study.cohort, cohort)
    ray = Path(sys.executable).with_name("ray")
    join = f"{ray} start --address={cluster.address} --num-cpus=1 --block"
    # The node's own view of the file system has an empty disk where the cohort lies.
    hidden = f"mount -t tmpfs none {cohort} && exec {join}"
    own_mounts = ["unshare", "--mount", "sh", "-c"]
    try:
        tried = subprocess.run([*own_mounts, f"mount -t tmpfs none {cohort}"], capture_output=True)
    except OSError as problem:
        pytest.skip(f"there is no unshare command here: {problem}")
    if tried.returncode:
        pytest.skip("this machine lets nobody make a mount namespace")
    node = subprocess.Popen([*own_mounts, hidden])
    try:
        deadline = time.monotonic() + PATIENCE_S
        while len(cluster.list_all_nodes()) < 1 or not _bears_runs(cluster):
            assert node.poll() is None, "the node ended before it joined"
            assert time.monotonic() < deadline
            time.sleep(0.5)
        study = toy_study.command(runs, "--address", cluster.address)
        arguments = tuple(cohort if word == toy_study.cohort else word for word in study)
        with watch.running(tmp_path, *arguments) as command:
            ended = command.finish()
    finally:
        node.terminate()
        node.wait()
    assert ended.code == 2
    assert "1 of 1 nodes cannot take part in the study" in ended.err
    assert f"it does not see the cohort: {cohort} is no cohort" in ended.err
    assert "Traceback" not in ended.err


def test_a_node_that_does_not_reach_the_store_is_named(
    cluster: Any, toy_study: ToyStudy, watch: Watch, s3: S3, tmp_path: Path
) -> None:
    ray = Path(sys.executable).with_name("ray")
    join = [str(ray), "start", f"--address={cluster.address}", "--num-cpus=1", "--block"]
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        nowhere = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    node = subprocess.Popen(join, env={**os.environ, "AWS_ENDPOINT_URL": nowhere})
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not _bears_runs(cluster):
            assert node.poll() is None, "the node ended before it joined"
            assert time.monotonic() < deadline
            time.sleep(0.5)
        there = replace(toy_study, cohort=s3.upload(toy_study.cohort, "cohort"))
        study = there.command(s3.uri("runs"), "--address", cluster.address)
        with watch.running(tmp_path, *study) as command:
            ended = command.finish()
    finally:
        node.terminate()
        node.wait()
    assert ended.code == 2
    assert "1 of 1 nodes cannot take part in the study" in ended.err
    assert f"The store of {s3.uri('runs').rpartition('/')[0]}" in ended.err
    assert "does not answer" in ended.err
    assert "Traceback" not in ended.err
    assert s3.keys("runs") == ["study.json"]


def _bears_runs(cluster: Any) -> bool:
    return any(node["Resources"].get("CPU") for node in cluster.global_state.node_table())


def test_what_is_wrong_with_a_cohort_is_said(toy_cohort: Cohort, tmp_path: Path) -> None:
    assert problem_here(toy_cohort.folder, toy_cohort.digest) == ""
    assert "another cohort lies in" in problem_here(toy_cohort.folder, "0" * 64)
    assert "does not see the cohort" in problem_here(tmp_path / "gone", toy_cohort.digest)
