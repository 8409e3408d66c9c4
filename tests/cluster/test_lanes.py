"""Lanes on nodes of one machine: where they stand, what they show, when they let go of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from angioray.cluster.flops import Rates
from angioray.cluster.lane_worker import GAUGES
from angioray.cluster.lanes import run_lanes
from angioray.cluster.plan import LaneGroup, Plan
from angioray.cluster.queue import QueuedRun, Snapshot
from angioray.study.study import Study
from preprocess.cohort import Cohort
from preprocess.console.cluster import start_ray
from tests.angioray.settings import TOY
from tests.cluster.cluster_study import TRAINING_WORKER
from tests.end_to_end.command_processes import PATIENCE_S, psutil

pytestmark = pytest.mark.slow

ENDLESS = 100_000
"""Steps of a run that no test waits for."""
VIEW, LONG, WIDE = "view-32-fold0", "detector-LCA-B-64-fold0", "detector-LCA-B-64-fold1"

SET_BY_START_RAY = (
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
    "GLOO_SOCKET_IFNAME",
    "NCCL_SOCKET_IFNAME",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER",
    "RAY_TRAIN_ENABLE_STATE_TRACKING",
)
"""By an earlier test of the same process, perhaps for a cluster of one machine."""


class SeenError(Exception):
    """Ends a study of which a test has seen enough."""


@dataclass
class Nodes:
    """A cluster of nodes that this process has joined.

    Attributes:
        cluster: Ray's own, for nodes that come and go.
    """

    cluster: Any

    def add(self, cpus: int) -> str:
        """One more node; its id."""
        return str(self.cluster.add_node(num_cpus=cpus).node_id)

    @property
    def free_cpus(self) -> float:
        """CPU cores that nobody has."""
        return float(ray.available_resources().get("CPU", 0.0))

    @property
    def lanes_on(self) -> list[set[str]]:
        """The nodes of each lane that has room."""
        return [
            set(group["bundles_to_node_id"].values())
            for group in ray.util.placement_group_table().values()
            if group["state"] == "CREATED"
        ]

    def exported(self) -> str:
        """What Prometheus would read of all nodes."""
        pages = []
        for node in ray.nodes():
            url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
            with suppress(OSError):  # its agent is not there yet
                pages.append(urllib.request.urlopen(url, timeout=10).read().decode())
        return "".join(pages)


Body = Callable[[Nodes, Cohort, Path], None]


@pytest.fixture
def on_nodes(
    toy_cohort: Cohort, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Body], None]:
    """Runs the body of a test in a process of its own, which has joined a cluster.

    Ray reads as it is imported whether it asks for a token and listens beyond loopback: nodes do
    not ask here, and they do listen, whatever this process has read.
    """
    for name in SET_BY_START_RAY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "1000")
    monkeypatch.setenv("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "1")

    def call(body: Body) -> None:
        process = get_context("spawn").Process(target=_join, args=(body, toy_cohort.folder, runs))
        process.start()
        process.join(2 * PATIENCE_S)
        process.kill()
        assert process.exitcode == 0

    return call


def _join(body: Body, cohort: Path, runs: Path) -> None:
    """In the process of a body: a head that bears no lane."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        start_ray(cluster.address)
        body(Nodes(cluster), Cohort.open(cohort), runs)
    finally:
        ray.shutdown()
        cluster.shutdown()


def carry_out(
    cohort: Cohort,
    runs: Path,
    entries: dict[str, bool],
    groups: tuple[LaneGroup, ...],
    show: Callable[[Snapshot], None],
) -> None:
    """Some runs of a study whose detectors are endless; of each, whether it is a wide one."""
    detector = replace(TOY.detector, steps=ENDLESS)
    study = Study.plan(cohort, runs, replace(TOY, detector=detector, checkpoint_every=ENDLESS))
    study.freeze(cohort)
    queued = tuple(QueuedRun(name, name, 1.0, wide) for name, wide in entries.items())
    plan = Plan(groups, queued, Rates({}, 1.0, "none"), 0.0, 0, 0, ())
    deadline = time.monotonic() + PATIENCE_S

    def watch(snapshot: Snapshot) -> None:
        assert not snapshot.failed, snapshot.failed
        assert time.monotonic() < deadline
        show(snapshot)

    run_lanes(study, plan, cohort.digest, watch, stuck_after_s=PATIENCE_S)


