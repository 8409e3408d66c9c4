"""What the finished runs of a group predicted out of fold, joined with the cohort's truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from angioray.evaluate import PAPER, fixed_predictions, match_with
from angioray.matching import FloatArray, Matches, match_frames
from angioray.report.runs import Group, ReportedRun
from preprocess.cohort import Cohort

BoxesAndScores = dict[int, tuple[FloatArray, FloatArray]]


@dataclass(frozen=True, kw_only=True)
class FrameIndex:
    """The cohort's frames by COCO image id."""

    cohort: Cohort

    @cached_property
    def _frames(self) -> dict[int, tuple[str, int]]:
        return {
            first + t: (sequence_id, t)
            for sequence_id, first in self.cohort.first_image_id.items()
            for t in range(self.cohort.sequences[sequence_id].length)
        }

    def frame(self, image_id: int) -> tuple[str, int]:
        """The sequence and the 0-based index of a frame."""
        return self._frames[image_id]

    def sequence_ids(self, image_ids: Iterable[int]) -> dict[int, str]:
        """The sequence of each frame."""
        return {image_id: self._frames[image_id][0] for image_id in image_ids}

    def patients(self, image_ids: Iterable[int]) -> list[str]:
        """The patient of each frame."""
        sequences = self.cohort.sequences
        return [sequences[self._frames[image_id][0]].patient_id for image_id in image_ids]

    def truth(self, image_ids: Iterable[int]) -> dict[int, FloatArray]:
        """The lesions of each frame that has any (float64[G, 4], xyxy in stored pixels)."""
        boxes = self.cohort.boxes_by_frame
        found = ((image_id, boxes.get(self._frames[image_id], [])) for image_id in image_ids)
        return {
            image_id: np.array([box.box_xyxy for box in lesions], dtype=np.float64)
            for image_id, lesions in found
            if lesions
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectorEvidence:
    """A detector group's predictions on all evaluated frames of its finished folds."""

    group: Group
    frames: FrameIndex
    folds: dict[int, list[int]]
    """The evaluated frames of each finished fold."""
    predictions: BoxesAndScores
    fixed: BoxesAndScores
    """The baseline's boxes, those of each frame's own fold."""

    @classmethod
    def of(cls, group: Group, frames: FrameIndex) -> DetectorEvidence:
        """Read the group's predictions."""
        folds, predictions, fixed = {}, {}, {}
        for run in group.finished:
            assert run.result is not None
            folds[run.fold] = [int(image_id) for image_id in run.read("evaluated_images.json")]
            predictions.update(_predictions(run))
            boxes = xyxy(np.array(run.result.get("fixed_boxes", []), dtype=np.float64))
            fixed.update(fixed_predictions(boxes, folds[run.fold]))
        return cls(group=group, frames=frames, folds=folds, predictions=predictions, fixed=fixed)

    @cached_property
    def image_ids(self) -> list[int]:
        """Every evaluated frame, in order."""
        return sorted(image_id for ids in self.folds.values() for image_id in ids)

    @cached_property
    def truth(self) -> dict[int, FloatArray]:
        """The lesions of the evaluated frames."""
        return self.frames.truth(self.image_ids)

    @cached_property
    def matches(self) -> Matches:
        """Pooled over folds, at the paper's IoU."""
        return match_with(self.truth, self.predictions, self.image_ids, PAPER)

    @cached_property
    def strict_matches(self) -> Matches:
        """The same at IoU 0.5."""
        return match_frames(self.truth, self.predictions, self.image_ids, iou_threshold=0.5)

    @cached_property
    def fixed_matches(self) -> Matches:
        """What the fixed boxes find."""
        return match_with(self.truth, self.fixed, self.image_ids, PAPER)

    def fold_matches(self) -> dict[int, Matches]:
        """Each fold by itself."""
        return {
            fold: match_with(self.truth, self.predictions, ids, PAPER)
            for fold, ids in self.folds.items()
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewEvidence:
    """A view group's probabilities on all evaluated frames of its finished folds."""

    group: Group
    frames: FrameIndex
    classes: tuple[str, ...]
    image_ids: list[int]
    folds: list[int]
    """The fold of each frame."""
    labels: list[str]
    probabilities: FloatArray
    """float64[N, K]."""

    @classmethod
    def of(
        cls, group: Group, frames: FrameIndex, view_class: dict[str, str]
    ) -> ViewEvidence | None:
        """Read the group's predictions; None without any."""
        rows = [
            (int(row["image_id"]), run.fold, row["probabilities"])
            for run in group.finished
            for row in run.read("predictions.json")
        ]
        if not rows:
            return None
        classes = tuple(sorted({name for _, _, row in rows for name in row}))
        sequences = frames.cohort.sequences
        views = [sequences[frames.frame(image_id)[0]].view or "" for image_id, _, _ in rows]
        return cls(
            group=group,
            frames=frames,
            classes=classes,
            image_ids=[image_id for image_id, _, _ in rows],
            folds=[fold for _, fold, _ in rows],
            labels=[view_class.get(view, view) for view in views],
            probabilities=np.array([[row.get(name, 0.0) for name in classes] for *_, row in rows]),
        )


def xyxy(boxes_xywh: FloatArray) -> FloatArray:
    """COCO's boxes (float[N, 4]) as corners."""
    boxes = boxes_xywh.reshape(-1, 4)
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


def _predictions(run: ReportedRun) -> BoxesAndScores:
    rows = defaultdict(list)
    for row in run.read("predictions.json") or []:
        rows[int(row["image_id"])].append((*row["bbox"], row["score"]))
    tables = {image_id: np.array(found, dtype=np.float64) for image_id, found in rows.items()}
    return {image_id: (xyxy(table[:, :4]), table[:, 4]) for image_id, table in tables.items()}
