"""Several small trainings that share one device, beside one that has it alone.

Each process trains the published view classifier (ResNet-50, 224 x 224, batch 32, full stage) on
frames of its own, as the lanes of a study do; counted are the frames of all of them together. On a
CPU the processes share the cores. Needs torch, torchvision and numpy alone.

    python benchmarks/shared_device.py --out benchmarks/results/shared_device.json
"""

from __future__ import annotations

import argparse
import itertools
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as processes
from measuring import Row, best_device, show, write
from measuring.jobs import TensorTask, store_of

from angioray.models.classifier import set_stage, view_classifier, view_loss
from angioray.training.precision import dtype_here
from angioray.training.settings import AugmentationSettings, OptimiserSettings
from angioray.training.step import TrainingStep, World

BATCH, FRAMES, SIZE = 32, 256, 224
WARM_UP = 3


def main() -> None:
    """Measure, print a table and write the JSON."""
    device = best_device()
    gpu = device.type == "cuda"
    cores = torch.get_num_threads()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument(
        "--together", type=int, nargs="+", default=[2, 4] if gpu else [cores], help="processes"
    )
    options = parser.parse_args()
    alone = sum(rates(1, options.seconds, cores))
    rows = []
    for count in options.together:
        each = rates(count, options.seconds, cores)
        name = f"classifier, 224 x 224, batch 32: {count} trainings together, against one alone"
        spread = {"ours": [round(min(each), 3), round(max(each), 3)]}
        rows.append(Row(name, sum(each), alone, "frames/s", spread))
        show(rows[-1])
    write(options.out, rows, device)


def rates(count: int, seconds: float, cores: int) -> list[float]:
    """Frames per second of each of some trainings that run at the same time."""
    context = processes.get_context("spawn")
    ready, answers = context.Barrier(count), context.Queue()
    threads = max(1, cores // count)
    workers = [
        context.Process(target=train, args=(number, threads, seconds, ready, answers))
        for number in range(count)
    ]
    for worker in workers:
        worker.start()
    found = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    return found


def train(number: int, threads: int, seconds: float, ready: Any, answers: Any) -> None:
    """Train for some seconds once all are ready; answers with the frames per second."""
    torch.set_num_threads(threads)
    device = best_device()
    generator = torch.Generator().manual_seed(number)
    pixels = torch.randint(0, 256, (FRAMES, 1, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    model = view_classifier("resnet50", "none", 2).to(memory_format=torch.channels_last).to(device)
    set_stage(model, frozen=False)
    job = TensorTask(
        model,
        store_of(pixels, device),
        torch.arange(FRAMES) % 2,
        batch_size=BATCH,
        steps=100_000,
        augmentation=AugmentationSettings(brightness=0.0, contrast=0.0),
        optimiser=OptimiserSettings(name="adam", learning_rate=1e-5, weight_decay=0.0),
        losses=partial(view_loss, model),
    )
    stepper = TrainingStep(job, World(device), dtype_here("auto", device))
    rate = job.optimiser.learning_rate
    numbers = itertools.count()

    def take(steps: int) -> None:
        for _ in range(steps):
            stepper.take(next(numbers), rate)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    take(WARM_UP)
    ready.wait()
    began, taken = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        take(turn := 20 if device.type == "cuda" else 1)
        taken += turn
    answers.put(taken * BATCH / (time.perf_counter() - began))


if __name__ == "__main__":
    main()
