"""What the networks of a study said of frames that they had not trained on, by its files alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from preprocess.cohort import Cohort, Sequence, cine_is_stored, stored_sequence
from preprocess.cohort.annotations import first_image_ids
from preprocess.cohort.contents import contents_of, facts_of
from preprocess.storage import Location, Storage, open_storage
from preprocess.tracking.boxes import BoxXyxy

STUDY_FILE = "study.json"
PICTURES = ("length", "height", "width", "frames_digest")
"""Attributes of a sequence that say which pictures it has; a review changes none of them."""

_DAMAGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What the reading of a file raises whose content is not what was written."""

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

    Of a fold with several seeds the first speaks.

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
        cohort: may have new sequences as well, and lack those that a review excluded.
        runs: the study's runs folder.

    Raises:
        ValueError: there is no study, it is of other cines, or a file is damaged.
    """
    folder = open_storage(runs)
    if not folder.exists(STUDY_FILE):
        raise ValueError(
            f"{folder} is no runs folder: it has no {STUDY_FILE}, or does not exist. Give the "
            "folder that `python -m angioray.cv` wrote its runs to."
        )
    with _reading(folder, STUDY_FILE) as study:
        kept = study["cohort"]
        changed = cohort.changes(kept["digest"], kept.get("contents"))
        sequences = _sequences_of(kept, cohort) if changed else cohort.sequences
        found = Predictions(view_class=dict(study["view_classes"]))
        first_seeds = [run for run in study["runs"] if not run.get("repeat")]
        listed = [(folder / run["name"], run["task"]) for run in first_seeds]
    if not sequences:
        raise ValueError(
            f"The study in {folder} cannot be laid on this cohort, which has {changed} since it "
            "began; labels alone may change. Give the runs of a study of this cohort, or run the "
            "study again into another folder."
        )
    frames = {
        first + t: (sequence_id, t)
        for sequence_id, first in first_image_ids(sequences.values()).items()
        for t in range(sequences[sequence_id].length)
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
                    if sequence_id in cohort.sequences:
                        found.views.setdefault(sequence_id, []).append(probabilities)
                continue
            boxes: dict[FrameKey, list[FoundBox]] = {key: [] for key in judged}
            for key, row in rows:
                if key in boxes:  # the others are of healthy arteries
                    boxes[key].append(_found_box(row))
        for key, of_frame in boxes.items():
            if key[0] in cohort.sequences:
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


def _sequences_of(study: Mapping[str, Any], cohort: Cohort) -> dict[str, Sequence]:
    """The sequences of a study's cohort, in whose order and lengths its image ids are counted.

    Others may be new since then, and some may have been excluded, of which the cines are kept. None
    at all where a cine is gone or has other pixels, so that an id may mean another picture.
    """
    if "contents" not in study:  # begun by a version that did not note the parts
        return {}
    sequences = {}
    for name in study["contents"]["sequences"]:
        if name in cohort.sequences:
            sequences[name] = cohort.sequences[name]
        elif cine_is_stored(cohort.folder, name):
            sequences[name] = stored_sequence(cohort.folder, name)
        else:
            return {}
    _, contents = contents_of(sequences, facts_of(sequences, (), ()))
    old, new = study["contents"]["attributes"], contents["attributes"]
    return sequences if all(old[name] == new[name] for name in PICTURES) else {}


@contextmanager
def _reading(folder: Storage, name: str) -> Iterator[Any]:
    """A JSON file, and one sentence for whatever it raises that is not as it was written.

    Raises:
        ValueError: it is not, or is missing.
    """
    advice = "Put it back from a copy, or leave --runs away: the other doubts need no study."
    content = folder.read(name)
    if content is None:
        raise ValueError(f"{folder / name} is missing, though its run has finished. {advice}")
    try:
        yield json.loads(content)
    except _DAMAGE as problem:
        raise ValueError(
            f"{folder / name} is not what was written ({problem!r:.100}). {advice}"
        ) from problem