def kill(title: str) -> None:
    """End the processes of this cluster that have a title."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended by itself
            if title in " ".join(process.cmdline()):
                process.kill()


def test_an_idle_lane_lets_go_and_the_others_are_seen_by_the_names_of_their_runs(
    on_nodes: Callable[[Body], None],
) -> None:
    on_nodes(let_go)


def let_go(nodes: Nodes, cohort: Cohort, runs: Path) -> None:
    ids = {nodes.add(1), nodes.add(1)}
    lanes = (LaneGroup(2, 1, 1.0, 0.0), LaneGroup(1, 1, 4.0, 0.0, wide=True))
    pages: list[str] = []

    def show(snapshot: Snapshot) -> None:
        idle = VIEW in snapshot.finished and nodes.free_cpus == 1.0
        if not pages and idle and f'run="{LONG}"' in (page := nodes.exported()):
            assert len(ids.difference(*nodes.lanes_on)) == 1  # which an autoscaler may take back
            pages.append(page)
            kill(TRAINING_WORKER)
        if snapshot.losses and LONG in {each.run for each in snapshot.running.values()}:
            raise SeenError  # it was started anew, though every other lane had left

    with pytest.raises(SeenError):
        carry_out(cohort, runs, {VIEW: False, LONG: False, WIDE: True}, lanes, show)
    seen = {
        name: float(value)
        for name, value in re.findall(rf'ray_(\w+){{[^}}]*run="{LONG}"[^}}]*}} (\S+)', pages[0])
    }
    assert set(seen) == {f"angioray_run_{name}" for name in GAUGES}
    assert seen["angioray_run_steps"] == ENDLESS > seen["angioray_run_step"] > 0
    assert seen["angioray_run_loss"] > 0


def test_ranks_of_a_lane_stay_on_one_node(on_nodes: Callable[[Body], None]) -> None:
    on_nodes(stay)


def stay(nodes: Nodes, cohort: Cohort, runs: Path) -> None:
    for _ in range(2):
        nodes.add(1)
    roomy: list[str] = []
    stood: list[list[set[str]]] = []
    began = time.monotonic()

    def show(snapshot: Snapshot) -> None:
        if not roomy and time.monotonic() > began + 20:
            assert nodes.free_cpus == 2.0 and not nodes.lanes_on
            roomy.append(nodes.add(2))
        if not stood and any(current.done for current in snapshot.running.values()):
            stood.append(nodes.lanes_on)
            kill("LaneKeeper")

    with pytest.raises(ValueError, match=r"No lane is left: ActorDied.* Still to do: 1 run;"):
        carry_out(cohort, runs, {LONG: True}, (LaneGroup(1, 2, 1.0, 0.0, wide=True),), show)
    assert stood == [[{roomy[0]}]]


def test_a_run_on_a_node_that_is_taken_back_is_kept_and_goes_on_elsewhere(
    on_nodes: Callable[[Body], None],
) -> None:
    on_nodes(leave)


def leave(nodes: Nodes, cohort: Cohort, runs: Path) -> None:
    ids = [nodes.add(1) for _ in range(2)]
    state = runs / LONG / "checkpoint" / "state.json"
    drained: dict[str, int] = {}

    def show(snapshot: Snapshot) -> None:
        for current in snapshot.running.values():
            if not drained and current.done:
                assert not state.exists()
                (node,) = nodes.lanes_on[0]
                drained[node] = current.done
                drain(nodes.cluster.address, node, within_s=20)
            if snapshot.losses and current.done:
                (node,) = nodes.lanes_on[0]
                assert [node] == [each for each in ids if each not in drained]
                assert current.pace.first is not None
                saved = json.loads(state.read_text())["step"]
                assert next(iter(drained.values())) <= saved < current.pace.first
                assert snapshot.losses == (f"{LONG} lost its lane: its node is taken back",)
                raise SeenError

    with pytest.raises(SeenError):
        carry_out(cohort, runs, {LONG: False}, (LaneGroup(1, 1, 1.0, 0.0),), show)


def drain(address: str, node: str, *, within_s: int) -> None:
    """Tell Ray that a node will be taken away, as the autoscaler does on a notice."""
    command = [str(Path(sys.executable).with_name("ray")), "drain-node", "--address", address]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test"]
    options = ["--node-id", node, "--deadline-remaining-seconds", str(within_s)]
    subprocess.run([*command, *reason, *options], check=True, capture_output=True)
