"""The training loop, for both tasks, for CPU and GPU, for one rank and for many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from angioray.training.checkpoint import (
    STATE,
    damaged,
    load_optimiser,
    load_weights,
    read_state,
    save_checkpoint,
)
from angioray.training.frames import FrameKey
from angioray.training.metrics_log import MetricsLog
from angioray.training.step import Leaving, TrainingStep, TrainingTask, World, nobody_leaves
from preprocess.storage import Storage

CHECKPOINT = "checkpoint"
"""The part of a run's folder that holds its last checkpoint."""
LOG_EVERY = 10
"""Steps between two lines of metrics.jsonl."""

Progress = Callable[[int, int, dict[str, float]], None]
"""Called with the steps done, all steps, and the last logged line."""

Validate = Callable[[], dict[str, float]]
"""Measures the model on what it does not train on: values by name."""


def nothing_to_validate() -> dict[str, float]:
    """For where everything trains."""
    return {}


def train(
    job: TrainingTask[Any],
    folder: Storage,
    world: World,
    *,
    precision: torch.dtype,
    checkpoint_every: int,
    progress: Progress,
    compiled: bool = False,
    until: int | None = None,
    leaving: Leaving = nobody_leaves,
    validate: Validate = nothing_to_validate,
) -> float:
    """Train a job to its last step, from its checkpoint if there is one.

    On the CPU an interrupted run ends with the same weights, bit for bit, as an undisturbed one.

    Args:
        job: what to train.
        folder: where its checkpoint and its log of metrics are stored; it has the run's name.
        world: this process's place among the ranks.
        precision: of the forward pass.
        checkpoint_every: steps between checkpoints.
        progress: is told now and then.
        compiled: compile forward pass and losses as one graph; CUDA graphs on a GPU.
        until: stop after this step, with a checkpoint to go on from; at the last one if None.
        leaving: when it turns true, a checkpoint is written soon, and training goes on.
        validate: is asked by the leading rank at every checkpoint that `checkpoint_every` asks for
            and at the last step; what it gives is logged.

    Returns:
        Seconds spent training, earlier attempts included up to the checkpoint that was kept.

    Raises:
        ValueError: the batch cannot be shared evenly by the ranks.
        FloatingPointError: a loss or a weight was not finite; all ranks raise it together.
    """
    stepper = TrainingStep(job, world, precision, compiled=compiled)
    start, earlier_s = _restore(job, folder, stepper.optimiser)
    began = time.perf_counter() - earlier_s
    log = MetricsLog(folder, from_step=start) if world.leads else None
    notice = _Notice(leaving, world)
    clock = _Clock(job.batches.batch_size, start)
    unread: list[dict[str, Tensor]] = []
    end = job.steps if until is None else min(until, job.steps)
    for step in range(start, end):
        rate = _learning_rate(job, step)
        unread.append(stepper.take(step, rate))
        done = step + 1
        saving = notice.arrived(done) or done % checkpoint_every == 0 or done == end
        logging = done % LOG_EVERY == 0 or done == job.steps
        if saving or logging or (job.plateau is not None and job.plateau.judges(step)):
            _refuse_if_not_finite(stepper.first_bad, job, world, folder)
            if saving:
                # Ranks hold the same weights: each comes to the same answer by itself.
                _refuse_weights_not_finite(job, folder, done)
            values = _mean_over_ranks(unread, world)
            unread.clear()
            if job.plateau is not None:
                job.plateau.record(step, [line["loss"] for line in values])
            line = {**values[-1], "learning_rate": rate, "frames_per_s": clock.rate(done)}
            if log is not None:
                validating = done % checkpoint_every == 0 or done == job.steps
                measured = validate() if validating else {}
                if logging or measured:
                    log.append({"step": done, **line, **measured})
                if measured:
                    clock = _Clock(job.batches.batch_size, done)
            progress(done, job.steps, line)
            # After the log: where a crash comes between them, the resumed run logs this step again.
            if saving and world.leads:
                kept = None if done == job.steps else stepper.optimiser
                _save(job, folder, kept, done, time.perf_counter() - began)
    return time.perf_counter() - began


