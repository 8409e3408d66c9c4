"""A cohort for notebooks: its cines by id, their frames and boxes, and torch data sets of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from angioray.study.settings import StudySettings
from preprocess.cohort import Box, Phase, Sequence
from preprocess.cohort import Cohort as OpenedCohort
from preprocess.storage import Location

if TYPE_CHECKING:
    import pandas

REFERENCE = "reference"
CINES_KEPT = 4
"""Cines whose frames a data set keeps: those of a batch in order are mostly of one."""


class Cine:
    """One cine of a cohort.

    Attributes:
        cohort: that it belongs to.
        sequence: what is known of it.
    """

    def __init__(self, cohort: Cohort, sequence: Sequence) -> None:
        self.cohort, self.sequence = cohort, sequence

    @property
    def id(self) -> str:
        """Its id in the cohort."""
        return self.sequence.sequence_id

    @property
    def patient_id(self) -> str:
        """The patient's pseudonym."""
        return self.sequence.patient_id

    @property
    def view(self) -> str | None:
        """As the labels name it."""
        return self.sequence.view

    @property
    def frames(self) -> NDArray[np.uint8]:
        """Its frames as a reader sees them, uint8[T, H, W]."""
        return self.cohort.opened.cine_8bit(self.id)

    @property
    def stored_frames(self) -> NDArray[np.unsignedinteger[Any]]:
        """Its frames as acquired, uint8 or uint16 [T, H, W]."""
        return self.cohort.opened.cine(self.id)

    @property
    def boxes(self) -> dict[int, list[Box]]:
        """The boxes of each frame that has any, by frame index; lost ones left out."""
        by_frame = self.cohort.opened.boxes_by_frame
        return {t: by_frame[self.id, t] for t in range(len(self)) if (self.id, t) in by_frame}

    @property
    def phases(self) -> list[str | None]:
        """The interval of each frame (``optimal``, …); None where the bounds are unknown."""
        return [self.sequence.phase(t) for t in range(len(self))]

    @property
    def reference_frame(self) -> int | None:
        """The frame of best contrast, the one that readers boxed."""
        return self.sequence.reference_frame

    def __len__(self) -> int:
        return self.sequence.length

    def __repr__(self) -> str:
        size = f"{len(self)} frames of {self.sequence.width} x {self.sequence.height}"
        return f"Cine({self.id!r}: {self.view or 'no view'}, {size}, {len(self.boxes)} with boxes)"


