"""The leak ruler on planted copies and on ARCADE, its speed, and what a leak is worth.

Copies are shifted by up to 24 of 512 pixels or cropped by up to a tenth, shown by another window
and coded as JPEG of quality 50 to 95. A pair is false if one of them is a copy of a picture that is
no near-duplicate of the other. What a leak is worth, on the
frames of Danilov et al. with folds by patient and with folds of random frames: to a method that
learns nothing, and gives each frame the boxes of the training frame most like it; and to a detector
that is trained with the same settings. On a CPU this is a small version: it shows the leak, not how
good a detector can get.

    python benchmarks/leak.py --data FOLDER --work FOLDER --out benchmarks/results/leak.json

The data folder holds ``arcade_stenosis_1200.tar``, ``arcade_views_1200.tar`` and ``danilov/`` with
``sequences_8_patients.tar`` and ``labels_8_patients.csv``. Trained runs are kept under ``--work``,
and the same command continues.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from measuring import Row, best_device, show, write
from numpy.typing import NDArray

from angioray.evaluation.detection import JudgedFrames, Matched
from angioray.evaluation.measures import value
from angioray.leak.__main__ import LeakSettings
from angioray.leak.duplicates import SeenFrame, near_duplicates, seen_frames
from angioray.leak.fingerprints import Fingerprint
from angioray.leak.stills import write_stills
from angioray.study.settings import settings_from_dict
from angioray.study.study import Study
from preprocess.cohort import Cohort, Sequence
from preprocess.cohort.display import Display
from preprocess.importers.arcade import import_arcade
from preprocess.importers.danilov import import_danilov
from preprocess.phantom.examples import FRAMES, examples

Picture = NDArray[np.uint8]
LEAST = LeakSettings().likeness
PLANTED = 600
CHESTS, COPIES = 12, 13
SIDE = 512
FOLDS = 2
SIZE = 128
SAME = 0.93
"""Likeness from which two pictures of ARCADE are one; frames of one cine have 0.89 at most."""
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


@dataclass(frozen=True)
class Planted:
    """A copy, and of which sequence."""

    frame: SeenFrame
    source: str


def main() -> None:
    """Measure, print the rows and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the public sets")
    parser.add_argument("--work", type=Path, required=True, help="a folder for cohorts and runs")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rows = []
    parts = (remembered, trained, arcade, phantoms)
    for part in (each(options.data, options.work) for each in parts):
        for row in part:
            rows.append(row)
            show(row)
        write(options.out, rows, best_device())  # stopped early, it leaves what it has measured


def phantoms(data: Path, work: Path) -> Iterator[Row]:
    """Copies of phantoms, two hearts before each chest."""
    del data, work  # it makes its own
    random = np.random.default_rng(0)
    pictures = {
        f"chest{chest}-heart{heart}": examples(5, chest)[FRAMES * heart].frame
        for chest in range(CHESTS)
        for heart in range(2)
    }
    own = [seen(name, picture) for name, picture in pictures.items()]
    planted = [
        Planted(seen(f"{name}-copy{number}", copy_of(picture, random), of_other=True), name)
        for name, picture in pictures.items()
        for number in range(COPIES)
    ]
    yield from scored("phantoms", own, planted)


def arcade(data: Path, work: Path) -> Iterator[Row]:
    """The two tasks of ARCADE, and copies planted among them."""
    stenosis, views = (arcade_cohort(data, work, name) for name in ("stenosis", "views"))
    clock, processor = time.perf_counter(), time.process_time()
    own = seen_frames(stenosis, 1, of_other=False)
    other = seen_frames(views, 1, of_other=True)
    random = np.random.default_rng(0)
    planted = []
    for frame in own[:PLANTED]:
        name = frame.sequence.sequence_id
        copy = copy_of(stenosis.frame_8bit(name, 0), random)
        planted.append(Planted(seen(f"{name}-copy", copy, of_other=True), name))
    frames = [*own, *other, *(each.frame for each in planted)]
    pairs = near_duplicates(frames, LEAST)
    taken = time.perf_counter() - clock, time.process_time() - processor
    yield Row(f"{len(frames)} pictures, making the copies included", taken[0], None, "s", {}, False)
    yield Row("the same, seconds of all cores together", taken[1], None, "CPU s", {}, False)
    between = [p for p in pairs if p.of_other and not p.other.sequence_id.endswith("-copy")]
    for name, least in (("the same picture", SAME), ("near-duplicates", LEAST)):
        chosen = [pair for pair in between if pair.likeness >= least]
        for parts in (None, ("train", "val"), ("val", "train")):
            of = [p for p in chosen if parts is None or (p.one.part, p.other.part) == parts]
            where = "" if parts is None else f", {parts[0]} and {parts[1]}"
            count = len({pair.one.sequence_id for pair in of})
            title = f"ARCADE, {name}: stenosis images of 1200 with a syntax image{where}"
            yield Row(title, count, None, "images", {})
    yield from scored("ARCADE", own, planted)


