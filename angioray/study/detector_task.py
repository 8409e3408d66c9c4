"""The detector task: how one detector is trained and judged (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from angioray.evaluation.average_precision import average_precision
from angioray.evaluation.detection import PAPER, Matched, detector_metrics, fixed_predictions
from angioray.evaluation.fixed_boxes import best_fixed_boxes
from angioray.evaluation.healthy import healthy_metrics
from angioray.evaluation.matching import Detections, Predictions
from angioray.models.architectures import build_detector
from angioray.models.detector import DetectionBatch, Detector
from angioray.models.settings import RetinaNetSettings
from angioray.study.coverage import judged_healthy, judged_on, trained_on, validated_on
from angioray.study.frame_index import FrameIndex
from angioray.study.key_frames import find_key_frames
from angioray.study.matrix import Run
from angioray.study.run_folder import Judgement
from angioray.study.segmentation import segment_lesions
from angioray.study.selection import CohortIndex
from angioray.study.severity import estimate_severity
from angioray.study.study import Study
from angioray.training.augmentation import move_boxes
from angioray.training.batches import Batches
from angioray.training.frames import FrameKey, FrameStore
from angioray.training.optimiser import Plateau
from angioray.training.precision import forward_passes
from angioray.training.sampler import step_generator
from angioray.training.step import Alive, World, nobody_waits
from preprocess.cohort import CATEGORY, Box

JUDGING_BATCH = 32
VALIDATION_AP = f"validation/{PAPER.at('AP')}"
"""In ``metrics.jsonl``: of training patients that are kept out of training."""
BOXES_ROUNDED_TO = 4
"""Folds differ by a box: rounded up, they share a compiled step."""


class DetectorTask:
    """A detector, its training frames and boxes, and which batch each step takes."""

    plateau: Plateau | None = None

    def __init__(
        self, study: Study, index: CohortIndex, run: Run, store: FrameStore, world: World
    ) -> None:
        torch.manual_seed(run.seed)
        settings = study.detector_of(run)
        self._settings = settings
        self._index = index
        self._fold = study.fold(run)
        self._seed = run.seed
        self._first = not run.system and run.variant == settings.variants[0]
        network = build_detector(settings).to(memory_format=torch.channels_last)
        self.model: Detector = network.to(world.device)
        self.steps = settings.steps
        self.optimiser = settings.optimiser
        keys = trained_on(study, index, run)
        self._judged = judged_on(study, index, run)
        self._healthy = judged_healthy(study, index, run)
        self._validated = validated_on(study, index, run)
        self.batches = Batches(
            store, keys, store.rows_of(keys), settings.batch_size, settings.augmentation, run.seed
        )
        self._boxes = padded_boxes(keys, index.cohort.boxes_by_frame, store).to(world.device)
        tiles = self.model.lesion_tiles(self._boxes)
        self._tiles = self.batches.most_in_a_batch(tiles, self.steps, world.size)

    @staticmethod
    def frames(study: Study, index: CohortIndex, run: Run) -> list[FrameKey]:
        """Every frame that any fold of the run's view and variant trains on or is judged on."""
        fold = study.fold(run)
        sequences = [*fold.train, *fold.validation]
        which = study.settings.detector.judged_frames
        return (
            index.detector_frames(sequences, run.variant)
            + index.judged_frames(sequences, which)
            + index.healthy_frames(sequences, which)
        )

    @property
    def compiled_for(self) -> Hashable:
        """The settings and shapes that its losses are compiled for; None if they cannot be."""
        if not self.model.compiles:
            return None
        network = (getattr(self._settings, each.name) for each in fields(RetinaNetSettings))
        return (*network, self._tiles, self._boxes.shape[1:], self.batches.batch_size)

    def enter(self, step: int) -> None:
        """All layers train all the time.

        What a detector draws at random is a function of seed and step, as its batches are.
        """
        torch.manual_seed(step_generator(seed=self.batches.seed, step=step).initial_seed())
        self.model.train()

    def batch(self, step: int, world: World, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """This rank's share of the step's frames (dtype[B, 1, S, S]) and boxes ([B, G, 4])."""
        batch = self.batches.take(step, rank=world.rank, ranks=world.size, dtype=dtype)
        boxes = self._boxes.index_select(0, batch.positions)
        if batch.movement is not None:
            boxes = move_boxes(boxes, batch.movement, batch.images.shape[-1])
        return batch.images, boxes

    def losses(self, images: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """The detector's losses of a batch, by name."""
        return self.model.loss(images, boxes, self._tiles)

    def judge(self, precision: torch.dtype, alive: Alive = nobody_waits) -> Judgement:
        """Boxes on the validation part's judged frames, and the paper's measures of them.

        Frames of healthy arteries are looked at after all others, for rounding depends on the batch
        that a frame is in: they change nothing of the paper's numbers.
        """
        found = self._detect(self._judged, precision, alive)
        on_healthy = self._detect(self._healthy, precision, alive)
        cohort = self._index.cohort
        frames = FrameIndex(cohort=cohort)
        training = self._index.judged_frames(self._fold.train, self._settings.judged_frames)
        fixed = best_fixed_boxes(frames.truth(cohort.image_id(*key) for key in training))
        metrics = detector_metrics(
            frames.judged(found), found, baseline=fixed_predictions(fixed, found)
        )
        diseased = {
            cohort.sequences[s].patient_id for s in self._fold.validation if s in self._index.boxed
        }
        healthy = [
            {"image_id": image_id, "patient_is_healthy": patient not in diseased}
            for image_id, patient in zip(on_healthy, frames.patients(on_healthy), strict=True)
        ]
        everything = {**found, **on_healthy}
        metrics |= healthy_metrics(
            frames.judged(everything), everything, frames.healthy_patients(healthy)
        )
        details = {"fixed_boxes": [_xywh(box) for box in fixed]}
        return Judgement(coco_results(everything), list(found), metrics, details, healthy)

    def validate(self, precision: torch.dtype, alive: Alive = nobody_waits) -> dict[str, float]:
        """Average precision on the training patients that are kept out of training, by its name.

        Empty where none are, or none of them has a lesion.
        """
        if not self._validated:
            return {}
        found = self._detect(self._validated, precision, alive)
        judged = FrameIndex(cohort=self._index.cohort).judged(found)
        ap = average_precision(Matched.of(judged, found).best)
        return {} if ap is None else {VALIDATION_AP: ap}

    def severity(
        self, precision: torch.dtype, alive: Alive = nobody_waits
    ) -> dict[str, Any] | None:
        """How severe the validation part's lesions are; of the study's own detector
        and its first variant alone.

        None where there is nothing to say.
        """
        if not self._first:
            return None
        return estimate_severity(
            self._index, self._fold, self.model, self.batches.store, precision, alive
        )

    def key_frames(
        self, precision: torch.dtype, alive: Alive = nobody_waits
    ) -> dict[str, Any] | None:
        """Which frames of the validation part's cines a reader would choose; None if not asked."""
        if not (self._first and self._settings.key_frames):
            return None
        device = self.batches.store.device
        return find_key_frames(
            self._index, self._fold, self.model, device, precision, self._seed, alive
        )

    def segmentation(
        self, judgement: Judgement, alive: Alive = nobody_waits
    ) -> dict[str, Any] | None:
        """The lumen of the validation part's lesions, of the runs that say how severe they are.

        Args:
            judgement: of this run.
            alive: is called again and again.
        """
        steps = self._settings.segmentation_steps
        if not self._first or not steps:
            return None
        device = self.batches.store.device
        return segment_lesions(self._index, self._fold, judgement, steps, self._seed, device, alive)

    def _detect(
        self, keys: Sequence[FrameKey], precision: torch.dtype, alive: Alive
    ) -> dict[int, Detections]:
        """The boxes on frames, by image id."""
        found = detect_frames(self.model, self.batches.store, keys, precision, alive)
        return {self._index.cohort.image_id(*key): boxes for key, boxes in found.items()}


def padded_boxes(
    keys: Sequence[FrameKey], boxes: Mapping[FrameKey, Sequence[Box]], store: FrameStore
) -> Tensor:
    """The boxes of each frame in network pixels, padded with empty ones (float32[N, G >= 1, 4])."""
    most = max([1, *(len(boxes.get(key, ())) for key in keys)])
    padded = torch.zeros(len(keys), -(-most // BOXES_ROUNDED_TO) * BOXES_ROUNDED_TO, 4)
    for i, key in enumerate(keys):
        x, y = store.scales[key[0]]
        for j, box in enumerate(boxes.get(key, ())):
            padded[i, j] = torch.tensor(box.box_xyxy) * torch.tensor([x, y, x, y])
    return padded


def detect_frames(
    model: Detector,
    store: FrameStore,
    keys: Sequence[FrameKey],
    precision: torch.dtype,
    alive: Alive = nobody_waits,
) -> dict[FrameKey, Detections]:
    """The model's boxes on frames of a store, in large batches."""
    model.eval()
    found: dict[FrameKey, Detections] = {}
    for start in range(0, len(keys), JUDGING_BATCH):
        alive()
        batch = keys[start : start + JUDGING_BATCH]
        images = store.images(store.rows_of(batch), dtype=precision)
        scales = [store.scales[sequence_id] for sequence_id, _ in batch]
        found.update(zip(batch, detect_images(model, images, scales), strict=True))
    return found


def detect_images(
    model: Detector, images: Tensor, scales: Sequence[tuple[float, float]]
) -> list[Detections]:
    """A judging model's boxes on images (dtype[N, 1, S, S], normalised), in stored pixels.

    Args:
        model: in its mode for judging.
        images: in the precision of the forward pass.
        scales: network pixels per stored pixel (x, y) of each.
    """
    with forward_passes(images.device, images.dtype):
        detections = model.detect(images)
    return in_stored_pixels(detections, scales)


def in_stored_pixels(
    detections: DetectionBatch, scales: Sequence[tuple[float, float]]
) -> list[Detections]:
    """Each frame's real boxes, taken back from network to stored pixels by its scale (x, y)."""
    boxes = detections.boxes_xyxy.double().cpu().numpy()
    scores = detections.scores.double().cpu().numpy()
    return [
        (frame_boxes[frame_scores >= 0] / np.array([x, y, x, y]), frame_scores[frame_scores >= 0])
        for frame_boxes, frame_scores, (x, y) in zip(boxes, scores, scales, strict=True)
    ]


def coco_results(found: Predictions) -> list[dict[str, Any]]:
    """Detections by image id as COCO results, best first within a frame."""
    return [
        {
            "image_id": image_id,
            "category_id": CATEGORY["id"],
            "bbox": _xywh(box),
            "score": round(float(score), 6),
        }
        for image_id, (boxes, scores) in found.items()
        for box, score in zip(boxes, scores, strict=True)
    ]


def _xywh(box_xyxy: NDArray[np.floating[Any]]) -> list[float]:
    x1, y1, x2, y2 = box_xyxy.tolist()
    return [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
