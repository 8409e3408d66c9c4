"""What the networks of a study said of frames that they had not trained on, by its files alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from preprocess.cohort import Cohort
from preprocess.storage import Location, Storage, open_storage
from preprocess.tracking.boxes import BoxXyxy

STUDY_FILE = "study.json"
IMAGES = ("sequence_id", "length", "height", "width", "frames_digest")
"""Attributes that say which picture an image id is; a review changes none of them."""

FrameKey = tuple[str, int]
"""sequence_id and 0-based index of a frame."""


@dataclass(frozen=True, kw_only=True)
class FoundBox:
    """A box that a detector found; its score runs from 0 to 1."""

    box_xyxy: BoxXyxy
    score: float


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Out-of-fold predictions of a study's finished runs: nobody speaks of what it trained on.

    Attributes:
        boxes: by frame: the boxes of each detector that was judged on it (one for every variant),
            best first.
        views: by sequence: the probability of each view class from each classifier (one for every
            size).
        view_class: the class of each view name.
    """

    boxes: dict[FrameKey, list[list[FoundBox]]] = field(default_factory=dict)
    views: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    view_class: Mapping[str, str] = field(default_factory=dict)


def read_predictions(cohort: Cohort, runs: Location) -> Predictions:
    """What the finished runs of a study predicted on a cohort, whose labels may have changed since.

    Args:
        cohort: with the sequences and pixels that the study was made with.
        runs: the study's runs folder.

    Raises:
        ValueError: there is no study, it is of other sequences or pixels, or a file is damaged.
    """
    folder = open_storage(runs)
    if not folder.exists(STUDY_FILE):
        raise ValueError(
            f"{folder} is no runs folder: it has no {STUDY_FILE}, or does not exist. Give the "
            "folder that `python -m angioray.cv` wrote its runs to."
        )
    with _reading(folder, STUDY_FILE) as study:
        changed = _other_images(cohort, study["cohort"])
        found = Predictions(view_class=dict(study["view_classes"]))
        listed = [(folder / run["name"], run["task"]) for run in study["runs"]]
    if changed:
        raise ValueError(
            f"The study in {folder} cannot be laid on this cohort, which has {changed} since it "
            "began; labels alone may change. Give the runs of a study of this cohort, or run the "
            "study again into another folder."
        )
    frames = {
        first + t: (sequence_id, t)
        for sequence_id, first in cohort.first_image_id.items()
        for t in range(cohort.sequences[sequence_id].length)
    }
    for files, task in listed:
        if not files.exists("result.json"):  # unfinished: it is written last
            continue
        with _reading(files, "evaluated_images.json") as image_ids:
            judged = [frames[image_id] for image_id in image_ids]
        with _reading(files, "predictions.json") as predicted:
            rows = [(frames[row["image_id"]], row) for row in predicted]
            if task == "view":
                for (sequence_id, _), row in rows:
                    probabilities = {name: _number(p) for name, p in row["probabilities"].items()}
                    found.views.setdefault(sequence_id, []).append(probabilities)
                continue
            boxes: dict[FrameKey, list[FoundBox]] = {key: [] for key in judged}
            for key, row in rows:
                boxes[key].append(_found_box(row))
        for key, of_frame in boxes.items():
            best_first = sorted(of_frame, key=lambda box: -box.score)
            found.boxes.setdefault(key, []).append(best_first)
    return found


def _found_box(row: Mapping[str, Any]) -> FoundBox:
    x, y, width, height = map(_number, row["bbox"])
    return FoundBox(box_xyxy=(x, y, x + width, y + height), score=_number(row["score"]))


def _number(value: Any) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError(f"{number} is no number")
    return number


def _other_images(cohort: Cohort, kept: Mapping[str, Any]) -> str:
    """What of a study's cohort makes its image ids mean other pictures here, in words; or nothing.

    An id is counted through the sequences in their order and with their lengths.
    """
    if kept["digest"] == cohort.digest:
        return ""
    if "contents" not in kept:  # begun by a version that did not note the parts
        return "other annotations or pixels"
    old, new = kept["contents"], cohort.contents
    same = list(old["sequences"]) == list(new["sequences"]) and all(
        old["attributes"][name] == new["attributes"][name] for name in IMAGES
    )
    return "" if same else cohort.changes(kept["digest"], old)


@contextmanager
def _reading(folder: Storage, name: str) -> Iterator[Any]:
    """A JSON file, and one sentence for whatever it raises that is not as it was written.

    Raises:
        ValueError: it is not.
    """
    document = folder.read_json(name)
    try:
        yield document
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as problem:
        raise ValueError(
            f"{folder / name} is not what was written ({problem!r:.100}). Put it back from a "
            "copy, or leave --runs away: the other doubts need no study."
        ) from problem
