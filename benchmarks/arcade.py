"""Accuracy on ARCADE from random weights: our networks beside torchvision's, with one schedule.

With each seed both see the same frames in the same batches for the same number of steps; then
torchvision's trains once more with as many steps as fit into the seconds that ours took. The
numbers are means over the seeds, which stand beside them; the 95 % interval of each difference is
over the stills of the val part. Sizes default to what the machine bears: on a CPU this is a small
version that tells whether speed was bought with accuracy, not how good either can get. Needs
torch, torchvision and numpy alone, and SciPy for the intervals.

    python benchmarks/arcade.py --data FOLDER --out benchmarks/results/arcade.json

FOLDER holds ``arcade_stenosis_1200.tar`` and ``arcade_views_1200.tar``: ARCADE's published train
and val images (doi 10.1038/s41597-023-02871-z) as grey JPEG, with its COCO files and ``views.csv``.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import statistics
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from angioray.evaluation.measures import Measure, Ratio, means, value
from angioray.models.classifier import view_classifier, view_loss
from angioray.models.retinanet import RetinaNet
from angioray.models.settings import AnchorSettings, RetinaNetSettings
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
    "recall@IoU0.20/score0.00/max5",
    *(
        f"{measure}@IoU0.20/score0.50/max{most}"
        for measure in ("recall", "precision")
        for most in (1, 5)
    ),
)
Row = dict[str, Any]
Boxes = dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True)
class Part:
    """A published part: uint8[N, 1, S, S] with boxes (float32[N, G, 4]) or labels (int64[N])."""

    pixels: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Schedule:
    """What a training is given."""

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


Trained = tuple[Mapping[str, Measure], float]
"""What a trained network reaches on the val part, and the seconds that it trained."""
Training = Callable[[Schedule, int], Trained]
"""A training with one of the seeds."""


def main() -> None:
    """Train, judge, print tables and write the JSON."""
    device = best_device()
    gpu = device.type == "cuda"
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of both archives")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--size", type=int, default=512 if gpu else 256, help="of the detector")
    parser.add_argument("--backbone", default="resnet50" if gpu else "resnet18")
    parser.add_argument("--batch", type=int, default=32 if gpu else 4)
    parser.add_argument("--steps", type=int, default=3500 if gpu else 300)
    parser.add_argument("--rate", type=float, default=3e-4, help="AdamW's learning rate")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    schedule = Schedule(options.batch, options.steps, options.rate, device)
    settings = RetinaNetSettings(
        size=options.size,
        backbone=options.backbone,
        weights="none",
        frozen_batch_norm=False,
        anchors=AnchorSettings(base_size_strides=2.0),  # half of all boxes are within 53 of 512 px
    )
    rows: dict[str, Row] = {}
    for of_seeds in itertools.chain(
        detectors(options.data, settings, schedule, options.seeds),
        views(options.data, options.backbone, schedule, options.seeds),
    ):
        rows |= {each["name"]: each for each in of_seeds}
        write(options, list(rows.values()))  # stopped early, it leaves what it has measured
    print(f"Wrote {options.out}.")


def detectors(
    data: Path, settings: RetinaNetSettings, schedule: Schedule, seeds: Sequence[int]
) -> Iterator[list[Row]]:
    """Ours and the peer's, at equal steps and at equal time."""
    train, val = (stenoses(data, part, settings.size) for part in ("train", "val"))

    def training(of: Callable[..., tuple[Boxes, float]]) -> Training:
        def trained(schedule: Schedule, seed: int) -> Trained:
            found, seconds = of(train, val, settings, schedule, seed)
            return judged(val, found), seconds

        return trained

    ours, peer = training(our_detector), training(stock_detector)
    return contest("detector", len(val.pixels), ours, peer, schedule, seeds)


def views(
    data: Path, backbone: str, schedule: Schedule, seeds: Sequence[int]
) -> Iterator[list[Row]]:
    """Accuracy of naming the view, at equal steps and at equal time."""
    train, val = (named_views(data, part) for part in ("train", "val"))
    ours, peer = (partial(of, train, val, backbone) for of in (our_classifier, stock_classifier))
    return contest("view", len(val.pixels), ours, peer, schedule, seeds)


def contest(
    what: str,
    stills: int,
    ours: Training,
    peer: Training,
    schedule: Schedule,
    seeds: Sequence[int],
) -> Iterator[list[Row]]:
    """The rows of ours and a peer at equal steps and at equal time, anew after each training."""
    equal_time = None
    found: dict[str, list[Trained]] = {"ours": [], "steps": [], "time": []}
    for seed in seeds:
        found["ours"].append(ours(schedule, seed))
        found["steps"].append(peer(schedule, seed))
        if equal_time is None:  # one number of steps for all seeds
            seconds, peer_s = found["ours"][0][1], found["steps"][0][1]
            equal_time = replace(schedule, steps=max(1, round(schedule.steps * seconds / peer_s)))
        for words, steps in (("steps", schedule.steps), ("time", equal_time.steps)):
            if words == "time":
                found["time"].append(peer(equal_time, seed))
            where = f"{what}, equal {words} ({schedule.steps} and {steps} steps)"
            yield compared(where, stills, found["ours"], found[words])


def our_detector(
    train: Part, val: Part, settings: RetinaNetSettings, schedule: Schedule, seed: int
) -> tuple[Boxes, float]:
    """Boxes of our detector on the val part, and the seconds that it trained."""
    torch.manual_seed(seed)
    device = schedule.device
    model = RetinaNet(settings).to(memory_format=torch.channels_last).to(device)
    job = our_job(model, train, schedule, model.loss, seed)
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


