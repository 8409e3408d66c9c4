"""The out-of-fold predictions of a group's finished runs, joined with the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from angioray.evaluation.detection import Matched, fixed_predictions
from angioray.evaluation.healthy import healthy_measures
from angioray.evaluation.matching import FloatArray, Matches, Truth
from angioray.evaluation.measures import Measure, means
from angioray.evaluation.views import view_measures
from angioray.report.runs import Group, ReportedRun
from angioray.study.frame_index import FrameIndex
from angioray.study.run_folder import HEALTHY_IMAGES

BoxesAndScores = dict[int, tuple[FloatArray, FloatArray]]


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
    healthy: dict[int, dict[int, str | None]]
    """By fold: the patient of each healthy frame that was judged beside the evaluated ones, None
    where the patient has a lesion in this view. Without the folds of earlier versions, which judged
    none."""
    others: tuple[DetectorEvidence, ...] = ()
    """Of the group's other seeds that count; all else is of the first of these."""

    @classmethod
    def of(cls, group: Group, frames: FrameIndex) -> DetectorEvidence:
        """Read the predictions of a group with finished runs.

        Raises:
            ValueError: a file is not what was written, or seeds were judged on other frames.
        """
        first, *others = (cls._of_seed(each, frames) for each in group.counted)
        if any(other.image_ids != first.image_ids for other in others):
            raise _of_other_frames(group)
        return replace(first, group=group, others=tuple(others))

    def measures(self, image_ids: list[int]) -> dict[str, Measure]:
        """Every measure on some of the frames by name, the mean of all seeds."""
        seeds = (self, *self.others)
        return means([each._matched(sorted(image_ids)).measures() for each in seeds])

    @classmethod
    def _of_seed(cls, group: Group, frames: FrameIndex) -> DetectorEvidence:
        folds, predictions, fixed, healthy = {}, {}, {}, {}
        for run in group.finished:
            assert run.result is not None
            listed = run.read("evaluated_images.json")
            with run.reading("evaluated_images.json"):
                folds[run.fold] = [int(image_id) for image_id in listed]
                for image_id in folds[run.fold]:
                    frames.frame(image_id)  # a frame of the cohort
            predictions.update(_predictions(run))
            with run.reading("result.json"):
                boxes = xyxy(np.array(run.result.get("fixed_boxes", []), dtype=np.float64))
            fixed.update(fixed_predictions(boxes, folds[run.fold]))
            if (rows := run.read(HEALTHY_IMAGES)) is not None:
                with run.reading(HEALTHY_IMAGES):
                    healthy[run.fold] = frames.healthy_patients(rows)
        return cls(
            group=group,
            frames=frames,
            folds=folds,
            predictions=predictions,
            fixed=fixed,
            healthy=healthy,
        )

    @cached_property
    def image_ids(self) -> list[int]:
        """Every evaluated frame, in order."""
        return sorted(image_id for ids in self.folds.values() for image_id in ids)

    @cached_property
    def healthy_patients(self) -> dict[int, str | None]:
        """The healthy frames of all folds, and their patients, as in ``healthy``."""
        return {i: patient for of in self.healthy.values() for i, patient in of.items()}

    @property
    def all_image_ids(self) -> list[int]:
        """Frames with boxes and healthy ones of the folds that judged both, in order."""
        evaluated = (image_id for fold in self.healthy for image_id in self.folds[fold])
        return sorted([*evaluated, *self.healthy_patients])

    def healthy_measures(self) -> dict[str, Measure]:
        """The measures that healthy arteries enter, of :attr:`all_image_ids`, by name.

        The mean of all seeds that were judged on these frames.
        """
        frames, healthy = self.frames.judged(self.all_image_ids), self.healthy_patients
        same = (each for each in (self, *self.others) if each.healthy_patients == healthy)
        return means([healthy_measures(frames, each.predictions, healthy) for each in same])

    @cached_property
    def matched(self) -> Matched:
        """Pooled over folds."""
        frames = self.frames.judged(self.image_ids)
        return Matched.of(frames, self.predictions, baseline=self.fixed)

    @cached_property
    def matched_folds(self) -> dict[int, Matched]:
        """Each fold by itself."""
        return {fold: self._matched(sorted(ids)) for fold, ids in self.folds.items()}

    @property
    def truth(self) -> Truth:
        """The lesions of the evaluated frames."""
        return self.matched.frames.truth

    @property
    def matches(self) -> Matches:
        """Pooled over folds, at the paper's IoU and number of boxes."""
        return self.matched.best

    @property
    def matches_on_healthy(self) -> Matches:
        """The same of the healthy frames: none is right."""
        return self._matched(sorted(self.healthy_patients)).best

    def _matched(self, image_ids: list[int]) -> Matched:
        if image_ids == self.image_ids:
            return self.matched
        return Matched.of(self.frames.judged(image_ids), self.predictions, baseline=self.fixed)


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
    others: tuple[ViewEvidence, ...] = ()
    """Of the group's other seeds that count; all else is of the first of these."""

    @classmethod
    def of(
        cls, group: Group, frames: FrameIndex, view_class: dict[str, str]
    ) -> ViewEvidence | None:
        """Read the predictions of a group; None without any.

        Raises:
            ValueError: a file is not what was written, or seeds were judged on other frames.
        """
        seeds = (cls._of_seed(each, frames, view_class) for each in group.counted)
        if not (read := [seed for seed in seeds if seed is not None]):
            return None
        first, *others = read
        if any(sorted(each.image_ids) != sorted(first.image_ids) for each in others):
            raise _of_other_frames(group)
        aligned = tuple(each.of_images(first.image_ids) for each in others)
        return replace(first, group=group, others=aligned)

    @classmethod
    def _of_seed(
        cls, group: Group, frames: FrameIndex, view_class: dict[str, str]
    ) -> ViewEvidence | None:
        rows = [
            (row["image_id"], run.fold, row["probabilities"])
            for run in group.finished
            for row in _probabilities(run, frames)
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

    def of_images(self, image_ids: Sequence[int]) -> ViewEvidence:
        """The same of some of its frames, in this order."""
        place = {image_id: row for row, image_id in enumerate(self.image_ids)}
        rows = [place[image_id] for image_id in image_ids]
        return replace(
            self,
            image_ids=list(image_ids),
            folds=[self.folds[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            probabilities=self.probabilities[rows],
            others=tuple(other.of_images(image_ids) for other in self.others),
        )

    def measures(self) -> dict[str, Measure]:
        """Every measure of the classifier by name, the mean of all seeds."""
        seeds = (self, *self.others)
        return means(
            [view_measures(each.labels, each.probabilities, each.classes) for each in seeds]
        )


def xyxy(boxes_xywh: FloatArray) -> FloatArray:
    """COCO's boxes (float[N, 4]) as corners."""
    boxes = boxes_xywh.reshape(-1, 4)
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


def _of_other_frames(group: Group) -> ValueError:
    return ValueError(
        f"The seeds of {group.name} were not judged on the same frames, though their folds are the "
        "same: a file was changed, or versions differ. Remove the runs of one seed and train them "
        "again."
    )


def _predictions(run: ReportedRun) -> BoxesAndScores:
    rows = defaultdict(list)
    found = run.read("predictions.json") or []
    with run.reading("predictions.json"):
        for row in found:
            x, y, width, height = row["bbox"]
            rows[int(row["image_id"])].append((x, y, width, height, row["score"]))
        tables = {image_id: np.array(boxes, dtype=np.float64) for image_id, boxes in rows.items()}
    return {image_id: (xyxy(table[:, :4]), table[:, 4]) for image_id, table in tables.items()}


def _probabilities(run: ReportedRun, frames: FrameIndex) -> list[dict[str, Any]]:
    found = run.read("predictions.json")
    with run.reading("predictions.json"):
        for row in found:
            frames.frame(row["image_id"])  # a frame of the cohort
            for probability in row["probabilities"].values():
                float(probability)
        return list(found)
