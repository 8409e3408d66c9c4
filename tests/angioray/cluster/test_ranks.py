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
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

from angioray.study.detector_task import DetectorTask
from angioray.study.executor import Executor
from angioray.study.selection import CohortIndex
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from angioray.training.frames import load_frames
from angioray.training.step import World
from preprocess.cohort import Cohort
from preprocess.console.cluster import meet_on_loopback
from tests.angioray.settings import TOY
from tests.listening import addresses_of, is_loopback, psutil

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


def test_each_rank_computes_its_share_and_together_the_same(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    detector = replace(TOY.detector, batch_size=32, channels=16)
    study = Study.plan(toy_cohort, tmp_path, replace(TOY, detector=detector))
    index, run = CohortIndex.of(toy_cohort, study.settings.view_classes), study.run(RUN)
    keys = DetectorTask.frames(study, index, run)
    store = load_frames(toy_cohort, keys, size=run.size, device=torch.device("cpu"))

    def computed(rank: int, size: int) -> tuple[list[torch.Tensor], int]:
        """The gradients of a rank's share of a step, and the operations that it took."""
        world = World(torch.device("cpu"), rank, size)
        job = DetectorTask(study, index, run, store, world)
        job.model.eval()  # batch statistics would differ between ranks
        counter = FlopCounterMode(display=False)
        with counter:
            losses = job.losses(*job.batch(0, world, torch.float32))
            torch.stack(list(losses.values())).sum().backward()
        gradients = [p.grad for p in job.model.parameters() if p.grad is not None]
        return gradients, counter.get_total_flops()

    alone, whole = computed(0, 1)
    shares = [computed(rank, 4) for rank in range(4)]
    means = [torch.stack(each).mean(0) for each in zip(*(g for g, _ in shares), strict=True)]
    torch.testing.assert_close(means, alone, rtol=1e-4, atol=1e-6)
    assert len({operations for _, operations in shares}) == 1, "all compile the same shapes"
    assert shares[0][1] == pytest.approx(whole / 4, rel=0.1)


def meet(rank: int, meeting: Path) -> None:
    """One rank's process, as pretraining starts it; leaves the addresses at which it listens."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}/ranks", rank=rank, world_size=2
    )
    torch.distributed.barrier()
    (meeting / f"{rank}.json").write_text(json.dumps(list(addresses_of([psutil.Process()]))))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_ranks_of_one_machine_are_reached_by_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.setenv(name, "")  # so that it is restored
    meet_on_loopback()
    torch.multiprocessing.spawn(meet, (tmp_path,), nprocs=2)
    for rank in range(2):
        addresses = json.loads((tmp_path / f"{rank}.json").read_text())
        assert addresses and all(map(is_loopback, addresses))


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
