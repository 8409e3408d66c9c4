"""Accuracy on ARCADE from random weights: our networks beside torchvision's, with one schedule.

Both detectors see the same frames, boxes and number of steps; then torchvision's trains once more
with as many steps as fit into the seconds that ours took. View classifiers likewise. Beside each
difference stands its 95 % interval over the stills of the val part. Sizes default to what the
machine bears: on a CPU this is a small version that tells whether speed was bought with accuracy,
not how good either can get. Needs torch, torchvision and numpy alone.

    python benchmarks/arcade.py --data FOLDER --out benchmarks/results/arcade.json

FOLDER holds ``arcade_stenosis_1200.tar`` and ``arcade_views_1200.tar``: ARCADE's published train
and val images (doi 10.1038/s41597-023-02871-z) as grey JPEG, with its COCO files and ``views.csv``.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import best_device, machine
from measuring.jobs import TensorTask, store_of
from measuring.stock import StockClassifier, detector_step, images, loader, retinanet
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import functional as transforms

from angioray.evaluation.detection import JudgedFrames, Matched
from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.measures import Measure, Ratio, value
from angioray.models.classifier import view_classifier, view_loss
from angioray.models.retinanet import RetinaNet
from angioray.models.settings import RetinaNetSettings
from angioray.training.frames import normalise
from angioray.training.optimiser import build_optimiser
from angioray.training.precision import dtype_here, forward_passes
from angioray.training.settings import AugmentationSettings, OptimiserSettings
from angioray.training.step import TrainingStep, World

STENOSIS = 26
SIDE, VIEW_SIDE = 512, 224
AT_ONCE = 16
STILL = AugmentationSettings(brightness=0.0, contrast=0.0)
NAMES = (
    "AP@IoU0.20",
    "AP@IoU0.50/max100",
    *(
        f"{measure}@IoU0.20/score0.50/max{most}"
        for measure in ("recall", "precision")
        for most in (1, 5)
    ),
)
Boxes = dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True)
class Part:
    """A published part: uint8[N, 1, S, S] with boxes (float32[N, G, 4]) or labels (int64[N])."""

    pixels: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Schedule:
    """What a training is given."""

    backbone: str
    batch: int
    steps: int
    rate: float
    device: torch.device

    @property
    def rule(self) -> OptimiserSettings:
        """AdamW, a warm-up of a twentieth, then half a cosine."""
        return OptimiserSettings(
            name="adamw",
            learning_rate=self.rate,
            weight_decay=1e-2,
            warmup_steps=max(1, self.steps // 20),
            decay="cosine",
            gradient_norm=10.0,
        )

    def of_seconds(self, seconds: float, taken: float) -> Schedule:
        """The same over as many steps as fit into some seconds, if all of them took ``taken``."""
        return replace(self, steps=max(1, round(self.steps * seconds / taken)))


def main() -> None:
    """Train, judge, print tables and write the JSON."""
    device = best_device()
    gpu = device.type == "cuda"
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of both archives")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--size", type=int, default=512 if gpu else 256, help="of the detector")
    parser.add_argument("--backbone", default="resnet50" if gpu else "resnet18")
    parser.add_argument("--batch", type=int, default=32 if gpu else 8)
    parser.add_argument("--steps", type=int, default=3500 if gpu else 300)
    parser.add_argument("--rate", type=float, default=3e-4, help="AdamW's learning rate")
    options = parser.parse_args()
    schedule = Schedule(options.backbone, options.batch, options.steps, options.rate, device)
    settings = {name: value for name, value in vars(options).items() if name not in ("data", "out")}
    rows: list[dict[str, Any]] = []
    document = {"machine": {**machine(device), **settings}, "rows": rows}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    parts = detectors(options.data, options.size, schedule), views(options.data, schedule)
    for each in itertools.chain(*parts):  # stopped early, it leaves what it has measured
        rows.append(each)
        options.out.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(f"Wrote {options.out}.")


def detectors(data: Path, size: int, schedule: Schedule) -> Iterator[dict[str, Any]]:
    """Ours and the peer's, at equal steps and at equal time."""
    train, val = (stenoses(data, part, size) for part in ("train", "val"))
    found, seconds = our_detector(train, val, size, schedule)
    ours = judged(val, found)
    peer_schedule = schedule
    for words in ("steps", "time"):
        found, peer_s = stock_detector(train, val, size, peer_schedule)
        peer = judged(val, found)
        where = f"detector, equal {words} ({schedule.steps} and {peer_schedule.steps} steps)"
        yield from compared(where, ours, peer, len(val.targets))
        yield row(f"{where}: training", seconds, peer_s, unit="s", higher_is_better=False)
        peer_schedule = schedule.of_seconds(seconds, peer_s)


