"""What a leak is worth: detectors under folds by patient, and under folds of random frames.

On the frames of Danilov et al., twice: a method that learns nothing, and gives each frame the boxes
of the training frame most like it; and a detector that is trained with the same settings. On a CPU
this is a small version: it shows the leak, not how good a detector can get.

    python benchmarks/leak_worth.py --data FOLDER --work FOLDER --out FILE

The data folder holds ``danilov/`` with ``sequences_8_patients.tar`` and ``labels_8_patients.csv``.
Trained runs are kept under ``--work``, and the same command continues.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml
from measuring import Row, measure_parts
from numpy.typing import NDArray

from angioray.evaluation.detection import JudgedFrames, Matched
from angioray.evaluation.measures import value
from angioray.leak.fingerprints import Fingerprint
from angioray.leak.stills import write_stills
from angioray.study.settings import settings_from_dict
from angioray.study.study import Study
from preprocess.cohort import Cohort
from preprocess.importers.danilov import import_danilov

FOLDS = 2
SIZE = 128
AP = ("AP@IoU0.20", "AP@IoU0.50/max100")
SETTINGS = {
    "tasks": ["detector"],
    "folds": FOLDS,
    "detector": {
        "variants": ["B"],
        "size": SIZE,
        "backbone": "resnet18",
        "weights": "phantom",
        "levels": [3, 4],
        "channels": 64,
        "anchors": {
            "ratios": [1.0, 0.5, 2.0],
            "scales": [0.7, 1.0, 1.4142135623730951],
            "base_size_strides": 1.0,
        },
        "focal_alpha": 0.75,
        "steps": 200,
        "batch_size": 8,
        "judged_frames": "optimal",
        "optimiser": {
            "name": "adamw",
            "learning_rate": 6e-4,
            "warmup_steps": 10,
            "decay": "cosine",
            "gradient_norm": 10.0,
        },
        "augmentation": {"brightness": 0.1, "contrast": 0.1},
    },
}


def remembered(data: Path, work: Path) -> Iterator[Row]:
    """AP of a method that copies the boxes of the training frame most like the judged one."""
    cines, loose = danilov_cohorts(data, work)
    stills = Cohort.open(loose)
    names = list(stills.sequences)
    pictures = [Fingerprint.of(stills.frame_8bit(name, 0)).pattern for name in names]
    edges = np.stack(pictures).reshape(len(names), -1).astype(np.float32) - 128
    edges /= np.linalg.norm(edges, axis=1, keepdims=True)
    alike = edges @ edges.T
    cine = np.array([name.rpartition("-")[0] for name in names])
    settings = settings_from_dict(SETTINGS)
    values: dict[str, list[list[float]]] = {}
    for kind, cohort, unit in (
        ("patients", Cohort.open(cines), cine),
        ("frames", stills, np.array(names)),
    ):
        folds = Study.plan(cohort, work / "unused", settings).splits["detector/all"]
        values[kind] = [
            copied_boxes(stills, names, alike, np.isin(unit, fold.validation)) for fold in folds
        ]
    yield from by_both("boxes of the training frame most alike", values)


def copied_boxes(
    stills: Cohort, names: list[str], alike: NDArray[np.float32], judged: NDArray[np.bool_]
) -> list[float]:
    """AP on the judged stills (bool[N]) by the boxes of the others."""
    boxes = {
        i: np.array([box.box_xyxy for box in stills.boxes_by_frame[name, 0]], np.float64)
        for i, name in enumerate(names)
    }
    validation, training = np.flatnonzero(judged), np.flatnonzero(~judged)
    found = {}
    for i in map(int, validation):
        nearest = int(training[np.argmax(alike[i, training])])
        found[i] = boxes[nearest], np.full(len(boxes[nearest]), alike[i, nearest], np.float64)
    frames = JudgedFrames(
        sequence={int(i): names[i] for i in validation},
        truth={int(i): boxes[i] for i in validation},
    )
    measures = Matched.of(frames, found).measures()
    return [value(measures[name], len(validation)) or 0.0 for name in AP]


def trained(data: Path, work: Path) -> Iterator[Row]:
    """AP of a detector that is trained with the same settings."""
    settings = work / "settings.yaml"
    settings.write_text(yaml.safe_dump(SETTINGS))
    values: dict[str, list[list[float]]] = defaultdict(list)
    for kind, cohort in zip(("patients", "frames"), danilov_cohorts(data, work), strict=True):
        for fold in range(FOLDS):
            runs = work / f"runs-{kind}"
            run = f"detector-all-B-{SIZE}-fold{fold}"
            command = ["angioray.train", cohort, run, "--config", settings, "--runs", runs]
            subprocess.run([sys.executable, "-m", *map(str, command)], check=True)
            metrics = json.loads((runs / run / "result.json").read_text("utf-8"))["metrics"]
            values[kind].append([metrics[name] for name in AP])
    yield from by_both("trained detector", values)


def by_both(what: str, values: dict[str, list[list[float]]]) -> Iterator[Row]:
    """Rows of AP under both kinds of folds; the spread is that of the folds."""
    for column, metric in enumerate(AP):
        of = {kind: [fold[column] for fold in folds] for kind, folds in values.items()}
        spread = {
            who: [round(min(of[kind]), 3), round(max(of[kind]), 3)]
            for who, kind in (("ours", "patients"), ("peer", "frames"))
        }
        means = [float(np.mean(of[kind])) for kind in ("patients", "frames")]
        title = f"Danilov, {what}, {metric}: folds by patient, and of random frames"
        yield Row(title, *means, "AP", spread)


def danilov_cohorts(data: Path, work: Path) -> tuple[Path, Path]:
    """The cines with their patients, and their frames cut loose."""
    cines, loose = work / "danilov-patients", work / "danilov-frames"
    if not (cines / "annotations.json").is_file():
        source = work / "danilov-source"
        with tarfile.open(data / "danilov" / "sequences_8_patients.tar") as archive:
            archive.extractall(source, filter="data")
        shutil.copy(data / "danilov" / "labels_8_patients.csv", source)
        import_danilov(source, cines)
    if not (loose / "annotations.json").is_file():
        write_stills(Cohort.open(cines), loose)
    return cines, loose


if __name__ == "__main__":
    measure_parts(__doc__, remembered, trained)
