"""Severity from regions: how severe lesions are, by what a trained detector sees in their boxes.

A head learns from the lesions of which the answer is known (``severity_questions.py``), and a
sequence is judged by its highest lesion.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from angioray.models.regions import NO_FEATURES, pool_regions
from angioray.models.retinanet import RetinaNet
from angioray.study.selection import CohortIndex
from angioray.study.severity_questions import QUESTIONS, Question
from angioray.study.splits import Fold
from angioray.training.frames import FrameStore
from angioray.training.precision import forward_passes
from angioray.training.step import Alive, nobody_waits
from preprocess.cohort import Box
from preprocess.console.words import counted

SCHEMA_VERSION = 2
FRAMES = 6
"""Of a sequence, evenly spaced: the features of a lesion are means over them."""
LEAST_PATIENTS = 10
"""Of the training part for either answer; with fewer no head is trained."""
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Among which inner folds choose the C of the logistic regression."""
INNER_FOLDS = 5
BATCH = 32
"""Frames that the network looks at together."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Regions:
    """L lesions."""

    sequences: list[str]
    """The sequence of each."""
    instances: list[int]
    features: FloatArray
    """float64[L, C], from the network."""
    sizes: FloatArray
    """float64[L, 3], the logarithms of width, height and area of its boxes in stored pixels."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """A logistic regression of standardised features."""

    weights: FloatArray
    """float64[C], of the features as they are."""
    bias: float
    strength: float
    """Its C, the inverse of the regularisation."""

    def scores(self, features: FloatArray) -> FloatArray:
        """How probable a yes is for each lesion (float64[L]), were both answers as frequent."""
        found: FloatArray = 1 / (1 + np.exp(-(features @ self.weights + self.bias)))
        return found


def estimate_severity(
    index: CohortIndex,
    fold: Fold,
    network: torch.nn.Module,
    store: FrameStore,
    precision: torch.dtype,
    alive: Alive = nobody_waits,
) -> dict[str, Any] | None:
    """Train a head for each question on a fold's training lesions, and score its validation part.

    Args:
        index: of the cohort.
        fold: on whose training part ``network`` was trained.
        network: the detector.
        store: frames of the fold's sequences.
        precision: of forward passes.
        alive: is called again and again.

    Returns:
        The document ``severity.json``: an entry of each question to which anything is known of the
        fold's lesions. None where there is no such question.
    """
    answers = {
        question.name: answer
        for question in QUESTIONS
        if (answer := _answer(question, index, fold, network, store, precision, alive))
    }
    return {"schema_version": SCHEMA_VERSION, "questions": answers} if answers else None


def _answer(
    question: Question,
    index: CohortIndex,
    fold: Fold,
    network: torch.nn.Module,
    store: FrameStore,
    precision: torch.dtype,
    alive: Alive,
) -> dict[str, Any] | None:
    """The entry of one question; None where nothing is known of any sequence."""
    cohort = index.cohort
    known = {
        (s, lesion): answer
        for s in fold.train
        for lesion in _lesions(index, s)
        if (answer := question.of_lesion(cohort, s, lesion)) is not None
    }
    held_out = [
        s
        for s in fold.validation
        if index.lesion_frames(s, 1) and question.of_sequence(cohort, s) is not None
    ]
    if not known and not held_out:
        return None
    if reason := _too_little(question, index, known, network):
        return {"reason": reason, "sequences": []}
    assert isinstance(network, RetinaNet)
    teachers = dict.fromkeys(s for s, _ in known)
    learned = lesion_regions(index, teachers, network, store, precision, alive)
    judged = lesion_regions(index, held_out, network, store, precision, alive)
    lesions = [*zip(learned.sequences, learned.instances, strict=True)]
    rows = [row for row, lesion in enumerate(lesions) if lesion in known]
    yes = np.array([known[lesions[row]] for row in rows], dtype=bool)
    patients = [cohort.sequences[learned.sequences[row]].patient_id for row in rows]
    heads = {
        "head": fit_head(learned.features[rows], yes, patients),
        "box_size": fit_head(learned.sizes[rows], yes, patients),
    }
    return {
        "reason": "",
        "trained_on": {
            "lesions": len(yes),
            "yes": int(yes.sum()),
            "patients": len(set(patients)),
        },
        "sequences": _scored(question, index, judged, heads) if judged.sequences else [],
        "heads": {
            name: {"C": head.strength, "bias": head.bias, "weights": head.weights.tolist()}
            for name, head in heads.items()
        },
    }


def lesion_regions(
    index: CohortIndex,
    sequences: Iterable[str],
    network: RetinaNet,
    store: FrameStore,
    precision: torch.dtype,
    alive: Alive = nobody_waits,
) -> Regions:
    """What a network sees in the boxes of each lesion, averaged over frames of its sequence."""
    network.eval()
    features = defaultdict[tuple[str, int], list[FloatArray]](list)
    sizes = defaultdict[tuple[str, int], list[FloatArray]](list)
    keys = [key for s in sequences for key in index.lesion_frames(s, FRAMES)]
    for start in range(0, len(keys), BATCH):
        alive()
        batch = keys[start : start + BATCH]
        boxes = [index.cohort.boxes_by_frame[key] for key in batch]
        images = store.images(store.rows_of(batch), dtype=precision)
        inside = [_inside(found, store) for found in boxes]
        with forward_passes(store.device, precision):
            pooled = pool_regions(network, images, inside).double().cpu().numpy()
        flat = [box for of_frame in boxes for box in of_frame]
        for box, values in zip(flat, pooled, strict=True):
            x1, y1, x2, y2 = box.box_xyxy
            lesion = box.sequence_id, box.instance_id
            features[lesion].append(values)
            sizes[lesion].append(np.log([x2 - x1, y2 - y1, (x2 - x1) * (y2 - y1)]))
    lesions = sorted(features)
    return Regions(
        sequences=[sequence_id for sequence_id, _ in lesions],
        instances=[instance_id for _, instance_id in lesions],
        features=_means(features[lesion] for lesion in lesions),
        sizes=_means(sizes[lesion] for lesion in lesions),
    )


def fit_head(features: FloatArray, yes: NDArray[np.bool_], patients: Sequence[str]) -> Head:
    """Fit a logistic regression; its strength is chosen by inner folds, by patient.

    Both answers weigh alike, whatever their number, as in the published model of iFR.

    Args:
        features: float64[L, C].
        yes: bool[L], some of each.
        patients: whose lesion each is; no patient is on both sides of an inner fold.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(class_weight="balanced", solver="liblinear", random_state=0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), regression),
        {"logisticregression__C": STRENGTHS},
        scoring="roc_auc",
        cv=StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=0),
    ).fit(features, yes, groups=patients)
    scaler, regression = search.best_estimator_
    weights = regression.coef_[0] / scaler.scale_
    return Head(
        weights=weights,
        bias=float(regression.intercept_[0] - scaler.mean_ @ weights),
        strength=float(regression.C),
    )