def views(data: Path, schedule: Schedule) -> Iterator[dict[str, Any]]:
    """Accuracy of naming the view, at equal steps and at equal time."""
    train, val = (named_views(data, part) for part in ("train", "val"))
    ours, seconds = our_classifier(train, val, schedule)
    peer_schedule = schedule
    for words in ("steps", "time"):
        peer, peer_s = stock_classifier(train, val, peer_schedule)
        where = f"view, equal {words} ({schedule.steps} and {peer_schedule.steps} steps)"
        yield from compared(where, {"accuracy": ours}, {"accuracy": peer}, len(val.targets))
        yield row(f"{where}: training", seconds, peer_s, unit="s", higher_is_better=False)
        peer_schedule = schedule.of_seconds(seconds, peer_s)


def our_detector(train: Part, val: Part, size: int, schedule: Schedule) -> tuple[Boxes, float]:
    """Boxes of our detector on the val part, and the seconds that it trained."""
    torch.manual_seed(0)
    settings = RetinaNetSettings(
        size=size,
        backbone=schedule.backbone,  # type: ignore[arg-type]
        weights="none",
        frozen_batch_norm=False,
    )
    device = schedule.device
    model = RetinaNet(settings).to(memory_format=torch.channels_last).to(device)
    job = our_job(model, train, schedule, model.loss)
    counts = model.lesion_tiles(train.targets.to(device))
    tiles = job.batches.most_in_a_batch(counts, schedule.steps)
    job.losses = partial(model.loss, tiles=tiles)
    seconds = run_ours(job, schedule)
    return boxes_on(val, model, device), seconds


def boxes_on(val: Part, model: RetinaNet, device: torch.device) -> Boxes:
    """What our detector finds on a part."""
    model.eval()
    dtype = dtype_here("auto", device)
    found: Boxes = {}
    for first in range(0, len(val.pixels), AT_ONCE):
        pixels = val.pixels[first : first + AT_ONCE].to(device)
        with forward_passes(device, dtype):
            detections = model.detect(normalise(pixels, dtype))
        both = zip(
            detections.boxes_xyxy.double().cpu(), detections.scores.double().cpu(), strict=True
        )
        for i, (boxes, scores) in enumerate(both, start=first):
            found[i] = (boxes[scores >= 0].numpy(), scores[scores >= 0].numpy())
    return found


def stock_detector(train: Part, val: Part, size: int, schedule: Schedule) -> tuple[Boxes, float]:
    """The same of torchvision's."""
    torch.manual_seed(0)
    device = schedule.device
    model = retinanet(RetinaNetSettings().anchors, size, backbone=schedule.backbone).to(device)
    optimiser = build_optimiser(schedule.rule, model)
    batches = loader(train.pixels, train.targets, schedule.batch, device)
    step = detector_step(
        model, optimiser, batches, device, gradient_norm=schedule.rule.gradient_norm
    )
    seconds = run_stock(step, optimiser, schedule)
    model.eval()
    model.score_thresh, model.detections_per_img = 0.0, 20
    found: Boxes = {}
    for first in range(0, len(val.pixels), AT_ONCE):
        with torch.no_grad():
            answers = model(images(val.pixels[first : first + AT_ONCE], device))
        for i, answer in enumerate(answers, start=first):
            boxes, scores = answer["boxes"].double().cpu(), answer["scores"].double().cpu()
            found[i] = (boxes.numpy(), scores.numpy())
    return found, seconds


