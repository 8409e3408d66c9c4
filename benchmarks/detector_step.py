"""One detector training step at the paper's size: ours beside torchvision's stock RetinaNet.

Both start from random weights on the same frames and boxes; steps alternate, so that a machine
whose speed drifts drifts for both. The peer is trained as torchvision's reference script does:
float32, three channels, a list of images with a dictionary of boxes each.

    python benchmarks/detector_step.py --out benchmarks/results/detector_step.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torchvision.models.detection import retinanet_resnet50_fpn

from angioray.detector import RetinaNet, RetinaNetSettings
from angioray.frames import normalise

Step = Callable[[], None]


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--size", type=int, default=512, help="side of the frames in pixels")
    parser.add_argument("--batch", type=int, default=4, help="frames of one step")
    parser.add_argument("--rounds", type=int, default=4, help="timed steps of each")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pixels, boxes = frames(options.batch, options.size)
    ours = our_step(pixels.to(device), boxes.to(device), options.size)
    peer = stock_step(pixels.to(device), boxes.to(device), options.size)
    seconds = alternate(ours, peer, options.rounds, device)
    rates = [options.batch / statistics.median(times) for times in seconds]
    row = {
        "name": f"detector step, {options.size} x {options.size}, batch {options.batch}",
        "ours": round(rates[0], 3),
        "peer": round(rates[1], 3),
        "ratio": round(rates[0] / rates[1], 2),
        "unit": "frames/s",
        "higher_is_better": True,
    }
    machine = {
        "processor": platform.processor() or platform.machine(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "rows": [row]}, indent=1) + "\n")
    spread = [f"{min(times):.2f} to {max(times):.2f} s" for times in seconds]
    print(f"{row['name']} on {machine['device']}, {machine['threads']} threads")
    print(f"  ours         {rates[0]:8.2f} frames/s   ({spread[0]} a step)")
    print(f"  torchvision  {rates[1]:8.2f} frames/s   ({spread[1]} a step)")
    print(f"  ratio        {row['ratio']:8.2f}")
    print(f"Wrote {options.out}")


def frames(batch: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise as uint8[B, 1, S, S], and two boxes in each (float32[B, 2, 4])."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (batch, 1, size, size), generator=generator, dtype=torch.uint8)
    corner = torch.rand(batch, 2, 2, generator=generator) * (size - 80)
    side = 30 + torch.rand(batch, 2, 2, generator=generator) * 40
    return pixels, torch.cat([corner, corner + side], dim=2)


def our_step(pixels: torch.Tensor, boxes: torch.Tensor, size: int) -> Step:
    """The step of the training loop: bfloat16 autocast, one channel, losses for the whole batch."""
    settings = RetinaNetSettings(size=size, weights="none", frozen_batch_norm=False)
    model = RetinaNet(settings).to(memory_format=torch.channels_last).to(pixels.device)
    optimiser = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9, weight_decay=4e-4)

    def step() -> None:
        with torch.autocast(pixels.device.type, torch.bfloat16):
            losses = model.loss(normalise(pixels), boxes)
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def stock_step(pixels: torch.Tensor, boxes: torch.Tensor, size: int) -> Step:
    """torchvision's own model and loss."""
    model = retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=2, min_size=size, max_size=size
    ).to(pixels.device)
    optimiser = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9, weight_decay=4e-4)
    labels = torch.ones(boxes.shape[1], dtype=torch.int64, device=pixels.device)

    def step() -> None:
        images = list((pixels.float() / 255).expand(-1, 3, -1, -1))
        losses = model(images, [{"boxes": frame, "labels": labels} for frame in boxes])
        sum(losses.values()).backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def alternate(
    ours: Step, peer: Step, rounds: int, device: torch.device
) -> tuple[list[float], list[float]]:
    """Seconds of each step of ours and the peer, in turn, after one of each to warm up."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for step, times in zip((ours, peer), seconds, strict=True):
            start = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:
                times.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
