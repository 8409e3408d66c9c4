"""One training step: batch, losses, gradients and weights, without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed
from torch import Tensor, nn

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
            compiled: make forward pass and losses one graph; a CUDA graph on a GPU.

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
        self._losses = _compiled(job, world) if compiled else job.losses

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
        _average_gradients(job.model, world)
        if job.optimiser.gradient_norm is not None:
            nn.utils.clip_grad_norm_(job.model.parameters(), job.optimiser.gradient_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return {"loss": total.detach(), **{name: v.detach() for name, v in losses.items()}}


def _compiled(job: TrainingTask[Any], world: World) -> Callable[..., dict[str, Tensor]]:
    """The job's losses as one graph; on a GPU replayed as a CUDA graph, free of launch costs.

    Each training stage (other layers frozen) is compiled once.
    """
    mode = "reduce-overhead" if world.device.type == "cuda" else None
    losses = torch.compile(job.losses, fullgraph=True, dynamic=False, mode=mode)

    def compiled(images: Tensor, targets: Any) -> dict[str, Tensor]:
        # What the last step's graph returned may be overwritten from here on.
        torch.compiler.cudagraph_mark_step_begin()
        return {name: loss.clone() for name, loss in losses(images, targets).items()}

    return compiled


def _average_gradients(model: nn.Module, world: World) -> None:
    """Every rank's gradients become the mean over ranks, in one exchange."""
    if world.size == 1:
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= world.size
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
