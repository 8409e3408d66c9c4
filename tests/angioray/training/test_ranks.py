"""Several ranks train as one: with frozen layers, compiled, without boxes, told to leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from angioray.models.retinanet import RetinaNet
from angioray.training.loop import train
from angioray.training.optimiser import Plateau
from angioray.training.settings import OptimiserSettings
from angioray.training.step import TrainingStep, World
from preprocess.storage import open_storage
from tests.angioray.settings import TOY

torch.set_num_threads(1)  # as a rank has it

CPU = torch.device("cpu")
STEPS = 6


class Frames:
    """A step's frames, each of which has the step and its place in the batch."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def keys_of(self, step: int) -> list[tuple[str, int]]:
        return [("S1", step * self.batch_size + i) for i in range(self.batch_size)]


class Task:
    """What the tasks below share: plain gradient descent on pictures of random numbers."""

    plateau: Plateau | None = None
    steps = STEPS
    optimiser = OptimiserSettings(name="sgd", learning_rate=0.1, momentum=0.0, weight_decay=0.0)
    inputs: tuple[int, ...] = (512,)

    def __init__(self, model: nn.Module, batch_size: int = 4) -> None:
        self.model = model
        self.batches = Frames(batch_size)

    def enter(self, step: int) -> None:
        """All layers train all the time."""

    def batch(self, step: int, world: World, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(self.batches.batch_size, *self.inputs, generator=generator)
        share = slice(world.rank, None, world.size)
        return images[share], self.targets(images)[share]

    def targets(self, images: Tensor) -> Tensor:
        return torch.zeros(len(images))

    def losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"square": (self.model(images) - targets[:, None]).square().mean()}


class StagedTask(Task):
    """The first layer is frozen in the first half of the steps; each layer fills a bucket."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Sequential(nn.Linear(512, 640), nn.Tanh(), nn.Linear(640, 640)))

    def enter(self, step: int) -> None:
        self.model.get_submodule("0").requires_grad_(step >= STEPS // 2)


class DetectorTask(Task):
    """A RetinaNet, of whose two frames only the first has a box."""

    inputs = (1, 64, 64)
    steps = 2

    def __init__(self) -> None:
        torch.manual_seed(0)
        # Batch statistics would differ between ranks.
        settings = replace(TOY.detector, levels=(3, 3), channels=8)
        super().__init__(RetinaNet(settings).eval(), batch_size=2)

    def targets(self, images: Tensor) -> Tensor:
        return torch.tensor([[[8.0, 8, 30, 30]], [[0, 0, 0, 0]]])

    def losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.model, RetinaNet)
        return self.model.loss(images, targets)


class IdleTask(Task):
    """Weights at 1, one for frames with a box alone, one for none; frame i of 2 is i + 1."""

    optimiser = OptimiserSettings(name="sgd", learning_rate=0.1, momentum=0.0, weight_decay=0.5)

    def __init__(self) -> None:
        model = nn.ParameterDict({name: torch.ones(1) for name in ("all", "boxed", "none")})
        super().__init__(model, batch_size=2)

    def batch(self, step: int, world: World, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        share = slice(world.rank, None, world.size)
        return torch.tensor([1.0, 2.0])[share], torch.tensor([True, False])[share]

    def losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        losses = {"all": (self.model.get_parameter("all") * images).mean()}
        if targets.any():
            boxed = self.model.get_parameter("boxed") * images * targets
            losses["boxed"] = boxed.mean()
        return {"sum": torch.stack(list(losses.values())).sum()}


CASES: dict[str, tuple[Callable[[], Task], bool]] = {
    "staged": (StagedTask, False),
    "staged, compiled": (StagedTask, True),
    "detector": (DetectorTask, False),
    "detector, compiled": (DetectorTask, True),
}
"""Tasks, and whether their steps are compiled."""
QUICK = list(CASES)[:3]


def trained(name: str, world: World) -> dict[str, Any]:
    """The mean losses over ranks of a case's steps, and its weights at the end."""
    made, compiled = CASES[name]
    task = made()
    step = TrainingStep(task, world, torch.float32, compiled=compiled)
    losses = torch.stack([step.take(i, 0.1)["loss"] for i in range(task.steps)])
    if world.size > 1:
        torch.distributed.all_reduce(losses)
    return {"losses": losses / world.size, "weights": task.model.state_dict()}


def on_ranks(rank: int, size: int, folder: Path, work: Callable[[World, Path], None]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/ranks", rank=rank, world_size=size
    )
    # Steps become graphs, split where gradients are exchanged, but no code is compiled.
    torch.compile = partial(torch.compile, backend="aot_eager")
    work(World(CPU, rank, size), folder)
    torch.distributed.destroy_process_group()