def our_classifier(train: Part, val: Part, schedule: Schedule) -> tuple[Ratio, float]:
    """Accuracy of our classifier on the val part, and the seconds that it trained."""
    torch.manual_seed(0)
    device = schedule.device
    model = view_classifier(schedule.backbone, "none", 2)  # type: ignore[arg-type]
    model = model.to(memory_format=torch.channels_last).to(device)
    seconds = run_ours(our_job(model, train, schedule, partial(view_loss, model)), schedule)
    return accuracy(
        model, partial(normalise, dtype=dtype_here("auto", device)), val, device
    ), seconds


def stock_classifier(train: Part, val: Part, schedule: Schedule) -> tuple[Ratio, float]:
    """The same of torchvision's."""
    torch.manual_seed(0)
    device = schedule.device
    stock = StockClassifier(schedule.backbone, device)
    optimiser = schedule.rule.build(stock.model)
    batches = loader(train.pixels, train.targets, schedule.batch, device)
    step = stock.step(batches, optimiser, gradient_norm=schedule.rule.gradient_norm)
    seconds = run_stock(step, optimiser, schedule)
    return accuracy(stock.model, stock.images, val, device), seconds


def our_job(
    model: nn.Module,
    train: Part,
    schedule: Schedule,
    losses: Callable[[Tensor, Tensor], dict[str, Tensor]],
) -> TensorTask:
    """Our training of a part."""
    return TensorTask(
        model,
        store_of(train.pixels, schedule.device),
        train.targets,
        batch_size=schedule.batch,
        steps=schedule.steps,
        augmentation=STILL,
        optimiser=schedule.rule,
        losses=losses,
    )


def run_ours(job: TensorTask, schedule: Schedule) -> float:
    """Train to the last step; the seconds."""
    job.model.train()
    stepper = TrainingStep(job, World(schedule.device), dtype_here("auto", schedule.device))

    def step(number: int, rate: float) -> None:
        stepper.take(number, rate)

    return timed(step, schedule)


def run_stock(
    step: Callable[[], object], optimiser: torch.optim.Optimizer, schedule: Schedule
) -> float:
    """The same of a peer."""

    def with_rate(number: int, rate: float) -> None:
        for group in optimiser.param_groups:
            group["lr"] = rate
        step()

    return timed(with_rate, schedule)


def timed(step: Callable[[int, float], None], schedule: Schedule) -> float:
    """Take every step with its learning rate; the seconds.

    A CPU's own seconds, added up over its cores: minutes of training share them with other work.
    """
    on_gpu = schedule.device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    start = clock()
    for number in range(schedule.steps):
        step(number, schedule.rate * schedule.rule.factor(number, schedule.steps))
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - start


def compared(
    where: str, ours: Mapping[str, Measure], peer: Mapping[str, Measure], stills: int
) -> Iterator[dict[str, Any]]:
    """A row for each measure of the val part, with the interval of what ours has more."""
    jackknife = Jackknife.of([str(i) for i in range(stills)])
    for name, measure in ours.items():
        apart = jackknife.difference(measure, peer[name])
        values = [value(each, stills) for each in (measure, peer[name])]
        yield row(f"{where}: {name}", *values, interval=apart.ci95)


def judged(val: Part, found: Boxes) -> dict[str, Measure]:
    """The measures of boxes on the val part, each still a patient of its own."""
    truth = {
        i: boxes[(boxes[:, 2:] > boxes[:, :2]).all(dim=1)].double().numpy()
        for i, boxes in enumerate(val.targets)
    }
    sequence = {i: str(i) for i in range(len(val.targets))}
    measures = Matched.of(JudgedFrames(sequence=sequence, truth=truth), found).measures()
    return {name: measures[name] for name in NAMES}


