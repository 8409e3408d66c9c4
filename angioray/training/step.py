"""One training step: batch, losses, gradients and weights, without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from angioray.training.frame_placement import Share
from angioray.training.frames import FrameKey
from angioray.training.optimiser import Plateau, build_optimiser
from angioray.training.precision import forward_passes
from angioray.training.settings import OptimiserSettings


@dataclass(frozen=True)
class World:
    """Where this process trains: its device, its place among the ranks, its part of the machine."""

    device: torch.device
    rank: int = 0
    size: int = 1
    share: Share = field(default_factory=Share)

    @classmethod
    def alone(cls) -> World:
        """One process on this machine's GPU, or on its CPU."""
        return cls(torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    @property
    def leads(self) -> bool:
        """Whether this rank writes the files."""
        return self.rank == 0


Alive = Callable[[], None]
"""Called again and again by what takes its time, so that nobody takes it for stuck."""


def nobody_waits() -> None:
    """For where nobody asks whether this process is alive."""


Leaving = Callable[[], bool]
"""Whether the machine of this process is about to be taken away; asked after each step, so it
answers at once. Where one rank's machine is, all ranks write a checkpoint."""


def nobody_leaves() -> bool:
    """For machines that nobody takes away."""
    return False


Targets = TypeVar("Targets")
"""What a task's losses compare its answers with."""
Losses = Callable[[Tensor, Any], dict[str, Tensor]]
"""A batch's images and targets through the model: named losses."""


class StepFrames(Protocol):
    """Which frames each step takes."""

    @property
    def batch_size(self) -> int:
        """Frames of one step, over all ranks."""
        ...

    def keys_of(self, step: int) -> list[FrameKey]:
        """The frames of a step, over all ranks."""
        ...


class TrainingTask(Protocol[Targets]):
    """What a task brings to the step."""

    @property
    def model(self) -> nn.Module:
        """Already on the device."""
        ...

    @property
    def batches(self) -> StepFrames:
        """Which frames each step takes."""
        ...

    steps: int
    optimiser: OptimiserSettings
    plateau: Plateau | None

    def enter(self, step: int) -> None:
        """Set the model up for this step: which layers train."""
        ...

    def batch(self, step: int, world: World, dtype: torch.dtype) -> tuple[Tensor, Targets]:
        """This rank's share of a step's images and targets."""
        ...

    def losses(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """A batch through the model: named losses to be added up, float32."""
        ...


class TrainingStep:
    """A job's steps on one rank, with the optimiser that they share."""

    def __init__(
        self,
        job: TrainingTask[Any],
        world: World,
        precision: torch.dtype,
        *,
        compiled: bool = False,
    ) -> None:
        """Get ready.

        Args:
            job: what to train.
            world: this process's place.
            precision: of the forward pass.
            compiled: make forward pass and losses one graph; a CUDA graph on one GPU.

        Raises:
            ValueError: the batch cannot be shared evenly by the ranks.
        """
        size = job.batches.batch_size
        if size % world.size:
            raise ValueError(
                f"A batch of {size} frames cannot be shared evenly by {world.size} ranks. "
                "Set `batch_size` to a multiple of the ranks, or give the run fewer GPUs."
            )
        self.optimiser = build_optimiser(job.optimiser, job.model)
        self.first_bad = torch.full((), math.inf, device=world.device)
        """The first step whose loss was no number on this rank; infinity if none was."""
        self._job, self._world, self._precision = job, world, precision
        self._losses: Losses = _compiled(job, world) if compiled else job.losses
        if world.size > 1:
            self._losses = _AveragedOverRanks(job.model, self._losses)

    def take(self, step: int, learning_rate: float) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            step: which, from 0.
            learning_rate: of this step.

        Returns:
            The losses of this rank's share: ``loss``, their sum, and each by name; on the device.
        """
        job, world = self._job, self._world
        job.enter(step)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        images, targets = job.batch(step, world, self._precision)
        with forward_passes(world.device, self._precision):
            losses = self._losses(images, targets)
        total = torch.stack(list(losses.values())).sum()
        # Noted on the device: asking for the number here would make the host wait at each step.
        self.first_bad = torch.where(
            total.detach().isfinite(), self.first_bad, self.first_bad.clamp(max=step)
        )
        total.backward()
        if job.optimiser.gradient_norm is not None:
            nn.utils.clip_grad_norm_(job.model.parameters(), job.optimiser.gradient_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return {"loss": total.detach(), **{name: v.detach() for name, v in losses.items()}}


def _compiled(job: TrainingTask[Any], world: World) -> Losses:
    """The job's losses as one graph; on one GPU replayed as a CUDA graph, free of launch costs.

    Each training stage (other layers frozen) is compiled once. Several ranks do without CUDA
    graphs: PyTorch has open reports of failures of CUDA graphs beside an exchange of gradients.
    """
    mode = "reduce-overhead" if world.device.type == "cuda" and world.size == 1 else None
    losses = torch.compile(job.losses, fullgraph=True, dynamic=False, mode=mode)

    def compiled(images: Tensor, targets: Any) -> dict[str, Tensor]:
        # What the last step's graph returned may be overwritten from here on.
        torch.compiler.cudagraph_mark_step_begin()
        return {name: loss.clone() for name, loss in losses(images, targets).items()}

    return compiled


class _AveragedOverRanks:
    """Losses of this rank's share, whose gradients become the mean over all ranks.

    DistributedDataParallel exchanges gradients while the backward pass computes the next ones.
    """

    def __init__(self, model: nn.Module, losses: Losses) -> None:
        self._model, self._losses = model, losses
        self._trained: list[bool] = []

    def __call__(self, images: Tensor, targets: Any) -> dict[str, Tensor]:
        trained = [parameter.requires_grad for parameter in self._model.parameters()]
        if trained != self._trained:  # a new training stage: it knows only what it began with
            self._trained = trained
            # A parameter may take no part in a step, on one rank or on all. Looking for those also
            # leaves the order of sums as it is, so that a resumed run has the same bits.
            self._parallel = DistributedDataParallel(
                _Losses(self._model, self._losses), find_unused_parameters=True
            )
        losses: dict[str, Tensor] = self._parallel(images, targets)
        return losses


class _Losses(nn.Module):
    """Losses as a module: with the parameters that train, but without the model's buffers.

    So each rank keeps the batch statistics of its own frames.
    """

    def __init__(self, model: nn.Module, losses: Losses) -> None:
        super().__init__()
        self.trained = nn.ParameterList(p for p in model.parameters() if p.requires_grad)
        self._losses = losses

    def forward(self, images: Tensor, targets: Any) -> dict[str, Tensor]:
        return self._losses(images, targets)
