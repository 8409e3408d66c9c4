"""The label doctor: labels spoilt on purpose, and how many of them are in the cines it names first.

Phantom cohorts with 5, 10 and 20 % of their labels spoilt, each with a study of its own by the
demo's settings. The peer is ObjectLab of cleanlab (2.9 in the results that are kept), joined with
cleanlab's label quality for views; it is left out where cleanlab is not installed. The studies take
an hour on two cores, so they are kept under ``--work``, and the same command continues.

    python benchmarks/label_doctor.py --out benchmarks/results/label_doctor.json
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measuring import Row, show, write
from measuring.spoilt_labels import KINDS, spoil_cohort
from numpy.typing import NDArray

from preprocess.cohort import Cohort
from preprocess.review.doubts import doubts
from preprocess.review.predictions import Predictions, read_predictions
from preprocess.tracking.boxes import overlap

PHANTOM_SEED = 8
"""Of the archive; the constants of preprocess/review/doubts.py were tuned on seeds 0 and 7."""
PERCENT = (5, 10, 20)
DRAWS = 1000
"""Of the sequences of each cohort, for intervals of 95 %; of ties, for values."""
ON_THE_LESION = 0.2
OURS, ALONE, RANDOM = "the label doctor", "tracking and summary alone", "random order"
SCORE, CLEANLAB, BOXES = "lowest score", "cleanlab, boxes and views", "cleanlab, boxes"

Doubtful = Mapping[str, float]
"""How doubtful each sequence is; one that is not named comes last, among its like at random."""
Shares = dict[str, dict[str, NDArray[np.float64]]]
"""By method and by measure: a value of each draw."""


@dataclass(frozen=True)
class Case:
    """A spoilt cohort, what is wrong with it, and what each method says of it."""

    sequences: tuple[str, ...]
    spoilt: Mapping[str, str]
    said: Mapping[str, Doubtful]

    def shares(self, *, resampled: bool) -> Shares:
        """Of the spoilt labels: what share is among the first k and 2k, where k are spoilt.

        By kind of error among the first 2k. Every draw breaks ties anew, and has the same sequences
        for all methods and cohorts: all of them, or as many with replacement.
        """
        random = np.random.default_rng(0)
        kinds = np.array([self.spoilt.get(name, "") for name in self.sequences])
        found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for _ in range(DRAWS):
            size = len(kinds)
            drawn = random.integers(size, size=size) if resampled else np.arange(size)
            ties, spoilt = random.random(size), kinds[drawn] != ""
            k = int(spoilt.sum())
            for method, doubtful in self.said.items():
                values = np.array([doubtful.get(name, -1.0) for name in self.sequences])[drawn]
                place = np.argsort(np.lexsort((ties, -values)))
                found[method]["k"].append(_mean(place[spoilt] < k))
                found[method]["2k"].append(_mean(place[spoilt] < 2 * k))
                for kind in KINDS:
                    found[method][kind].append(_mean(place[kinds[drawn] == kind] < 2 * k))
        return {m: {name: np.array(v) for name, v in of.items()} for m, of in found.items()}


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else math.nan


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--work", type=Path, default=Path("label_doctor"), help="kept studies")
    parser.add_argument("--repeats", type=int, default=3, help="cohorts of each share of errors")
    options = parser.parse_args()
    if importlib.util.find_spec("cleanlab") is None:
        print("cleanlab is not installed: its rows are left out.")
    clean = clean_cohort(options.work)
    cases = {
        percent: [
            judged(spoilt_study(clean, options.work / f"{percent}-{repeat}", percent, repeat))
            for repeat in range(options.repeats)
        ]
        for percent in PERCENT
    }
    rows = rows_of(cases)
    for row in rows:
        show(row)
    write(options.out, rows, torch.device("cpu"))


def clean_cohort(work: Path) -> Path:
    """A phantom cohort as `make demo` has it, of another seed."""
    archive, cohort, ready = work / "archive", work / "cohort", work / "prepared"
    if not ready.exists():
        run("preprocess", "phantom", archive, "--config", "demo", "--seed", PHANTOM_SEED)
        labels = ("--labels", archive / "labels/sequences.csv", "--rois", archive / "labels/rois")
        key = ("--key", archive / "phantom.key")
        run("preprocess", "ingest", archive / "dicom", *labels, *key, "--out", cohort)
        run("preprocess", "propagate", cohort)
        ready.touch()
    return cohort


def spoilt_study(clean: Path, folder: Path, percent: int, repeat: int) -> Path:
    """The folder of a spoilt cohort, what is wrong with it, and a study of it."""
    cohort, spoilt, done = folder / "cohort", folder / "spoilt.json", folder / "trained"
    if not spoilt.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        errors = spoil_cohort(clean, cohort, percent / 100, seed=1000 * repeat + percent)
        spoilt.write_text(json.dumps(errors, indent=1))
    if not done.exists():
        study = ("--all-folds", "--config", "demo", "--runs", folder / "runs")
        run("angioray.cv", cohort, *study)
        done.touch()
    return folder


def run(module: str, *arguments: object) -> None:
    """One of the commands."""
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True)


def judged(folder: Path) -> Case:
    """What each method says of a spoilt cohort."""
    cohort = Cohort.open(folder / "cohort")
    predictions = read_predictions(cohort, folder / "runs")
    said: dict[str, Doubtful] = {
        OURS: doctored(cohort, folder / "runs"),
        ALONE: doctored(cohort, None),
        SCORE: lowest_score(cohort, predictions),
        RANDOM: {},
    }
    if importlib.util.find_spec("cleanlab") is not None:
        said |= cleanlab_says(cohort, predictions)
    spoilt = json.loads((folder / "spoilt.json").read_text())
    return Case(tuple(cohort.sequences), spoilt, said)


def doctored(cohort: Cohort, runs: Path | None) -> Doubtful:
    """The order that a reviewer meets."""
    order = list(doubts(cohort, runs))
    return {name: 1 - place / len(order) for place, name in enumerate(order)}


def lowest_score(cohort: Cohort, predictions: Predictions) -> Doubtful:
    """One minus the lowest score that the study gives to any label of a sequence."""
    scores: dict[str, list[float]] = defaultdict(list)
    for key, [found, *_] in predictions.boxes.items():
        for box in cohort.boxes_by_frame[key]:
            on = [f.score for f in found if overlap(f.box_xyxy, box.box_xyxy) >= ON_THE_LESION]
            scores[key[0]].append(max(on, default=0.0))
    for name, [probabilities, *_] in predictions.views.items():
        scores[name].append(probabilities[label_of(cohort, predictions, name)])
    return {name: 1 - min(values) for name, values in scores.items()}


def cleanlab_says(cohort: Cohort, predictions: Predictions) -> dict[str, Doubtful]:
    """One minus cleanlab's label quality: of boxes, and the worse of boxes and view."""
    from cleanlab.object_detection.rank import get_label_quality_scores as quality_of_boxes
    from cleanlab.rank import get_label_quality_scores as quality_of_classes

    keys = list(predictions.boxes)
    drawn = [np.array([b.box_xyxy for b in cohort.boxes_by_frame[key]]) for key in keys]
    labels = [{"bboxes": boxes, "labels": np.zeros(len(boxes), int)} for boxes in drawn]
    found = [
        [np.array([(*f.box_xyxy, f.score) for f in predictions.boxes[key][0]]).reshape(-1, 5)]
        for key in keys
    ]
    quality = quality_of_boxes(labels, found, verbose=False)
    boxes = {name: 1 - value for (name, _), value in zip(keys, quality, strict=True)}
    names = list(predictions.views)
    classes = sorted(predictions.views[names[0]][0])
    given = np.array([classes.index(label_of(cohort, predictions, name)) for name in names])
    probabilities = np.array([[predictions.views[n][0][c] for c in classes] for n in names])
    quality = quality_of_classes(given, probabilities / probabilities.sum(1, keepdims=True))
    views = {name: 1 - value for name, value in zip(names, quality, strict=True)}
    both = {name: max(boxes.get(name, 0.0), views.get(name, 0.0)) for name in {*boxes, *views}}
    return {BOXES: boxes, CLEANLAB: both}


