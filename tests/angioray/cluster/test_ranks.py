"""Two ranks share one batch and end where one rank alone ends."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torchvision.models import resnet18

from angioray.study.executor import Executor
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from angioray.training.step import World
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY

RUN = "detector-LCA-B-64-fold0"


def train_rank(rank: int, size: int, port: int, cohort: Path, runs: Path) -> None:
    """One rank's process; with a single rank, no group is made."""
    torch.set_num_threads(1)
    if size > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size
        )
    study = Study.open(runs)
    world = World(torch.device("cpu"), rank, size)
    Executor(study, Cohort.open(cohort), world).execute(study.run(RUN), lambda *_: None)
    if size > 1:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_give_the_losses_of_one(toy_cohort: Cohort, tmp_path: Path) -> None:
    # Batch statistics would differ between ranks, so they are frozen, as with published weights.
    weights = tmp_path / "resnet18.pth"
    torch.manual_seed(0)
    torch.save(resnet18(weights=None).state_dict(), weights)
    settings: StudySettings = replace(
        TOY,
        precision="fp32",
        checkpoint_every=1,
        detector=replace(TOY.detector, weights=str(weights), frozen_batch_norm=True, steps=20),
    )
    losses = []
    for size in (1, 2):
        runs = tmp_path / f"ranks{size}"
        Study.plan(toy_cohort, runs, settings).freeze(toy_cohort)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = (size, port, toy_cohort.folder, runs)
        torch.multiprocessing.spawn(train_rank, arguments, nprocs=size)
        lines = (runs / RUN / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][-1] < losses[0][0]