class Cohort:
    """A cohort, opened: iterate over its cines, or take one by its id.

    Attributes:
        opened: the cohort as the rest of angioray takes it.
    """

    def __init__(self, location: Location = "cohort") -> None:
        """Open a cohort.

        Args:
            location: its folder, or a URI such as ``s3://bucket/cohort``.

        Raises:
            ValueError: there is none, or it is damaged.
        """
        self.opened = OpenedCohort.open(location)

    def __len__(self) -> int:
        return len(self.opened.sequences)

    def __iter__(self) -> Iterator[Cine]:
        return (Cine(self, sequence) for sequence in self.opened.sequences.values())

    def __contains__(self, sequence_id: object) -> bool:
        return sequence_id in self.opened.sequences

    def __getitem__(self, sequence_id: str) -> Cine:
        if sequence_id not in self:
            raise KeyError(f"The cohort has no sequence {sequence_id!r}; see `list(cohort)`.")
        return Cine(self, self.opened.sequences[sequence_id])

    def __repr__(self) -> str:
        patients = len({cine.patient_id for cine in self})
        views = ", ".join(map(str, self.views)) or "no views"
        return (
            f"Cohort({self.opened.copy.location!r}: {len(self)} cines of {patients} patients, "
            f"{views}, {len(self.opened.boxes)} boxes)"
        )

    @cached_property
    def views(self) -> list[str]:
        """The names of views in the labels."""
        return sorted({cine.view for cine in self if cine.view})

    def frames(
        self, view: str | None = None, phase: str | None = "optimal", size: int | None = None
    ) -> CohortFrames:
        """A torch data set of single frames.

        Args:
            view: a view of the labels, or a class of the default ``view_classes`` (LCA has
                LCx/LAD); all if None.
            phase: ``no_contrast``, ``introducing``, ``optimal``, ``vanishing``, or ``reference``
                for the reference frames alone; all frames if None.
            size: frames and boxes are resized to squares of this side in pixels; as stored if None.

        Raises:
            ValueError: the cohort has no such view, or there is no such phase.
        """
        classes = StudySettings().view_classes
        of_view = [cine for cine in self if view in (None, cine.view, classes.get(cine.view or ""))]
        if not of_view:
            raise ValueError(f"The cohort has no view {view!r}, but {', '.join(self.views)}.")
        phases = [str(each) for each in Phase]
        if phase not in (None, REFERENCE, *phases):
            raise ValueError(f"phase is {phase!r}, expected {', '.join((*phases, REFERENCE))}.")
        keys = [(cine.id, t) for cine in of_view for t in _frames_in(cine.sequence, phase)]
        return CohortFrames(self, keys, size)

    def table(self) -> pandas.DataFrame:
        """A row for each cine: view, phases, reference frame, angles, how many boxes, and so on."""
        import pandas

        rows = [
            {
                "sequence_id": cine.id,
                "patient_id": cine.patient_id,
                "view": cine.view,
                "frames": len(cine),
                "height": cine.sequence.height,
                "width": cine.sequence.width,
                "introducing_start": cine.sequence.introducing_start,
                "optimal_start": cine.sequence.optimal_start,
                "vanishing_start": cine.sequence.vanishing_start,
                "reference_frame": cine.reference_frame,
                "no_lesion": cine.sequence.no_lesion,
                "lowest_ifr": min(cine.sequence.ifr, default=None),
                "primary_angle_deg": cine.sequence.primary_angle_deg,
                "secondary_angle_deg": cine.sequence.secondary_angle_deg,
                "frames_with_boxes": len(cine.boxes),
            }
            for cine in self
        ]
        return pandas.DataFrame(rows).set_index("sequence_id")


class CohortFrames(Dataset[tuple[Tensor, dict[str, Any]]]):
    """Single frames with their boxes, as torchvision's detectors take them.

    An item is a frame, uint8[1, H, W], and its target: ``boxes`` (float32[G, 4] xyxy in the frame's
    pixels), ``labels`` (int64[G], all 1), ``ignored`` (float32[K, 4]: areas that may hold lesions,
    not to be trained on), ``image_id`` (of the cohort's COCO file), ``sequence_id`` and
    ``frame_index``.

    Attributes:
        keys: the sequence id and the index of each frame.
    """

    def __init__(self, cohort: Cohort, keys: list[tuple[str, int]], size: int | None) -> None:
        self.keys = keys
        self._cohort, self._size = cohort, size
        self._cine = lru_cache(maxsize=CINES_KEPT)(cohort.opened.cine_8bit)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        from angioray.training.frames import resize

        sequence_id, t = self.keys[index]
        opened = self._cohort.opened
        frame = torch.from_numpy(self._cine(sequence_id)[t].copy())[None]
        boxes, ignored = (
            torch.tensor(
                [box.box_xyxy for box in by_frame.get((sequence_id, t), [])], dtype=torch.float32
            ).reshape(-1, 4)
            for by_frame in (opened.boxes_by_frame, opened.ignored_by_frame)
        )
        if self._size is not None:
            height, width = frame.shape[1:]
            frame = resize(frame[None], self._size)[0]
            scale = torch.tensor([self._size / width, self._size / height]).repeat(2)
            boxes, ignored = boxes * scale, ignored * scale
        target = {
            "boxes": boxes,
            "labels": torch.ones(len(boxes), dtype=torch.int64),
            "ignored": ignored,
            "image_id": opened.image_id(sequence_id, t),
            "sequence_id": sequence_id,
            "frame_index": t,
        }
        return frame, target

    def __repr__(self) -> str:
        cines = len({sequence_id for sequence_id, _ in self.keys})
        return f"CohortFrames({len(self)} frames of {cines} cines)"


def _frames_in(sequence: Sequence, phase: str | None) -> range | list[int]:
    if phase is None:
        return range(sequence.length)
    if phase == REFERENCE:
        return [] if sequence.reference_frame is None else [sequence.reference_frame]
    return sequence.frames_in(Phase(phase))