def _lesions(index: CohortIndex, sequence_id: str) -> list[int]:
    """The lesions in the frames that are looked at."""
    boxes = index.cohort.boxes_by_frame
    keys = index.lesion_frames(sequence_id, FRAMES)
    return sorted({box.instance_id for key in keys for box in boxes[key]})


def _too_little(
    question: Question,
    index: CohortIndex,
    known: Mapping[tuple[str, int], bool],
    network: torch.nn.Module,
) -> str:
    """Why no head can be trained, as a sentence; empty if one can."""
    if not isinstance(network, RetinaNet):
        return NO_FEATURES
    patients = defaultdict[bool, set[str]](set)
    for (sequence_id, _), answer in known.items():
        patients[answer].add(index.cohort.sequences[sequence_id].patient_id)
    yes, no = len(patients[True]), len(patients[False])
    if min(yes, no) >= LEAST_PATIENTS:
        return ""
    return (
        f"{counted(yes, 'training patient')} with {question.yes} and {no} with {question.no}: "
        f"{LEAST_PATIENTS} of each are needed."
    )


def _scored(
    question: Question, index: CohortIndex, judged: Regions, heads: Mapping[str, Head]
) -> list[dict[str, Any]]:
    """Each judged sequence: the answer, its highest scores, and those of its lesions."""
    scores = {
        "head": heads["head"].scores(judged.features),
        "box_size": heads["box_size"].scores(judged.sizes),
    }
    lesions = defaultdict[str, list[dict[str, Any]]](list)
    for row, (sequence_id, instance_id) in enumerate(
        zip(judged.sequences, judged.instances, strict=True)
    ):
        of_lesion = {name: round(float(values[row]), 6) for name, values in scores.items()}
        lesions[sequence_id].append({"instance_id": instance_id, **of_lesion})
    return [
        {
            "sequence_id": sequence_id,
            "yes": question.of_sequence(index.cohort, sequence_id),
            **{name: max(lesion[name] for lesion in listed) for name in scores},
            "lesions": listed,
        }
        for sequence_id, listed in lesions.items()
    ]


def _inside(boxes: Sequence[Box], store: FrameStore) -> torch.Tensor:
    """Boxes of a frame in network pixels (float32[G, 4]), on the store's device."""
    x, y = store.scales[boxes[0].sequence_id]
    table = torch.tensor([box.box_xyxy for box in boxes]) * torch.tensor([x, y, x, y])
    return table.to(store.device)


def _means(values: Iterable[list[FloatArray]]) -> FloatArray:
    return np.array([np.mean(each, axis=0) for each in values], dtype=np.float64)