@torch.no_grad()
def accuracy(
    model: nn.Module, prepare: Callable[[Tensor], Tensor], val: Part, device: torch.device
) -> Ratio:
    """Share of stills whose view is named right."""
    model.eval()
    right: list[Tensor] = []
    for pixels, labels in zip(val.pixels.split(64), val.targets.split(64), strict=True):
        with forward_passes(device, dtype_here("auto", device)):
            named = model(prepare(pixels.to(device))).argmax(dim=1).cpu()
        right.append(named == labels)
    hits = torch.cat(right).double().numpy()
    return Ratio(numerator=hits, denominator=np.ones(len(hits)))


def stenoses(data: Path, part: str, size: int) -> Part:
    """Stills and their stenosis boxes in pixels of ``size``, padded with boxes of no area."""
    with tarfile.open(data / "arcade_stenosis_1200.tar") as archive:
        file = archive.extractfile(f"stenosis/{part}/annotations/{part}.json")
        assert file is not None
        document = json.load(file)
        boxes: dict[int, list[list[float]]] = {}
        for annotation in document["annotations"]:
            if annotation["category_id"] == STENOSIS:
                x, y, w, h = annotation["bbox"]
                boxes.setdefault(annotation["image_id"], []).append([x, y, x + w, y + h])
        stills = {image["id"]: Path(image["file_name"]).stem for image in document["images"]}
        folder = f"stenosis/{part}/images"
        there = {Path(name).stem for name in archive.getnames() if name.startswith(folder)}
        ids = [number for number, stem in sorted(stills.items()) if stem in there]
        pixels = [still(archive, f"{folder}/{stills[number]}.jpg", size) for number in ids]
    targets = torch.zeros(len(ids), max(len(each) for each in boxes.values()), 4)
    for target, number in zip(targets, ids, strict=True):
        if each := boxes.get(number):
            target[: len(each)] = torch.tensor(each) * (size / SIDE)
    return Part(torch.stack(pixels), targets)


def named_views(data: Path, part: str) -> Part:
    """Stills and whether each shows the left (0) or the right artery (1)."""
    with tarfile.open(data / "arcade_views_1200.tar") as archive:
        file = archive.extractfile(f"syntax/{part}/views.csv")
        assert file is not None
        rows = list(csv.DictReader(file.read().decode("utf-8").splitlines()))
        folder = f"syntax/{part}/images"
        pixels = [still(archive, f"{folder}/{r['file_name']}", VIEW_SIDE) for r in rows]
    return Part(torch.stack(pixels), torch.tensor([int(r["view"] == "RCA") for r in rows]))


def still(archive: tarfile.TarFile, name: str, size: int) -> Tensor:
    """One grey picture (uint8[1, S, S])."""
    file = archive.extractfile(name)
    assert file is not None
    picture = decode_jpeg(
        torch.frombuffer(bytearray(file.read()), dtype=torch.uint8), ImageReadMode.GRAY
    )
    resized: Tensor = transforms.resize(picture, [size, size], antialias=True)
    return resized


def row(
    name: str,
    ours: float | None,
    peer: float | None,
    *,
    unit: str = "share",
    higher_is_better: bool = True,
    interval: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """One row of the JSON, printed as well."""
    shown = ["-" if number is None else f"{number:.3f}" for number in (ours, peer)]
    apart = "" if interval is None else f"   difference {interval[0]:+.3f} to {interval[1]:+.3f}"
    print(f"{name:<78} {shown[0]:>9}   peer {shown[1]:>9}{apart}", flush=True)
    return {
        "name": name,
        "ours": None if ours is None else round(ours, 4),
        "peer": None if peer is None else round(peer, 4),
        "ratio": round(ours / peer, 3) if ours is not None and peer else None,
        "unit": unit,
        "higher_is_better": higher_is_better,
        "difference_ci95": None if interval is None else [round(end, 4) for end in interval],
    }


if __name__ == "__main__":
    main()
