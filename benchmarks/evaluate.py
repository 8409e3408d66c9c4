"""The whole evaluation of 2000 frames beside COCOeval alone, which does its matching.

Ours is everything that a detector run is judged by: the paper's Table 3, F1, AP at 0.2, 0.5 and
0.50 to 0.95, FROC, calibration and subgroups. The peer is one COCOeval at the same eleven IoUs,
evaluated and accumulated, from COCO objects in memory. Both are given the same boxes; for each the
fastest of several repeats counts.

    python benchmarks/evaluate.py --out benchmarks/results/evaluate.json
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from angioray.evaluation.detection import (
    COCO_IOUS,
    LENIENT_IOU,
    JudgedFrames,
    Matched,
    detector_metrics,
)
from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.matching import FloatArray, Predictions

FRAMES = 2000
BOXES = 100
"""Boxes per frame, as predictions.json keeps them."""
FRAMES_PER_PATIENT = 10
REPEATS = 3


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    frames, found = drawn(np.random.default_rng(0))
    ours, metrics = fastest(lambda: detector_metrics(frames, found))
    documents = coco_documents(frames, found)
    peer, theirs = fastest(lambda: by_coco(documents))
    for name, value in theirs.items():
        assert abs(value - (metrics[name] or 0)) < 1e-9, f"{name}: {metrics[name]} and {value}"
    patients = [f"p{i // FRAMES_PER_PATIENT}" for i in range(FRAMES)]
    measures = Matched.of(frames, found).measures()
    jackknife = Jackknife.of(patients)
    with_intervals, _ = fastest(
        lambda: [jackknife.interval(measure) for measure in measures.values()]
    )
    rows = [
        _row(f"every metric of {FRAMES} frames, {BOXES} boxes each", ours, peer),
        _row("95 % intervals of every metric, over patients", with_intervals),
    ]
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    for row in rows:
        beside = "" if row["peer"] is None else f"  peer {row['peer']:.3f} s, {row['ratio']:.1f} x"
        print(f"{row['name']:64} {row['ours']:.3f} s{beside}")
    print(f"Wrote {options.out}")


def drawn(random: np.random.Generator) -> tuple[JudgedFrames, dict[int, Any]]:
    """Frames of one to three lesions, most of them found roughly, among false boxes."""
    truth, found = {}, {}
    for image_id in range(1, FRAMES + 1):
        lesions = _boxes(random, int(random.integers(1, 4)))
        near = lesions + np.tile(random.normal(0, 6, (len(lesions), 2)), 2)
        false = _boxes(random, BOXES - len(lesions))
        scores = np.concatenate([random.beta(5, 2, len(near)), random.beta(2, 5, len(false))])
        order = np.argsort(-scores)
        truth[image_id] = lesions
        found[image_id] = (np.vstack([near, false])[order], scores[order])
    ifr = {image_id: float(random.uniform(0.6, 1.0)) for image_id in truth}
    sequence = {image_id: f"s{image_id}" for image_id in truth}
    return JudgedFrames(sequence=sequence, truth=truth, ifr=ifr), found


def by_coco(documents: tuple[COCO, COCO]) -> dict[str, float]:
    """COCO's average precision, and that at IoU > 0.2."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(*documents, "bbox")
        evaluation.params.iouThrs = np.array([np.nextafter(0.2, 1), LENIENT_IOU, *COCO_IOUS])
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, -1].mean(axis=1)
    return {
        "AP@IoU0.20/max100": float(precision[0]),
        "AP@IoU0.30/max100": float(precision[1]),
        "AP@IoU0.50/max100": float(precision[2]),
        "AP@IoU0.50:0.95/max100": float(precision[2:].mean()),
    }


def coco_documents(frames: JudgedFrames, found: Predictions) -> tuple[COCO, COCO]:
    """The same truth and boxes as COCO objects."""
    truths = [(i, box, {}) for i, boxes in frames.truth.items() for box in boxes]
    boxes = [
        (i, box, {"score": float(score)})
        for i, (rectangles, scores) in found.items()
        for box, score in zip(rectangles, scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        return _coco(frames.image_ids, truths), _coco(frames.image_ids, boxes)


def fastest(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the fastest repeat, and what it returned."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def _boxes(random: np.random.Generator, count: int) -> FloatArray:
    centre, half = random.uniform(50, 460, (count, 2)), random.uniform(10, 40, (count, 2))
    return np.hstack([centre - half, centre + half])


def _coco(image_ids: list[int], rows: list[tuple[int, FloatArray, dict[str, float]]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in image_ids],
        "categories": [{"id": 1}],
        "annotations": [
            {
                **{"id": number, "image_id": i, "category_id": 1, "iscrowd": 0},
                "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
                "area": float((box[2:] - box[:2]).prod()),
                **more,
            }
            for number, (i, box, more) in enumerate(rows, start=1)
        ],
    }
    coco.createIndex()
    return coco


def _row(name: str, ours: float, peer: float | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(ours, 4),
        "peer": None if peer is None else round(peer, 4),
        "ratio": None if peer is None else round(peer / ours, 2),
        "unit": "s",
        "higher_is_better": False,
    }


if __name__ == "__main__":
    main()