def everything(world: World, folder: Path) -> None:
    """All that the quick tests look at, in one start of the processes."""
    for name in QUICK:
        torch.save(trained(name, world), folder / f"{name}-{world.rank}.pt")
    idle = IdleTask()
    TrainingStep(idle, world, torch.float32).take(0, 0.1)
    torch.save(idle.model.state_dict(), folder / f"idle-{world.rank}.pt")
    norms = Task(nn.Sequential(nn.BatchNorm1d(512), nn.Linear(512, 1)))
    TrainingStep(norms, world, torch.float32).take(0, 0.1)
    torch.save(norms.model.state_dict(), folder / f"norms-{world.rank}.pt")
    noticed(world, folder / "noticed")


def noticed(world: World, folder: Path) -> None:
    """Of two machines one is about to be taken, from the third step on."""
    kept = []
    task = StagedTask()
    task.steps = 24

    def leaving() -> bool:
        state = folder / "checkpoint" / "state.json"
        kept.append(json.loads(state.read_text())["step"] if state.exists() else 0)
        return world.rank == 1 and len(kept) >= 3

    train(
        task,
        open_storage(folder),
        world,
        precision=torch.float32,
        checkpoint_every=100,
        progress=lambda *_: None,
        leaving=leaving,
    )
    if world.leads:
        (folder / "kept.json").write_text(json.dumps(kept))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks left."""
    folder = tmp_path_factory.mktemp("ranks")
    spawn(on_ranks, (2, folder, everything), nprocs=2)
    return folder


def assert_as_one(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    alone = trained(name, World(CPU))
    assert alone["losses"][-1] < alone["losses"][0]
    for rank in range(2):
        found = torch.load(folder / f"{name}-{rank}.pt")
        torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", QUICK)
def test_two_ranks_train_as_one(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_as_one(folder, name, monkeypatch)


def test_a_parameter_may_take_part_on_one_rank_or_on_none(folder: Path) -> None:
    for rank in range(2):
        weights = torch.load(folder / f"idle-{rank}.pt")
        # From 1: the mean gradient of 1 and 2, or of 1 and nothing, and the decay, times 0.1.
        assert weights["all"].item() == pytest.approx(1 - 0.1 * (1.5 + 0.5))
        assert weights["boxed"].item() == pytest.approx(1 - 0.1 * (0.5 + 0.5))
        assert weights["none"].item() == 1, "no gradient, no decay"


def test_each_rank_keeps_the_statistics_of_its_own_frames(folder: Path) -> None:
    for rank in range(2):
        images, _ = Task(nn.Identity()).batch(0, World(CPU, rank, 2), torch.float32)
        state = torch.load(folder / f"norms-{rank}.pt")
        torch.testing.assert_close(state["0.running_mean"], 0.1 * images.mean(dim=0))


def test_all_ranks_keep_a_checkpoint_where_one_must_leave(folder: Path) -> None:
    kept = json.loads((folder / "noticed" / "kept.json").read_text())
    # They speak at every tenth step, and once for one notice.
    assert kept == [0] * 10 + [10] * 14
    weights = load_file(folder / "noticed" / "checkpoint" / "weights-000024.safetensors")
    assert weights.keys() == StagedTask().model.state_dict().keys()


def compiled_detector(world: World, folder: Path) -> None:
    name = "detector, compiled"
    torch.save(trained(name, world), folder / f"{name}-{world.rank}.pt")


@pytest.mark.slow
def test_two_ranks_compile_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn(on_ranks, (2, tmp_path, compiled_detector), nprocs=2)
    assert_as_one(tmp_path, "detector, compiled", monkeypatch)


def resumed(world: World, folder: Path) -> None:
    for name, ends in {"undisturbed": [STEPS], "resumed": [4, STEPS]}.items():
        for end in ends:
            torch.distributed.barrier()  # as a lane: the checkpoint is there before it is read
            task = StagedTask()
            task.batches = Frames(6)
            train(
                task,
                open_storage(folder / name),
                world,
                precision=torch.float32,
                checkpoint_every=100,
                progress=lambda *_: None,
                until=end,
            )


@pytest.mark.slow
def test_three_ranks_go_on_to_the_same_bits(tmp_path: Path) -> None:
    spawn(on_ranks, (3, tmp_path, resumed), nprocs=3)
    file = f"checkpoint/weights-{STEPS:06d}.safetensors"
    expected, found = (load_file(tmp_path / name / file) for name in ("undisturbed", "resumed"))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
