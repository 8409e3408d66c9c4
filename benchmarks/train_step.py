"""Training steps of both networks at the paper's sizes, beside torchvision's reference scripts.

Ours is the step that studies take: batch, augmentation, forward, losses, backward, weights. The
peers get their batches ready-made; on a GPU from a DataLoader, and with AMP. All start from random
weights on the same frames and boxes, with the same layers frozen. From the rates follows what the
published study's 50 runs take on 1 and on 8 such devices. Needs torch, torchvision and numpy alone.

    python benchmarks/train_step.py --out benchmarks/results/train_step.json
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from measuring import Row, Step, best_device, show, side_by_side, write
from measuring.jobs import TensorTask, store_of
from measuring.stock import StockClassifier, detector_step, loader, retinanet
from torch import Tensor

from angioray.cluster.schedule import Piece, best_schedule
from angioray.models.classifier import set_stage, view_classifier, view_loss
from angioray.models.retinanet import RetinaNet
from angioray.models.settings import RetinaNetSettings
from angioray.training.precision import dtype_here
from angioray.training.settings import AugmentationSettings, OptimiserSettings
from angioray.training.step import TrainingStep, World

PAPER = AugmentationSettings(brightness=0.2, contrast=0.2)
STILL = AugmentationSettings(brightness=0.0, contrast=0.0)
FRAMES = 256
DETECTOR_FRAMES = 3500 * 32
"""Of one of the published study's 40 detector runs."""
VIEW_FRAMES = 20819 * 4 // 5 * 15
"""Of one stage of one of its 10 classifier runs: 15 epochs of the optimal frames of four folds."""


def main() -> None:
    """Measure, print a table and write the JSON."""
    device = best_device()
    gpu = device.type == "cuda"
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--turns", type=int, default=6, help="timed turns of each")
    parser.add_argument("--compiled", action="store_true", help="compile our steps as well")
    options = parser.parse_args()
    torch.manual_seed(0)
    turn = {"device": device, "turns": options.turns, "steps": 20 if gpu else 1}
    rows: list[Row] = []
    for compiled in (False, True) if options.compiled else (False,):
        detector, trained_norms = (
            detector_row(32 if gpu else 4, frozen, compiled, turn) for frozen in (True, False)
        )
        early, late = (classifier_row(32, frozen, compiled, turn) for frozen in (True, False))
        rows += [detector, trained_norms, early, late]
        rows += [published_study(detector, early, late, devices) for devices in (1, 8)]
    write(options.out, rows, device)


def detector_row(batch: int, frozen: bool, compiled: bool, turn: dict[str, object]) -> Row:
    """RetinaNet at 512 x 512, with batch norms frozen (as from ImageNet weights) or trained."""
    device: torch.device = turn["device"]  # type: ignore[assignment]
    pixels, boxes = frames(512)
    settings = RetinaNetSettings(size=512, frozen_batch_norm=frozen)
    if not frozen:
        settings = replace(settings, weights="none")
    rule = OptimiserSettings(learning_rate=1e-4)
    model = RetinaNet(settings, pretrained=False).to(memory_format=torch.channels_last).to(device)
    job = TensorTask(
        model,
        store_of(pixels, device),
        boxes,
        batch_size=batch,
        steps=1000,
        augmentation=PAPER,
        optimiser=rule,
        losses=model.loss,
    )
    tiles = job.batches.most_in_a_batch(model.lesion_tiles(boxes.to(device)), job.steps)
    job.losses = partial(model.loss, tiles=tiles)
    peer = retinanet(settings.anchors, 512, frozen_batch_norm=frozen).to(device)
    optimiser = torch.optim.SGD(peer.parameters(), 1e-4, momentum=0.9, weight_decay=4e-4)
    return side_by_side(
        f"detector, 512 x 512, batch {batch}, {'frozen' if frozen else 'trained'} norms"
        + (", compiled" if compiled else ""),
        our_step(job, device, compiled),
        detector_step(peer, optimiser, loader(pixels, boxes, batch, device), device),
        items=batch,
        unit="frames/s",
        **turn,  # type: ignore[arg-type]
    )


def classifier_row(batch: int, frozen: bool, compiled: bool, turn: dict[str, object]) -> Row:
    """ResNet-50 at 224 x 224, in the stage with frozen early layers or in the full one."""
    device: torch.device = turn["device"]  # type: ignore[assignment]
    pixels, _ = frames(224)
    labels = torch.arange(FRAMES) % 2
    model = view_classifier("resnet50", "none", 2).to(memory_format=torch.channels_last).to(device)
    rule = OptimiserSettings(name="adam", learning_rate=1e-5, weight_decay=0.0)
    job = TensorTask(
        model,
        store_of(pixels, device),
        labels,
        batch_size=batch,
        steps=1000,
        augmentation=STILL,
        optimiser=rule,
        losses=partial(view_loss, model),
    )
    stock = StockClassifier("resnet50", device)
    for either in (model, stock.model):
        set_stage(either, frozen=frozen)
    trained = [p for p in stock.model.parameters() if p.requires_grad]
    return side_by_side(
        f"classifier, 224 x 224, batch {batch}, {'frozen' if frozen else 'full'} stage"
        + (", compiled" if compiled else ""),
        our_step(job, device, compiled),
        stock.step(loader(pixels, labels, batch, device), torch.optim.Adam(trained, 1e-5)),
        items=batch,
        unit="frames/s",
        **turn,  # type: ignore[arg-type]
    )


def published_study(detector: Row, early: Row, late: Row, devices: int) -> Row:
    """Hours of training of the published study's 50 runs, as the planner would lay them out."""

    def hours(rates: list[float | None]) -> float:
        detector_rate, early_rate, late_rate = (rate or 0.0 for rate in rates)
        view_s = VIEW_FRAMES / early_rate + VIEW_FRAMES / late_rate
        larger = (512 / 224) ** 2  # measured at 224; operations grow with the pixels
        seconds = [DETECTOR_FRAMES / detector_rate] * 40 + [view_s] * 5 + [view_s * larger] * 5
        pieces = [
            Piece(str(i), each, widest=devices if i < 40 else 1) for i, each in enumerate(seconds)
        ]
        return best_schedule(pieces, [devices]).makespan_s / 3600

    row = Row(
        f"the published study's 50 runs on {devices} of these, trained"
        + (", compiled" if "compiled" in detector.name else ""),
        hours([detector.ours, early.ours, late.ours]),
        hours([detector.peer, early.peer, late.peer]),
        "h",
        {},
        higher_is_better=False,
    )
    show(row)
    return row


def frames(size: int) -> tuple[Tensor, Tensor]:
    """Noise as uint8[FRAMES, 1, S, S], and two boxes in each (float32[FRAMES, 2, 4])."""
    generator = torch.Generator().manual_seed(0)
    shape = (FRAMES, 1, size, size)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    corner = torch.rand(FRAMES, 2, 2, generator=generator) * (size - 80)
    side = 30 + torch.rand(FRAMES, 2, 2, generator=generator) * 40
    return pixels, torch.cat([corner, corner + side], dim=2)


def our_step(job: TensorTask, device: torch.device, compiled: bool) -> Step:
    """The training loop's step, one after the other."""
    stepper = TrainingStep(job, World(device), dtype_here("auto", device), compiled=compiled)
    number = itertools.count()
    return lambda: stepper.take(next(number), job.optimiser.learning_rate)


if __name__ == "__main__":
    main()
