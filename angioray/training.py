"""The training loop: one for both tasks, for CPU and GPU, alone or as one rank of many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
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

    def frames_of(self, step: int) -> Iterable[tuple[str, int]]:
        """Sequence id and frame index of each image of a step, over all ranks."""
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
    compiled: bool = False,
    compile_backend: str = "inductor",
) -> float:
    """Train a job to its last step, from its checkpoint if there is one.

    On the CPU an interrupted run ends with the same weights, bit for bit, as an undisturbed one.

    Args:
        job: what to train.
        folder: where its checkpoint and metrics lie.
        world: this process's place among the ranks.
        precision: of the forward pass.
        checkpoint_every: steps between checkpoints.
        progress: is told now and then.
        compiled: compile forward pass and losses as one graph; CUDA graphs on a GPU.
        compile_backend: torch.compile's; the default is the one that makes steps faster.

    Returns:
        Seconds spent training, earlier attempts included up to the checkpoint that was kept.

    Raises:
        ValueError: the batch cannot be shared evenly by the ranks.
        FloatingPointError: a loss or a weight was not finite; all ranks raise it together.
    """
    if job.batch_size % world.size:
        raise ValueError(
            f"A batch of {job.batch_size} frames cannot be shared evenly by {world.size} ranks. "
            "Set `batch_size` to a multiple of the ranks, or give the run fewer GPUs."
        )
    losses_of = _compiled(job, world, compile_backend) if compiled else job.losses
    optimiser = job.optimiser.build(job.model)
    start, earlier_s = _restore(job, folder, optimiser)
    began = time.perf_counter() - earlier_s
    first_bad = torch.full((), math.inf, device=world.device)
    log = MetricsLog(folder, from_step=start) if world.leads else None
    clock = _Clock(job.batch_size)
    for step in range(start, job.steps):
        job.enter(step)
        rate = _learning_rate(job, step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        images, targets = job.batch(step, world)
        with torch.autocast(world.device.type, precision, enabled=precision != torch.float32):
            losses = losses_of(images, targets)
        total = torch.stack(list(losses.values())).sum()
        # Noted on the device: asking for the number here would make the host wait at each step.
        first_bad = torch.where(total.detach().isfinite(), first_bad, first_bad.clamp(max=step))
        total.backward()
        _average_gradients(job.model, world)
        if job.optimiser.gradient_norm is not None:
            nn.utils.clip_grad_norm_(job.model.parameters(), job.optimiser.gradient_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

        done = step + 1
        saving = done % checkpoint_every == 0 or done == job.steps
        if job.plateau is not None or saving or done % LOG_EVERY == 0:
            _refuse_if_not_finite(first_bad, job, world, folder)
            values = _mean_over_ranks(losses, total, world)
            if job.plateau is not None:
                job.plateau.record(step, values["loss"])
            line = {**values, "learning_rate": rate, "frames_per_s": clock.rate(done)}
            if log is not None and (done % LOG_EVERY == 0 or done == job.steps):
                log.append({"step": done, **line})
            progress(done, job.steps, line)
        if saving:
            # Ranks hold the same weights: each comes to the same answer by itself.
            _refuse_weights_not_finite(job, folder, done)
            if world.leads:
                kept = None if done == job.steps else optimiser
                _save(job, folder, kept, done, time.perf_counter() - began)
    return time.perf_counter() - began


def _compiled(job: Job, world: World, backend: str) -> Callable[..., dict[str, Tensor]]:
    """The job's losses as one graph; on a GPU replayed as a CUDA graph, free of launch costs.

    Each training stage (other layers frozen) is compiled once.
    """
    on_gpu = world.device.type == "cuda" and backend == "inductor"
    mode = "reduce-overhead" if on_gpu else None
    losses = torch.compile(job.losses, fullgraph=True, dynamic=False, backend=backend, mode=mode)

    def step(images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        # What the last step's graph returned may be overwritten from here on.
        torch.compiler.cudagraph_mark_step_begin()
        return losses(images, targets)

    return step


def _restore(job: Job, folder: RunFolder, optimiser: torch.optim.Optimizer) -> tuple[int, float]:
    """Steps taken and seconds spent; model, optimiser and schedule become what they were then."""
    state = read_state(folder.checkpoint)
    if state is None:
        return 0, 0.0
    load_weights(folder.checkpoint, job.model)
    if "optimiser" in state["files"]:
        load_optimiser(folder.checkpoint, optimiser)
    if job.plateau is not None:
        job.plateau.restore(state["plateau"])
    return int(state["step"]), float(state.get("seconds", 0.0))


def _save(
    job: Job,
    folder: RunFolder,
    optimiser: torch.optim.Optimizer | None,
    step: int,
    seconds: float,
) -> None:
    state: dict[str, Any] = {"steps": job.steps, "seconds": round(seconds, 3)}
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


def _mean_over_ranks(losses: dict[str, Tensor], total: Tensor, world: World) -> dict[str, float]:
    """The losses as numbers."""
    values = torch.stack([total, *losses.values()]).detach()
    if world.size > 1:
        torch.distributed.all_reduce(values)
        values /= world.size
    return dict(zip(["loss", *losses], values.tolist(), strict=True))


def _refuse_if_not_finite(first_bad: Tensor, job: Job, world: World, folder: RunFolder) -> None:
    """Stop all ranks together if any has seen a loss that is no number, naming the first such."""
    if world.size > 1:
        first_bad = first_bad.clone()
        torch.distributed.all_reduce(first_bad, torch.distributed.ReduceOp.MIN)
    step = first_bad.item()
    if math.isfinite(step):
        raise FloatingPointError(
            f"{folder.path.name}: the loss is not finite at step {int(step) + 1}, of "
            f"{_named(job.frames_of(int(step)))}. Look at these frames and their boxes; if they "
            "are sound, lower the learning rate or set gradient_norm. The last checkpoint is sound."
        )


def _refuse_weights_not_finite(job: Job, folder: RunFolder, done: int) -> None:
    """A loss may be the last finite one: weights that are no numbers never become a checkpoint."""
    sound = torch.stack([p.detach().isfinite().all() for p in job.model.parameters()]).all()
    if not sound:
        raise FloatingPointError(
            f"{folder.path.name}: the weights are not finite after step {done}, of "
            f"{_named(job.frames_of(done - 1))}. Lower the learning rate or set gradient_norm. "
            "The last checkpoint is sound."
        )


def _named(frames: Iterable[tuple[str, int]]) -> str:
    """Frames in words, by sequence."""
    by_sequence: dict[str, set[int]] = {}
    for sequence_id, frame_index in frames:
        by_sequence.setdefault(sequence_id, set()).add(frame_index)
    return "; ".join(
        f"{sequence_id} frame {', '.join(map(str, sorted(by_sequence[sequence_id])))}"
        for sequence_id in sorted(by_sequence)
    )


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
