"""A small drawn cohort and the run folders that a study of it would leave, for the report."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from angioray.evaluation.detection import detector_metrics, fixed_predictions
from angioray.evaluation.fixed_boxes import best_fixed_boxes
from angioray.evaluation.views import view_metrics
from angioray.study.acquisitions import Acquisitions
from angioray.study.detector_task import coco_results
from angioray.study.frame_index import FrameIndex
from preprocess.cohort import (
    Box,
    Cohort,
    ManifestRow,
    Sequence,
    count_phantoms,
    frames_digest,
    store_cine,
    write_annotations,
    write_manifest,
)
from preprocess.cohort.display import Display

SIDE, LENGTH, REFERENCE, FOLDS = 128, 12, 6, 5
CLASSES = ("LCA", "RCA")
PLACES = {"RCA": [(40, 40), (52, 84)], "LCA": [(70, 45), (88, 70), (60, 92)]}


def write_cohort(
    folder: Path,
    *,
    patients: int = 10,
    stills: bool = False,
    phantoms: int = 0,
    views: tuple[str, str] = CLASSES,
) -> Cohort:
    """Two cines of each patient, one per view; or as many stills that name no patient.

    The first ``phantoms`` sequences are marked as phantoms. Lesions are where those of LCA and RCA
    are, whatever the views are called.
    """
    random = np.random.default_rng(0)
    sequences, boxes, rows = [], [], []
    for patient in range(patients):
        for view, of_view in zip(views, (PLACES[name] for name in CLASSES), strict=True):
            number = len(sequences)
            places = of_view[: 1 + (patient % 3 == 0)]
            centres = [np.array(place) + random.normal(0, 5, 2) for place in places]
            frames = _cine(random, of_view, centres)
            frames = frames[REFERENCE : REFERENCE + 1] if stills else frames
            bounds = {"introducing_start": 2, "optimal_start": 4, "vanishing_start": 10}
            sequence = Sequence(
                sequence_id=f"s{number:03d}",
                patient_id=f"still{number}" if stills else f"p{patient:02d}",
                view=view,
                length=len(frames),
                height=SIDE,
                width=SIDE,
                bits_stored=8,
                display=Display(lower=0, upper=255),
                frames_digest=frames_digest(frames),
                reference_frame=0 if stills else REFERENCE,
                ifr=(0.85,),
                quality_control_image=number < phantoms,
                **({} if stills else bounds),
            )
            store_cine(folder, sequence, frames)
            sequences.append(sequence)
            boxes += [
                _box(sequence.sequence_id, t, centre, instance_id=10 * number + i)
                for i, centre in enumerate(centres)
                for t in (range(1) if stills else range(4, 10))
            ]
            rows.append(
                ManifestRow(
                    hmac_sha256=f"{number:064x}",
                    status="accepted",
                    sequence_id=sequence.sequence_id,
                    patient_id=sequence.patient_id,
                    view=view,
                    reference_boxes=len(centres),
                    ifr="0.85",
                )
            )
    rows += [
        ManifestRow(
            hmac_sha256="e" * 64, status="rejected", reason="pacemaker", exclude="pacemaker"
        ),
        ManifestRow(hmac_sha256="f" * 64, status="rejected", reason="1024 x 1024, not 512 x 512"),
    ]
    write_annotations(folder, sequences, boxes)
    write_manifest(folder, rows)
    return Cohort.open(folder)


def write_study(
    runs: Path,
    cohort: Cohort,
    *,
    variants: Iterable[str] = ("B", "BG"),
    sizes: Iterable[int] = (64, 96),
    leave_out: Iterable[str] = (),
    luck: int = 0,
    seeds: int = 1,
) -> Path:
    """A runs folder whose runs are all finished, but for those left out."""
    views = sorted({str(sequence.view) for sequence in cohort.sequences.values()})
    folds = _folds(cohort, views)
    matrix = [("view", "", "", size) for size in sizes]
    matrix += [("detector", view, variant, SIDE) for view in views for variant in variants]
    listed = [
        {
            "task": task,
            "view": view,
            "variant": variant,
            "size": size,
            "fold": fold,
            "seed": fold,
            **({"repeat": repeat} if repeat else {}),
            "name": "-".join(filter(None, (task, view, variant, str(size), f"fold{fold}", again))),
        }
        for task, view, variant, size in matrix
        for fold in range(FOLDS)
        for repeat in range(seeds)
        for again in [f"seed{repeat}" if repeat else ""]
    ]
    runs.mkdir(parents=True)
    document = {
        "schema_version": 1,
        "cohort": {
            "folder": str(cohort.folder),
            "digest": cohort.digest,
            "contents": cohort.contents,
            "sequences": len(cohort.sequences),
            "phantoms": count_phantoms(cohort.sequences.values()),
            "patients": len({s.patient_id for s in cohort.sequences.values()}),
        },
        "settings": {
            "seed": 0,
            "seeds": seeds,
            "folds": FOLDS,
            "detector": {"steps": 3500, "batch_size": 32},
        },
        "view_classes": {view: view for view in views},
        "splits_sha256": "0123456789abcdef" * 4,
        "splits": {
            "view": {"unit": "sequence", "folds": folds["view"]},
            **{f"detector/{v}": {"unit": "patient", "folds": folds[v]} for v in views},
        },
        "runs": listed,
    }
    (runs / "study.json").write_text(json.dumps(document))
    left_out = set(leave_out)
    for number, run in enumerate(listed):
        if run["name"] in left_out:
            continue
        folder = runs / run["name"]
        folder.mkdir()
        random = np.random.default_rng(number + luck)
        _write_training(folder, random)
        if run["task"] == "view":
            _finish_view(folder, run, folds["view"][run["fold"]], cohort, views, random)
        else:
            _finish_detector(folder, run, folds[run["view"]][run["fold"]], cohort, random)
    return runs


def fail(runs: Path, name: str, reason: str) -> None:
    """Make a run one that failed."""
    (runs / name).mkdir(exist_ok=True)
    (runs / name / "result.json").unlink(missing_ok=True)
    document = {"reason": reason, "traceback": "Traceback ..."}
    (runs / name / "failure.json").write_text(json.dumps(document))


def _cine(random: np.random.Generator, course: list, centres: list) -> np.ndarray:
    """Dark vessels through the places, narrowed at the lesions, over a noisy background."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    base = 150 + 50 * np.sin(2 * x + random.uniform(0, 3)) + 30 * np.cos(3 * y)
    ends = [(10, 15), *course, (110, 118)]
    frames = np.empty((LENGTH, SIDE, SIDE), np.uint8)
    for t in range(LENGTH):
        picture = base.astype(np.float32).copy()
        if 2 <= t < 11:
            vessel = np.zeros((SIDE, SIDE), np.float32)
            path = np.array(ends, np.int32)
            cv2.polylines(vessel, [path], False, 1.0, 5, cv2.LINE_AA)
            cv2.polylines(vessel, [path + np.int32([25, -12])], False, 0.8, 3, cv2.LINE_AA)
            for centre in centres:
                cv2.circle(vessel, tuple(int(v) for v in centre), 4, 0.35, -1, cv2.LINE_AA)
            picture -= 90 * cv2.GaussianBlur(vessel, (0, 0), 0.8)
        frames[t] = np.clip(picture + random.normal(0, 8, picture.shape), 0, 255)
    return frames