def _restore(
    job: TrainingTask[Any], folder: Storage, optimiser: torch.optim.Optimizer
) -> tuple[int, float]:
    """Steps taken and seconds spent; model, optimiser and schedule become what they were then."""
    state = read_state(folder / CHECKPOINT)
    if state is None:
        return 0, 0.0
    load_weights(folder / CHECKPOINT, job.model)
    if "optimiser" in state["files"]:
        load_optimiser(folder / CHECKPOINT, optimiser)
    if job.plateau is not None:
        try:
            job.plateau.restore(state["plateau"])
        except (KeyError, TypeError, ValueError) as problem:
            raise damaged(folder / CHECKPOINT, STATE, problem) from problem
    return int(state["step"]), float(state.get("seconds", 0.0))


def _save(
    job: TrainingTask[Any],
    folder: Storage,
    optimiser: torch.optim.Optimizer | None,
    step: int,
    seconds: float,
) -> None:
    state: dict[str, Any] = {"steps": job.steps, "seconds": round(seconds, 3)}
    if job.plateau is not None:
        state["plateau"] = job.plateau.state()
    save_checkpoint(folder / CHECKPOINT, job.model, optimiser, step=step, state=state)


def _learning_rate(job: TrainingTask[Any], step: int) -> float:
    scale = job.plateau.scale if job.plateau is not None else 1.0
    return job.optimiser.rate(step, job.steps) * scale


def _mean_over_ranks(steps: list[dict[str, Tensor]], world: World) -> list[dict[str, float]]:
    """The losses of some steps as numbers, in one exchange."""
    values = torch.stack([torch.stack(list(losses.values())) for losses in steps])
    if world.size > 1:
        torch.distributed.all_reduce(values)
        values /= world.size
    return [dict(zip(steps[0], row, strict=True)) for row in values.tolist()]


def _refuse_if_not_finite(
    first_bad: Tensor, job: TrainingTask[Any], world: World, folder: Storage
) -> None:
    """Stop all ranks together if any has seen a loss that is no number, naming the first such."""
    if world.size > 1:
        first_bad = first_bad.clone()
        torch.distributed.all_reduce(first_bad, torch.distributed.ReduceOp.MIN)
    step = first_bad.item()
    if math.isfinite(step):
        frames = _named(job.batches.keys_of(int(step)))
        raise FloatingPointError(
            f"{folder.name}: the loss is not finite at step {int(step) + 1}, of {frames}. "
            "Look at these frames and their boxes; if they are sound, lower the learning rate or "
            "set gradient_norm. The last checkpoint is sound."
        )


def _refuse_weights_not_finite(job: TrainingTask[Any], folder: Storage, done: int) -> None:
    """A loss may be the last finite one: weights that are no numbers never become a checkpoint."""
    sound = torch.stack([p.detach().isfinite().all() for p in job.model.parameters()]).all()
    if not sound:
        frames = _named(job.batches.keys_of(done - 1))
        raise FloatingPointError(
            f"{folder.name}: the weights are not finite after step {done}, of {frames}. "
            "Lower the learning rate or set gradient_norm. The last checkpoint is sound."
        )


def _named(frames: Iterable[FrameKey]) -> str:
    """Frames in words, by sequence."""
    by_sequence: dict[str, set[int]] = {}
    for sequence_id, frame_index in frames:
        by_sequence.setdefault(sequence_id, set()).add(frame_index)
    return "; ".join(
        f"{sequence_id} frame {', '.join(map(str, sorted(by_sequence[sequence_id])))}"
        for sequence_id in sorted(by_sequence)
    )


class _Notice:
    """Notices that a machine will be taken away, as all ranks agree on them."""

    def __init__(self, leaving: Leaving, world: World) -> None:
        self._leaving, self._world = leaving, world
        self._stands = False

    def arrived(self, done: int) -> bool:
        """Whether one has arrived since the last call: true once for each notice."""
        stands = self._leaving()
        if self._world.size > 1:
            if done % LOG_EVERY:  # then the host waits for the losses anyhow
                return False
            said = torch.tensor(float(stands), device=self._world.device)
            torch.distributed.all_reduce(said, torch.distributed.ReduceOp.MAX)
            stands = bool(said)
        arrived = stands and not self._stands
        self._stands = stands
        return arrived


class _Clock:
    """Frames per second since the last question."""

    def __init__(self, batch_size: int, step: int) -> None:
        self._batch_size = batch_size
        self._step, self._time = step, time.perf_counter()

    def rate(self, step: int) -> float:
        now = time.perf_counter()
        rate = (step - self._step) * self._batch_size / max(now - self._time, 1e-9)
        self._step, self._time = step, now
        return round(rate, 2)
