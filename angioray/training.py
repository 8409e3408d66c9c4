"""The training loop: one for both tasks, for CPU and GPU, alone or as one rank of many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.distributed
from torch import Tensor, nn

from angioray.checkpoint import load_optimiser, load_weights, read_state, save_checkpoint
from angioray.optimiser import OptimiserSettings, Plateau
from angioray.run_folder import MetricsLog, RunFolder

LOG_EVERY = 10
"""Steps between two lines of metrics.jsonl."""


@dataclass(frozen=True)
class World:
    """Where this process trains: its device, and its place among the ranks of the run."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @classmethod
    def alone(cls) -> World:
        """One process on this machine's GPU, or on its CPU."""
        return cls(torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    @property
    def leads(self) -> bool:
        """Whether this rank writes the files."""
        return self.rank == 0


class Job(Protocol):
    """What a task brings to the loop."""

    @property
    def model(self) -> nn.Module:
        """Already on the device."""
        ...

    steps: int
    batch_size: int
    optimiser: OptimiserSettings
    plateau: Plateau | None

    def enter(self, step: int) -> None:
        """Set the model up for this step: which layers train."""
        ...

    def batch(self, step: int, world: World) -> tuple[Tensor, Tensor]:
        """This rank's share of a step's images and targets, in float32."""
        ...

    def losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """A batch through the model: named losses to be added up."""
        ...


Progress = Callable[[int, int, dict[str, float]], None]
"""Called with the steps done, all steps, and the last logged line."""


def train(
    job: Job,
    folder: RunFolder,
    world: World,
    *,
    precision: torch.dtype,
    checkpoint_every: int,
    progress: Progress,
) -> None:
    """Train a job to its last step, from its checkpoint if there is one.

    On the CPU an interrupted run ends with the same weights, bit for bit, as an undisturbed one.

    Raises:
        FloatingPointError: a loss was not finite.
    """
    optimiser = job.optimiser.build(job.model)
    start = _restore(job, folder, optimiser)
    log = MetricsLog(folder, from_step=start) if world.leads else None
    clock = _Clock(job.batch_size)
    for step in range(start, job.steps):
        job.enter(step)
        rate = _learning_rate(job, step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        images, targets = job.batch(step, world)
        with torch.autocast(world.device.type, precision, enabled=precision != torch.float32):
            losses = job.losses(images, targets)
        total = torch.stack(list(losses.values())).sum()
        total.backward()
        _average_gradients(job.model, world)
        if job.optimiser.gradient_norm is not None:
            nn.utils.clip_grad_norm_(job.model.parameters(), job.optimiser.gradient_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

        done = step + 1
        saving = done % checkpoint_every == 0 or done == job.steps
        if job.plateau is not None or saving or done % LOG_EVERY == 0:
            values = _agree(losses, total, world, done, folder)
            if job.plateau is not None:
                job.plateau.record(step, values["loss"])
            line = {**values, "learning_rate": rate, "frames_per_s": clock.rate(done)}
            if log is not None and (done % LOG_EVERY == 0 or done == job.steps):
                log.append({"step": done, **line})
            progress(done, job.steps, line)
        if saving and world.leads:
            _save(job, folder, None if done == job.steps else optimiser, done)


def _restore(job: Job, folder: RunFolder, optimiser: torch.optim.Optimizer) -> int:
    """The number of steps already taken, with model, optimiser and schedule as they were then."""
    state = read_state(folder.checkpoint)
    if state is None:
        return 0
    load_weights(folder.checkpoint, job.model)
    if "optimiser" in state["files"]:
        load_optimiser(folder.checkpoint, optimiser)
    if job.plateau is not None:
        job.plateau.restore(state["plateau"])
    return int(state["step"])


def _save(job: Job, folder: RunFolder, optimiser: torch.optim.Optimizer | None, step: int) -> None:
    state: dict[str, Any] = {"steps": job.steps}
    if job.plateau is not None:
        state["plateau"] = job.plateau.state()
    save_checkpoint(folder.checkpoint, job.model, optimiser, step=step, state=state)


def _learning_rate(job: Job, step: int) -> float:
    scale = job.plateau.scale if job.plateau is not None else 1.0
    return job.optimiser.learning_rate * job.optimiser.factor(step, job.steps) * scale


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


def _agree(
    losses: dict[str, Tensor], total: Tensor, world: World, step: int, folder: RunFolder
) -> dict[str, float]:
    """The losses as numbers, the mean over ranks, so that all ranks stop together or not at all."""
    values = torch.stack([total, *losses.values()]).detach()
    if world.size > 1:
        torch.distributed.all_reduce(values)
        values /= world.size
    named = dict(zip(["loss", *losses], values.tolist(), strict=True))
    if not math.isfinite(named["loss"]):
        parts = ", ".join(f"{name} {value}" for name, value in named.items())
        raise FloatingPointError(
            f"{folder.path.name}: the loss is not finite at step {step} ({parts}). Lower the "
            "learning rate or set gradient_norm; the last checkpoint is still sound."
        )
    return named


class _Clock:
    """Frames per second since the last question."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._step: int | None = None
        self._time = time.perf_counter()

    def rate(self, step: int) -> float:
        now = time.perf_counter()
        steps = step - (self._step if self._step is not None else step - 1)
        rate = steps * self._batch_size / max(now - self._time, 1e-9)
        self._step, self._time = step, now
        return round(rate, 2)
