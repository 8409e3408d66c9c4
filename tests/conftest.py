"""A toy cohort, written in a moment: bars for arteries, dark squares for lesions; and processes."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest

from preprocess.cohort import (
    Box,
    BoxSource,
    Cohort,
    Sequence,
    frames_digest,
    store_cine,
    write_annotations,
)
from preprocess.display import Display

if TYPE_CHECKING:
    from command_processes import Watch
    from s3_server import S3

# Ray reads it as it is imported, which some tests do before the product can say so.
os.environ.setdefault("RAY_AUTH_MODE", "token")
# Ray's workers stand behind everything else on a machine, and so behind the tests beside them.
os.environ.setdefault("RAY_worker_niceness", "0")

# What a script starts in the background ignores Ctrl-C, and so would every command under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that does other things meanwhile is no reason to fail.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

SIZE = 64
LENGTH = 8


def write_toy_cohort(
    folder: Path,
    *,
    patients: int = 10,
    views: tuple[str | None, ...] = ("RCA", "LCA"),
    seed: int = 0,
    prefix: str = "",
) -> Cohort:
    """One sequence per patient and view: RCA has upright bars, LCA flat ones; all have a lesion.

    Two more patients have a healthy sequence of each view. Frames 2 to 6 are optimal, 4 is the
    reference. A prefix of ids stands for another key: the same cines under other pseudonyms.
    """
    generator = np.random.default_rng(seed)
    sequences, boxes = [], []
    for patient in range(patients + 2):
        for view in views:
            healthy = patient >= patients
            sequence_id = f"{prefix}S{patient:02d}{view or 'none'}"
            frames = generator.integers(150, 170, (LENGTH, SIZE, SIZE), dtype=np.uint8)
            bar = frames[:, :, 30:34] if view == "RCA" else frames[:, 30:34, :]
            bar[:] = 90
            x, y = generator.integers(4, SIZE - 20, 2)
            if not healthy:
                frames[2:7, y : y + 14, x : x + 14] = 10
            sequences.append(
                Sequence(
                    sequence_id=sequence_id,
                    patient_id=f"{prefix}P{patient:02d}",
                    view=view,
                    length=LENGTH,
                    height=SIZE,
                    width=SIZE,
                    bits_stored=8,
                    display=Display(lower=0, upper=255),
                    frames_digest=frames_digest(frames),
                    introducing_start=1,
                    optimal_start=2,
                    vanishing_start=7,
                    reference_frame=None if healthy else 4,
                    no_lesion=healthy,
                )
            )
            store_cine(folder, sequences[-1], frames)
            if not healthy:
                boxes += [
                    Box(
                        sequence_id=sequence_id,
                        frame_index=t,
                        box_xyxy=(float(x), float(y), float(x + 14), float(y + 14)),
                        instance_id=len(sequences),
                        source=BoxSource.REFERENCE if t == 4 else BoxSource.TRACKED,
                    )
                    for t in range(2, 7)
                ]
    write_annotations(folder, sequences, boxes)
    return Cohort.open(folder)


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
    from command_processes import Watch

    watch = Watch()
    yield watch
    watch.close()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that bears no runs, and whatever nodes a test adds."""
    from ray.cluster_utils import Cluster

    # Its processes speak over loopback alone; tokens are the business of the test with real hosts.
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 server with an empty bucket, which all that a test starts finds by itself."""
    from s3_server import serving

    with serving(tmp_path_factory.mktemp("cache")) as served:
        yield served
