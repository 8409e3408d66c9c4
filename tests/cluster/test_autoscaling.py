"""A cluster that starts its machines on demand: Ray's own autoscaler, with machines made here."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
import yaml
from ray.autoscaler._private.fake_multi_node.node_provider import (
    FAKE_HEAD_NODE_ID,
    FAKE_HEAD_NODE_TYPE,
    FakeMultiNodeProvider,
)
from ray.autoscaler._private.util import prepare_config

from tests.cluster.cluster_study import RUNS, ToyStudy
from tests.end_to_end.command_processes import PATIENCE_S, REPOSITORY, Watch, environment, psutil
from tests.end_to_end.run_folders import predictions

pytestmark = pytest.mark.slow

MOST = 2
"""Machines that the cluster may come to have beside its head."""


@dataclass(frozen=True)
class Head:
    """The head of a cluster that `ray up` has made: it bears no runs.

    Attributes:
        address: of the cluster.
        home: of the user, where `ray up` leaves its file.
    """

    address: str
    home: Path

    @property
    def started(self) -> int:
        """The machines that were started so far, the head aside."""
        return len(list(self.home.glob("ray/session_2*/sockets/plasma_store.*")))


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """Started as `cluster.yaml` starts it, from that file with machines of one core each."""
    # A test's own folder has a path that is too long for Ray's sockets.
    with tempfile.TemporaryDirectory(prefix="h-", ignore_cleanup_errors=True) as folder:
        yield from started(Path(folder))


def started(home: Path) -> Iterator[Head]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"{ray.util.get_node_ip_address()}:{port}"
    file = home / "ray_bootstrap_config.yaml"
    file.write_text(yaml.safe_dump(config(address)))
    start = f"{Path(sys.executable).with_name('ray')} start --head --block --port={port}"
    here = "--num-cpus=0 --object-store-memory=150000000 --include-dashboard=false"
    own = {
        "HOME": str(home),
        "RAY_TMPDIR": str(home),
        "RAY_AUTH_MODE": "disabled",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",  # not on loopback alone
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_NODE_TYPE_NAME": FAKE_HEAD_NODE_TYPE,
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        "RAY_USAGE_STATS_ENABLED": "0",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }
    command = [*start.split(), *here.split(), "--autoscaling-config=~/ray_bootstrap_config.yaml"]
    with (home / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=environment() | own, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while "Ray runtime started" not in (home / "head.log").read_text():
            assert process.poll() is None, (home / "head.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield Head(address, home)
    finally:
        process.kill()
        process.wait()
        for left in psutil.process_iter(["cmdline"]):  # the autoscaler's machines are nobody's
            if str(home) in " ".join(left.info["cmdline"] or ()):
                left.kill()


def config(address: str) -> dict[str, object]:
    """What `ray up` makes of `cluster.yaml`, with machines that are processes of this one."""
    found = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())
    kinds = found["available_node_types"]
    kinds["gpu"] |= {"resources": {"CPU": 1}, "max_workers": MOST}
    found["head_node_type"] = FAKE_HEAD_NODE_TYPE
    kinds[FAKE_HEAD_NODE_TYPE] = kinds.pop("head")
    kind = FakeMultiNodeProvider
    found["provider"] = {
        "type": "external",
        "module": f"{kind.__module__}.{kind.__name__}",
        "gcs_address": address,
        "head_node_id": FAKE_HEAD_NODE_ID,
        "launch_multiple": True,
    }
    commands = ("setup", "head_setup", "worker_setup", "initialization")
    found |= {f"{name}_commands": [] for name in commands}
    found |= {"file_mounts": {}, "cluster_synced_files": []}
    prepared: dict[str, object] = prepare_config(found)
    return prepared


@pytest.fixture(autouse=True)
def on_the_head(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run as jobs do: on the head, as its user."""
    monkeypatch.setenv("HOME", str(head.home))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    for name in ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)


def test_a_study_has_the_machines_started_that_it_can_use_and_no_more(
    head: Head, toy_study: ToyStudy, watch: Watch, runs: Path, tmp_path: Path
) -> None:
    assert head.started == 0
    with watch.running(tmp_path, *toy_study.command(runs, "--address", head.address)) as command:
        ended = command.finish()
    assert ended.code == 0, ended.err
    assert "Found no node that takes work; 2 x 0 GPUs, 1 CPU core may come on demand." in ended.err
    assert "2 of 4 runs at once" in ended.err
    assert head.started == MOST
    assert predictions(runs, RUNS) == toy_study.predictions


def test_lanes_for_which_no_machine_comes_hold_nothing_up(
    head: Head, toy_study: ToyStudy, watch: Watch, runs: Path, tmp_path: Path
) -> None:
    too_many = ("--lanes.grow", 4, "--lanes.gpus", 0)
    study = toy_study.command(runs, "--address", head.address, *too_many)
    with watch.running(tmp_path, *study) as command:
        ended = command.finish()
    assert ended.code == 0, ended.err
    assert "4 of 4 runs at once" in ended.err
    assert head.started == MOST
    assert predictions(runs, RUNS) == toy_study.predictions