def stock_detector(
    train: Part, val: Part, settings: RetinaNetSettings, schedule: Schedule, seed: int
) -> tuple[Boxes, float]:
    """The same of torchvision's."""
    torch.manual_seed(seed)
    device = schedule.device
    model = retinanet(settings.anchors, settings.size, backbone=settings.backbone).to(device)
    optimiser = build_optimiser(schedule.rule, model)
    batches = loader(train.pixels, train.targets, schedule.batch, device, seed)
    step = detector_step(
        model, optimiser, batches, device, gradient_norm=schedule.rule.gradient_norm
    )
    seconds = run_stock(step, optimiser, schedule)
    model.eval()
    model.score_thresh, model.detections_per_img = 0.0, settings.max_predictions
    found: Boxes = {}
    for first in range(0, len(val.pixels), AT_ONCE):
        with torch.no_grad():
            answers = model(images(val.pixels[first : first + AT_ONCE], device))
        for i, answer in enumerate(answers, start=first):
            boxes, scores = answer["boxes"].double().cpu(), answer["scores"].double().cpu()
            found[i] = (boxes.numpy(), scores.numpy())
    return found, seconds


def our_classifier(train: Part, val: Part, backbone: str, schedule: Schedule, seed: int) -> Trained:
    """Accuracy of our classifier on the val part, and the seconds that it trained."""
    torch.manual_seed(seed)
    device = schedule.device
    model = view_classifier(backbone, "none", 2)
    model = model.to(memory_format=torch.channels_last).to(device)
    seconds = run_ours(our_job(model, train, schedule, partial(view_loss, model), seed), schedule)
    prepare = partial(normalise, dtype=dtype_here("auto", device))
    return accuracy(model, prepare, val, device), seconds


def stock_classifier(
    train: Part, val: Part, backbone: str, schedule: Schedule, seed: int
) -> Trained:
    """The same of torchvision's."""
    torch.manual_seed(seed)
    device = schedule.device
    stock = StockClassifier(backbone, device)
    optimiser = build_optimiser(schedule.rule, stock.model)
    batches = loader(train.pixels, train.targets, schedule.batch, device, seed)
    step = stock.step(batches, optimiser, gradient_norm=schedule.rule.gradient_norm)
    seconds = run_stock(step, optimiser, schedule)
    return accuracy(stock.model, stock.images, val, device), seconds


def our_job(
    model: nn.Module,
    train: Part,
    schedule: Schedule,
    losses: Callable[[Tensor, Tensor], dict[str, Tensor]],
    seed: int,
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
        seed=seed,
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
    where: str, stills: int, ours: Sequence[Trained], peer: Sequence[Trained]
) -> list[Row]:
    """A row for each measure of the val part, and one for the seconds; means over seeds.

    Beside the means stands what each seed gave, and the interval of what ours has more.
    """
    jackknife = Jackknife.of([str(i) for i in range(stills)])
    of_ours, of_peer = (means([measures for measures, _ in each]) for each in (ours, peer))
    rows = []
    for name in of_ours:
        apart = jackknife.difference(of_ours[name], of_peer[name])
        each = [[value(table[name], stills) for table, _ in which] for which in (ours, peer)]
        total = [value(of[name], stills) for of in (of_ours, of_peer)]
        rows.append(row(f"{where}: {name}", total, each, interval=apart.ci95))
    seconds = [[taken for _, taken in which] for which in (ours, peer)]
    total = [statistics.mean(each) for each in seconds]
    return [*rows, row(f"{where}: training", total, seconds, unit="s", higher_is_better=False)]


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
) -> dict[str, Measure]:
    """Share of stills whose view is named right."""
    model.eval()
    right: list[Tensor] = []
    for pixels, labels in zip(val.pixels.split(64), val.targets.split(64), strict=True):
        with forward_passes(device, dtype_here("auto", device)):
            named = model(prepare(pixels.to(device))).argmax(dim=1).cpu()
        right.append(named == labels)
    hits = torch.cat(right).double().numpy()
    return {"accuracy": Ratio(numerator=hits, denominator=np.ones(len(hits)))}


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
    means: Sequence[float | None],
    of_seeds: Sequence[Sequence[float | None]],
    *,
    unit: str = "share",
    higher_is_better: bool = True,
    interval: tuple[float, float] | None = None,
) -> Row:
    """One row of the JSON, printed as well; first ours, then the peer."""
    ours, peer = (
        [rounded(each) for each in (mean, *of)] for mean, of in zip(means, of_seeds, strict=True)
    )
    apart = "" if interval is None else f"   difference {interval[0]:+.3f} to {interval[1]:+.3f}"
    print(f"{name:<78} {ours}   peer {peer}{apart}", flush=True)
    return {
        "name": name,
        "ours": ours[0],
        "peer": peer[0],
        "ratio": round(ours[0] / peer[0], 3) if ours[0] is not None and peer[0] else None,
        "unit": unit,
        "higher_is_better": higher_is_better,
        "difference_ci95": None if interval is None else [rounded(end) for end in interval],
        "seeds": {"ours": ours[1:], "peer": peer[1:]},
    }


def rounded(number: float | None) -> float | None:
    """To four digits."""
    return None if number is None else round(number, 4)


def write(options: argparse.Namespace, rows: Sequence[Row]) -> None:
    """The JSON file: rows, and what they depend on."""
    settings = {name: value for name, value in vars(options).items() if name not in ("data", "out")}
    document = {"machine": {**machine(best_device()), **settings}, "rows": rows}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
