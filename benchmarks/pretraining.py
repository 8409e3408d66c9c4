"""What starting from phantoms brings on real stills: ARCADE's stenoses, at equal steps.

The demo's detector trains on ARCADE's published train part once from the weights that `phantom`
names and once from random ones, with the same steps, batches and seeds. Judged on the val part;
the interval is over its stills, of the mean over seeds. Needs torch, torchvision, numpy and
safetensors alone.

    python benchmarks/pretraining.py --data FOLDER --out benchmarks/results/pretraining.json

FOLDER holds ``arcade_stenosis_1200.tar`` (see ``arcade.py``).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arcade import Boxes, Part, Schedule, boxes_on, judged, our_job, row, run_ours, stenoses
from measuring import best_device, machine

from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.measures import MeanOf, Measure, value
from angioray.models.retinanet import RetinaNet
from angioray.models.settings import AnchorSettings, RetinaNetSettings

DEMO = RetinaNetSettings(
    size=192,
    backbone="resnet18",
    levels=(3, 4),
    channels=64,
    anchors=AnchorSettings(
        ratios=(1.0, 0.5, 2.0), scales=(0.7, 1.0, 2**0.5), base_size_strides=2.5
    ),
    focal_alpha=0.5,
    frozen_batch_norm=False,
)
"""The architecture of configs/demo.yaml."""


def main() -> None:
    """Train, judge, print a table and write the JSON."""
    device = best_device()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the archive")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=7e-4, help="AdamW's learning rate")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    schedule = Schedule("resnet18", options.batch, options.steps, options.rate, device)
    train, val = (stenoses(options.data, part, DEMO.size) for part in ("train", "val"))
    measures: dict[str, list[Mapping[str, Measure]]] = {}
    seconds: dict[str, float] = {}
    for weights in ("phantom", "none"):
        for seed in options.seeds:
            settings = replace(DEMO, weights=weights)
            found, took = trained(train, val, settings, schedule, seed)
            measures.setdefault(weights, []).append(judged(val, found))
            seconds[weights] = seconds.get(weights, 0.0) + took / len(options.seeds)
    rows = compared(measures, len(val.targets), options.steps, len(options.seeds))
    rows.append(
        row("seconds of training", seconds["phantom"], seconds["none"], unit="s")
        | {"higher_is_better": False}
    )
    settings_given = {k: v for k, v in vars(options).items() if k not in ("data", "out")}
    document = {"machine": {**machine(device), **settings_given}, "rows": rows}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(f"Wrote {options.out}.")


def trained(
    train: Part, val: Part, settings: RetinaNetSettings, schedule: Schedule, seed: int
) -> tuple[Boxes, float]:
    """Boxes on the val part of a detector that starts as the settings say, and its seconds."""
    torch.manual_seed(seed)
    model = RetinaNet(settings).to(memory_format=torch.channels_last).to(schedule.device)
    job = our_job(model, train, schedule, model.loss)
    job.batches = replace(job.batches, seed=seed)
    counts = model.lesion_tiles(train.targets.to(schedule.device))
    tiles = job.batches.most_in_a_batch(counts, schedule.steps)
    job.losses = partial(model.loss, tiles=tiles)
    seconds = run_ours(job, schedule)
    return boxes_on(val, model, schedule.device), seconds


def compared(
    measures: Mapping[str, list[Mapping[str, Measure]]], stills: int, steps: int, seeds: int
) -> list[dict[str, Any]]:
    """A row for each measure: means over seeds, and the interval of what pretraining brings."""
    jackknife = Jackknife.of([str(i) for i in range(stills)])
    rows = []
    for name in measures["phantom"][0]:
        of_seeds = [[each[name] for each in measures[which]] for which in ("phantom", "none")]
        apart = jackknife.difference(*(MeanOf(each) for each in of_seeds))
        values = [[value(m, stills) or 0.0 for m in each] for each in of_seeds]
        means = [float(np.mean(each)) for each in values]
        rows.append(
            row(f"ARCADE, {steps} steps, {seeds} seeds: {name}", *means, interval=apart.ci95)
            | {"seeds": {"ours": values[0], "peer": values[1]}}
        )
    return rows


if __name__ == "__main__":
    main()
