"""The frames of a cohort by COCO image id: their sequence, patient and lesions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from angioray.evaluation.detection import JudgedFrames
from angioray.evaluation.matching import FloatArray
from angioray.training.frames import FrameKey
from preprocess.cohort import Box, Cohort


@dataclass(frozen=True, kw_only=True)
class FrameIndex:
    """The cohort's frames by COCO image id."""

    cohort: Cohort

    @cached_property
    def _frames(self) -> dict[int, FrameKey]:
        return {
            first + t: (sequence_id, t)
            for sequence_id, first in self.cohort.first_image_id.items()
            for t in range(self.cohort.sequences[sequence_id].length)
        }

    def frame(self, image_id: int) -> FrameKey:
        """The sequence and the 0-based index of a frame."""
        return self._frames[image_id]

    def patients(self, image_ids: Iterable[int]) -> list[str]:
        """The patient of each frame."""
        sequences = self.cohort.sequences
        return [sequences[self._frames[image_id][0]].patient_id for image_id in image_ids]

    def healthy_patients(self, rows: Iterable[Mapping[str, Any]]) -> dict[int, str | None]:
        """The patient of each healthy frame, None where that patient has a lesion in its view.

        Args:
            rows: of a run's ``healthy_images.json``.
        """
        healthy = {int(row["image_id"]): bool(row["patient_is_healthy"]) for row in rows}
        patients = zip(healthy, self.patients(healthy), strict=True)
        return {i: patient if healthy[i] else None for i, patient in patients}

    def truth(self, image_ids: Iterable[int]) -> dict[int, FloatArray]:
        """The lesions of each frame that has any (float64[G, 4], xyxy in stored pixels).

        Boxes of whose place tracking is not sure are none: they are areas to ignore.
        """
        return self._areas(image_ids, self._lesions)

    def judged(self, image_ids: Iterable[int]) -> JudgedFrames:
        """All that the evaluation needs to know of these frames."""
        sequence = {image_id: self._frames[image_id][0] for image_id in image_ids}
        values = {i: self.cohort.sequences[s].ifr for i, s in sequence.items()}
        return JudgedFrames(
            sequence=sequence,
            truth=self.truth(sequence),
            ifr={image_id: min(ifr) for image_id, ifr in values.items() if ifr},
            ignored=self._areas(sequence, self._ignored),
        )

    def _lesions(self, key: FrameKey) -> list[Box]:
        return [box for box in self.cohort.boxes_by_frame.get(key, []) if not box.doubtful]

    def _ignored(self, key: FrameKey) -> list[Box]:
        doubtful = [box for box in self.cohort.boxes_by_frame.get(key, []) if box.doubtful]
        return [*self.cohort.ignored_by_frame.get(key, []), *doubtful]

    def _areas(
        self, image_ids: Iterable[int], of_frame: Callable[[FrameKey], list[Box]]
    ) -> dict[int, FloatArray]:
        found = ((image_id, of_frame(self._frames[image_id])) for image_id in image_ids)
        return {
            image_id: np.array([box.box_xyxy for box in boxes], dtype=np.float64)
            for image_id, boxes in found
            if boxes
        }
