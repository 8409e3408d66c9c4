"""What any test may ask for: the toy cohort, a cluster, an S3 server, and watched processes."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from preprocess.cohort import Cohort
from tests.toy_cohort import write_toy_cohort

if TYPE_CHECKING:
    from tests.end_to_end.command_processes import Watch
    from tests.s3_server import S3

# Ray reads it as it is imported, which some tests do before the product can say so.
os.environ.setdefault("RAY_AUTH_MODE", "token")
# Clusters that tests start by themselves listen on loopback alone; the fixture `cluster` does not.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
# Ray's workers stand behind everything else on a machine, and so behind the tests beside them.
os.environ.setdefault("RAY_worker_niceness", "0")

# What a script starts in the background ignores Ctrl-C, and so would every command under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that does other things meanwhile is no reason to fail.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session")
def toy_cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """The toy cohort of ten patients with lesions and two without; treat it as read-only."""
    return write_toy_cohort(tmp_path_factory.mktemp("toy") / "cohort")


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Path]:
    """A runs folder for one study, gone afterwards with its weights."""
    yield tmp_path / "runs"
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)


@pytest.fixture(scope="session")
def watch() -> Iterator[Watch]:
    """Starts commands, and at the very end asserts that nothing of them is left."""
    from tests.end_to_end.command_processes import Watch

    watch = Watch()
    yield watch
    watch.close()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that bears no runs, and whatever nodes a test adds."""
    from ray._private import ray_constants
    from ray.cluster_utils import Cluster

    # Its processes speak over loopback alone; tokens are the business of the test with real hosts.
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # What an earlier test set for a cluster of this machine alone.
    for name in ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 server with an empty bucket, which all that a test starts finds by itself."""
    from tests.s3_server import serving

    with serving(tmp_path_factory.mktemp("cache")) as served:
        yield served
