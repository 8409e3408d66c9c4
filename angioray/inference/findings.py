"""What a study's networks found in one cine: its view, boxes on frames, lesions through time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any


@dataclass(frozen=True, kw_only=True)
class FoundBox:
    """A box on one frame.

    ``box_xyxy`` is in stored-frame pixels, as boxes of a cohort are; ``score`` runs from 0 to 1.
    """

    frame_index: int
    box_xyxy: tuple[float, float, float, float]
    score: float
    carried: bool = False
    """Whether no detector found it in this frame: it has score 0, and lies between the boxes of the
    lesion in the frames before and after."""


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One stenosis through the frames of a cine.

    Attributes:
        number: within the cine, from 1, in falling order of score.
        score: 0 to 1, the mean of its boxes' scores over the frames that were looked at.
        stability: the share of the frames that were looked at in which a detector found it.
        boxes: one a frame, in the order of the frames.
    """

    number: int
    score: float
    stability: float
    boxes: tuple[FoundBox, ...]

    @property
    def best(self) -> FoundBox:
        """Its box with the highest score, the earliest of equals."""
        return max(self.boxes, key=lambda box: box.score)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found in one cine; written as one JSON file, without an identifier.

    Attributes:
        sequence_id: the cine's pseudonym.
        patient_id: the patient's pseudonym.
        new_patient: whether the study has never seen the patient.
        view: the class that the cine is taken for; None where the study names no views.
        probabilities: of each view class: the mean over the models that judged the cine.
        models: how many models named the view.
        frames: that were looked at, in their order.
        boxes: what the detectors found on them, by frame and then best first, whatever its score.
        lesions: those boxes as lesions through time, best first.
        unlike: in what the cine is unlike all that the models were trained on, a sentence each.
    """

    sequence_id: str
    patient_id: str
    new_patient: bool
    view: str | None
    probabilities: Mapping[str, float]
    models: int
    frames: tuple[int, ...]
    boxes: tuple[FoundBox, ...]
    lesions: tuple[Lesion, ...]
    unlike: tuple[str, ...] = ()

    @cached_property
    def boxes_by_frame(self) -> dict[int, list[FoundBox]]:
        """The detectors' boxes on each frame that was looked at, best first."""
        found: dict[int, list[FoundBox]] = {frame: [] for frame in self.frames}
        for box in self.boxes:
            found[box.frame_index].append(box)
        return found

    def lesions_above(self, score: float) -> list[Lesion]:
        """The lesions whose score is greater."""
        return [lesion for lesion in self.lesions if lesion.score > score]

    def as_json(self) -> dict[str, Any]:
        """The findings as JSON takes them."""
        # Not by asdict, which takes a tenth of the time that finding the boxes takes.
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values["boxes"] = [vars(box) for box in self.boxes]
        values["lesions"] = [
            {**vars(each), "boxes": [vars(box) for box in each.boxes]} for each in self.lesions
        ]
        return values

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Findings:
        """The findings of :meth:`as_json`.

        Raises:
            KeyError, TypeError: the document is another.
        """
        values = dict(document)
        lesions = tuple(
            Lesion(**{**lesion, "boxes": boxes_from_json(lesion["boxes"])})
            for lesion in values["lesions"]
        )
        values |= {"boxes": boxes_from_json(values["boxes"]), "lesions": lesions}
        values |= {name: tuple(values[name]) for name in ("frames", "unlike")}
        return cls(**values)


def boxes_from_json(documents: Iterable[Mapping[str, Any]]) -> tuple[FoundBox, ...]:
    """Boxes as ``asdict`` and JSON leave them.

    Raises:
        KeyError, TypeError: they are others.
    """
    return tuple(FoundBox(**{**box, "box_xyxy": tuple(box["box_xyxy"])}) for box in documents)