def _box(sequence_id: str, t: int, centre: np.ndarray, *, instance_id: int) -> Box:
    half = np.array([9.0 + instance_id % 7, 8.0 + instance_id % 5])
    low, high = np.clip(centre - half, 0, SIDE), np.clip(centre + half, 0, SIDE)
    return Box(
        sequence_id=sequence_id,
        frame_index=t,
        box_xyxy=(*low.tolist(), *high.tolist()),
        instance_id=instance_id,
    )


def _folds(cohort: Cohort, views: list[str]) -> dict[str, list[dict[str, list[str]]]]:
    """By sequence for the views, by patient for each detector."""
    members = list(cohort.sequences.values())
    cuts = {"view": [members[fold::FOLDS] for fold in range(FOLDS)]}
    for view in views:
        of_view = [s for s in members if s.view == view]
        cuts[view] = [of_view[fold::FOLDS] for fold in range(FOLDS)]
    return {
        key: [
            {
                "train": [s.sequence_id for other in parts if other is not part for s in other],
                "validation": [s.sequence_id for s in part],
            }
            for part in parts
        ]
        for key, parts in cuts.items()
    }


def _write_training(folder: Path, random: np.random.Generator) -> None:
    steps = np.arange(10, 3501, 10)
    losses = 0.1 + 1.2 * np.exp(-steps / 500) + random.gamma(2, 0.02, len(steps))
    lines = [
        {"step": int(step), "loss": round(float(loss), 4), "learning_rate": 8e-4}
        for step, loss in zip(steps, losses, strict=True)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    environment = {
        "python": "3.11.7",
        "packages": {"torch": "2.15.0"},
        "device": "cpu",
        "git": {"commit": "cbce1a8", "changed": False},
    }
    (folder / "environment.json").write_text(json.dumps(environment))


def _finish(folder: Path, run: dict, predictions: list, images: list[int], **details) -> None:
    (folder / "predictions.json").write_text(json.dumps(predictions))
    (folder / "evaluated_images.json").write_text(json.dumps(images))
    identity = {k: run[k] for k in ("task", "view", "variant", "size", "fold", "seed")}
    result = {"schema_version": 1, **identity, "steps": 3500, "seconds": 93.5, **details}
    result["acquisitions"] = Acquisitions(sides=((SIDE, SIDE),), mean_grey=(130, 160)).as_json()
    (folder / "result.json").write_text(json.dumps(result))


def _finish_view(
    folder: Path,
    run: dict,
    fold: dict,
    cohort: Cohort,
    views: list[str],
    random: np.random.Generator,
) -> None:
    images = [_image(cohort, s) for s in fold["validation"]]
    labels = [str(cohort.sequences[s].view) for s in fold["validation"]]
    right = np.clip(random.beta(8, 1.5, len(labels)), 0.01, 0.99)
    probabilities = np.array(
        [
            [p if name == label else 1 - p for name in views]
            for p, label in zip(right, labels, strict=True)
        ]
    )
    predictions = [
        {"image_id": i, "probabilities": dict(zip(views, row.tolist(), strict=True))}
        for i, row in zip(images, probabilities, strict=True)
    ]
    metrics = view_metrics(labels, probabilities, views)
    _finish(folder, run, predictions, images, metrics=metrics, classes=views)


def _finish_detector(
    folder: Path, run: dict, fold: dict, cohort: Cohort, random: np.random.Generator
) -> None:
    images = {_image(cohort, s): s for s in fold["validation"]}
    truth = {i: _lesions(cohort, s) for i, s in images.items()}
    found = {i: _guesses(boxes, random) for i, boxes in truth.items()}
    training = {_image(cohort, s): _lesions(cohort, s) for s in fold["train"]}
    fixed = best_fixed_boxes(training)
    judged = FrameIndex(cohort=cohort).judged(images)
    metrics = detector_metrics(judged, found, baseline=fixed_predictions(fixed, images))
    xywh = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in fixed.tolist()]
    _finish(folder, run, coco_results(found), list(images), metrics=metrics, fixed_boxes=xywh)


def _image(cohort: Cohort, sequence_id: str) -> int:
    return cohort.image_id(sequence_id, cohort.sequences[sequence_id].reference_frame)


def _lesions(cohort: Cohort, sequence_id: str) -> np.ndarray:
    boxes = cohort.boxes_by_frame[sequence_id, cohort.sequences[sequence_id].reference_frame]
    return np.array([box.box_xyxy for box in boxes])


def _guesses(lesions: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Most lesions, roughly, and a few places without one; best first."""
    near = lesions + random.normal(0, 4, lesions.shape)
    corner = random.uniform(5, 95, (random.integers(1, 4), 2))
    boxes = np.vstack([near, np.hstack([corner, corner + 22])])
    scores = np.concatenate([random.beta(5, 2, len(near)), random.beta(2, 4, len(corner))])
    order = np.argsort(-scores)
    return boxes[order], scores[order]