def scored(name: str, own: list[SeenFrame], planted: list[Planted]) -> Iterator[Row]:
    """Copies found, and false pairs."""
    mates = defaultdict(set)
    for pair in near_duplicates(own, LEAST):
        mates[pair.one.sequence_id].add(pair.other.sequence_id)
        mates[pair.other.sequence_id].add(pair.one.sequence_id)
    source = {each.frame.sequence.sequence_id: each.source for each in planted}
    pairs = near_duplicates([*own, *(each.frame for each in planted)], LEAST)
    found, false = set(), 0
    for pair in pairs:
        if not pair.of_other:
            continue
        one, copied = pair.one.sequence_id, source[pair.other.sequence_id]
        if one == copied:
            found.add(pair.other.sequence_id)
        else:
            false += one not in mates[copied]
    yield Row(f"{name}: planted copies found, of {len(planted)}", len(found), None, "copies", {})
    yield Row(f"{name}: false pairs", false, None, "pairs", {}, False)


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
        unpack(data / "danilov" / "sequences_8_patients.tar", source)
        shutil.copy(data / "danilov" / "labels_8_patients.csv", source)
        import_danilov(source, cines)
    if not (loose / "annotations.json").is_file():
        write_stills(Cohort.open(cines), loose)
    return cines, loose


def seen(name: str, picture: Picture, *, of_other: bool = False) -> SeenFrame:
    """A picture as a frame of a sequence of its own."""
    still = Sequence(
        sequence_id=name,
        patient_id=name,
        view=None,
        length=1,
        height=len(picture),
        width=picture.shape[1],
        bits_stored=8,
        display=Display(lower=0, upper=255),
        frames_digest="",
    )
    return SeenFrame(still, 0, of_other, Fingerprint.of(picture))


def copy_of(picture: Picture, random: np.random.Generator) -> Picture:
    """A copy as the head of this file says."""
    grey = 255 * (picture.astype(np.float32) / 255) ** random.uniform(0.7, 1.4)
    grey = (grey - 128) * random.uniform(0.75, 1.25) + 128 + random.uniform(-25, 25)
    if random.random() < 0.5:
        move = np.array([[1, 0, random.integers(-24, 25)], [0, 1, random.integers(-24, 25)]], "f4")
        grey = cv2.warpAffine(grey, move, (SIDE, SIDE))
    else:
        side = int(SIDE * random.uniform(0.9, 1))
        x, y = random.integers(SIDE - side + 1, size=2)
        grey = cv2.resize(grey[y : y + side, x : x + side], (SIDE, SIDE))
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(50, 96))]
    coded = cv2.imencode(".jpg", np.clip(grey, 0, 255).astype(np.uint8), quality)[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)


def arcade_cohort(data: Path, work: Path, name: str) -> Cohort:
    """One task of ARCADE as a cohort."""
    cohort = work / f"arcade-{name}"
    if not (cohort / "annotations.json").is_file():
        unpack(data / f"arcade_{name}_1200.tar", work / f"arcade-{name}-source")
        import_arcade(work / f"arcade-{name}-source", cohort)
    return Cohort.open(cohort)


def unpack(path: Path, folder: Path) -> None:
    """An archive's files in a folder."""
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")


if __name__ == "__main__":
    main()
