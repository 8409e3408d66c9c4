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
from dataclasses import replace
from pathlib import Path

from arcade import Schedule, Trained, compared, judged, our_detector, stenoses, write
from measuring import best_device

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
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the archive")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=7e-4, help="AdamW's learning rate")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    schedule = Schedule(options.batch, options.steps, options.rate, best_device())
    train, val = (stenoses(options.data, part, DEMO.size) for part in ("train", "val"))
    where = f"ARCADE, {options.steps} steps, {len(options.seeds)} seeds"
    found: dict[str, list[Trained]] = {"phantom": [], "none": []}
    for weights, trained in found.items():
        for seed in options.seeds:
            settings = replace(DEMO, weights=weights)
            boxes, seconds = our_detector(train, val, settings, schedule, seed)
            trained.append((judged(val, boxes), seconds))
    write(options, compared(where, len(val.pixels), found["phantom"], found["none"]))
    print(f"Wrote {options.out}.")


if __name__ == "__main__":
    main()