def label_of(cohort: Cohort, predictions: Predictions, sequence_id: str) -> str:
    """The class of the view that a sequence is labelled with."""
    return predictions.view_class[str(cohort.sequences[sequence_id].view)]


def rows_of(cases: Mapping[int, list[Case]]) -> list[Row]:
    """By share of errors against every other method, then by kind of error."""
    drawn = {
        percent: [(case.shares(resampled=False), case.shares(resampled=True)) for case in of]
        for percent, of in cases.items()
    }
    everything = [each for of in drawn.values() for each in of]
    others = [method for method in cases[PERCENT[0]][0].said if method != OURS]
    rows = [
        _row(f"{share} spoilt: found among the first {measure}", of, measure, other)
        for share, of in (*((f"{p} %", of) for p, of in drawn.items()), ("any share", everything))
        for measure in ("k", "2k")
        for other in others
    ]
    of_kinds = [other for other in others if other in (SCORE, CLEANLAB)]
    return rows + [
        _row(f"{kind}: found among the first 2k", everything, kind, other)
        for kind in KINDS
        for other in of_kinds
    ]


def _row(name: str, cases: list[tuple[Shares, Shares]], measure: str, other: str) -> Row:
    """Means over cohorts; intervals are of those means, draw by draw."""
    (ours, peer), (our_draws, peer_draws) = (
        [
            np.nanmean([case[i][method][measure] for case in cases], axis=0)
            for method in (OURS, other)
        ]
        for i in (0, 1)
    )
    limits = {"ours": our_draws, "peer": peer_draws, "difference": our_draws - peer_draws}
    spread = {
        who: [round(float(v), 3) for v in np.nanpercentile(of, (2.5, 97.5))]
        for who, of in limits.items()
    }
    values = float(np.nanmean(ours)), float(np.nanmean(peer))
    return Row(f"{name}; peer: {other}", *values, "share of spoilt labels", spread)


if __name__ == "__main__":
    main()
