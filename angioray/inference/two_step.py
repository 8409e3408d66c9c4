"""Both steps on one cine: name its view, then detect with that view's detectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from angioray.evaluation.matching import Detections
from angioray.inference.chosen import Judges
from angioray.inference.ensemble import flipped_boxes, flipped_images, fuse
from angioray.inference.findings import Findings, FoundBox
from angioray.inference.lesions import link_lesions
from angioray.inference.settings import Flip, PredictSettings
from angioray.inference.trained import Models
from angioray.inference.unlike import unlike
from angioray.study.acquisitions import Acquisitions
from angioray.study.detector_task import detect_images
from angioray.study.matrix import Run
from angioray.study.run_folder import RunFolder
from angioray.study.selection import contrast_frames, view_frame
from angioray.study.study import Study
from angioray.study.view_task import image_probabilities
from angioray.training.frames import normalise, resize
from angioray.training.precision import dtype_here
from preprocess.cohort import Sequence as Cine

Frames = NDArray[np.uint8]

FRAMES_AT_ONCE = {"cpu": 8, "cuda": 64}
"""Frames of one forward pass; on a CPU the features of more do not stay in its cache."""


@dataclass(frozen=True, kw_only=True)
class NamedView:
    """What step 1 says of a cine."""

    view: str
    probabilities: Mapping[str, float]
    """Of each class: the mean over the models that judged the cine."""
    models: int


class TwoStep:
    """A study's networks at work on one cine after the other; each is read once and kept."""

    def __init__(self, study: Study, settings: PredictSettings, device: torch.device) -> None:
        """``settings`` say how answers are put together; who answers, each cine's judges do."""
        self.study = study
        self.settings = settings
        self.device = device
        self._models = Models(device)
        self._precision = dtype_here(study.settings.precision, device)
        self._acquisitions: dict[tuple[Run, ...], Acquisitions] = {}

    def findings(
        self, cine: Cine, frames: Frames, judges: Judges, looked_at: Iterable[int] | None = None
    ) -> Findings:
        """What is found in a cine.

        Args:
            cine: whose frames these are.
            frames: all of them as a reader sees them, uint8[T, H, W].
            judges: who may judge it; where no detector of its view may, no frame is looked at. A
                view that has no detector gets no boxes.
            looked_at: the frames that boxes are looked for on; those of the settings if None.
        """
        named = None
        if judges.classifiers:
            named = self.name_view(frames[view_frame(cine)], judges.classifiers)
        detectors = judges.of(named.view if named else None)
        indices: Sequence[int] = ()
        if detectors is None or detectors:
            indices = self._looked_at(cine) if looked_at is None else sorted(set(looked_at))
        boxes = self.boxes(frames, indices, detectors or ())
        return Findings(
            sequence_id=cine.sequence_id,
            patient_id=cine.patient_id,
            new_patient=judges.new_patient,
            view=named.view if named else None,
            probabilities=named.probabilities if named else {},
            models=named.models if named else 0,
            frames=tuple(indices),
            boxes=boxes,
            lesions=link_lesions(frames, boxes, indices),
            unlike=unlike(
                self._trained_on((*judges.classifiers, *(detectors or ()))),
                cine,
                float(frames[view_frame(cine)].mean()),
            ),
        )

    def _trained_on(self, runs: tuple[Run, ...]) -> Acquisitions:
        """How the cines were acquired that runs were trained on."""
        if runs not in self._acquisitions:
            results = (RunFolder.of(self.study.folder, run).result() for run in runs)
            self._acquisitions[runs] = Acquisitions.together(results)
        return self._acquisitions[runs]

    def _looked_at(self, cine: Cine) -> list[int]:
        if self.settings.frames == "reference":
            return [view_frame(cine)]
        return sorted({view_frame(cine), *contrast_frames(cine)})

    def name_view(self, frame: Frames, classifiers: Sequence[Run]) -> NamedView:
        """Step 1 on one frame, uint8[H, W], by at least one classifier."""
        answers: list[dict[str, float]] = []
        for run in classifiers:
            model, classes = self._models.classifier(RunFolder.of(self.study.folder, run))
            images = self._images(frame[None], run.size)
            (row,) = image_probabilities(model, images).tolist()
            answers.append(dict(zip(classes, row, strict=True)))
        names = sorted({name for answer in answers for name in answer})
        means = {
            name: float(np.mean([answer.get(name, 0.0) for answer in answers])) for name in names
        }
        best = max(names, key=lambda name: means[name])
        rounded = {name: round(mean, 6) for name, mean in means.items()}
        return NamedView(view=best, probabilities=rounded, models=len(answers))

    def boxes(
        self, frames: Frames, indices: Sequence[int], detectors: Sequence[Run]
    ) -> tuple[FoundBox, ...]:
        """Step 2 on some frames of uint8[T, H, W]: boxes by frame, then best first."""
        if not indices or not detectors:
            return ()
        found = self.detect(frames[list(indices)], detectors)
        return tuple(
            FoundBox(
                frame_index=t,
                box_xyxy=(round(x1, 3), round(y1, 3), round(x2, 3), round(y2, 3)),
                score=round(score, 6),
            )
            for t, (boxes, scores) in zip(indices, found, strict=True)
            for (x1, y1, x2, y2), score in zip(boxes.tolist(), scores.tolist(), strict=True)
        )

    def detect(self, frames: Frames, detectors: Sequence[Run]) -> list[Detections]:
        """Boxes on frames, uint8[N, H, W], by detectors of one input size, fused.

        Each frame is resized and normalised once for all of them.
        """
        (size,) = {run.size for run in detectors}
        height, width = frames.shape[1:]
        models = [self._models.detector(RunFolder.of(self.study.folder, r)) for r in detectors]
        flips = (None, *self.settings.flips)
        at_once = FRAMES_AT_ONCE[self.device.type]
        answers: list[list[Detections]] = [[] for _ in range(len(models) * len(flips))]
        for start in range(0, len(frames), at_once):
            images = self._images(frames[start : start + at_once], size)
            scales = [(size / width, size / height)] * len(images)
            seen = [images if flip is None else flipped_images(images, flip) for flip in flips]
            for said, (model, i) in zip(answers, product(models, range(len(flips))), strict=True):
                found = detect_images(model, seen[i], scales)
                said += [_unflipped(each, flips[i], width, height) for each in found]
        most = self.study.settings.detector.max_predictions
        return fuse(answers, iou=self.settings.fusion_iou, most=most)

    def _images(self, frames: Frames, size: int) -> torch.Tensor:
        """Frames as networks of an input size take them."""
        pixels = resize(torch.from_numpy(frames)[:, None], size)
        return normalise(pixels.to(self.device), self._precision)


def _unflipped(answer: Detections, flip: Flip | None, width: int, height: int) -> Detections:
    boxes, scores = answer
    if flip is None:
        return answer
    return flipped_boxes(boxes, flip, width if flip == "horizontal" else height), scores
