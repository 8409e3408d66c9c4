"""The truth of a phantom archive: every lesion in every frame, for scoring alone.

``truth/truth.json`` holds ``{"schema_version", "sequences": [...]}``, a sequence as the fields of
``SequenceTruth``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from preprocess.storage.atomic import write_json

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class LesionTruth:
    """A lesion of a sequence; ``lesion_id`` counts within the patient's artery, from 1."""

    lesion_id: int
    branch: str
    length_mm: float
    diameter_mm: float
    """The healthy calibre at its place."""
    diameter_loss_percent: float
    centre_mm: tuple[float, float, float]
    """Its middle at end-diastole from the isocentre: to the left, the back and the head."""


@dataclass(frozen=True, kw_only=True)
class BoxTruth:
    """A lesion in one frame; ``box_xyxy`` in pixels, 0 <= x1 < x2 <= 512."""

    frame_index: int
    lesion_id: int
    box_xyxy: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class SequenceTruth:
    """One sequence. Bounds and ``reference_frame`` are 0-based, ``file`` is below ``dicom/``."""

    sop_instance_uid: str
    file: str
    patient_id: str
    view: str
    exclude: str
    frames: int
    introducing_start: int
    optimal_start: int
    vanishing_start: int
    reference_frame: int
    ifr: tuple[float, ...]
    """One for each lesion, or none where no pressure was measured."""
    lesions: tuple[LesionTruth, ...]
    boxes: tuple[BoxTruth, ...]
    """Every lesion in every frame in which its contrast lets it be seen."""

    def boxes_in(self, frame_index: int) -> tuple[BoxTruth, ...]:
        """The boxes of one frame, by lesion."""
        return tuple(box for box in self.boxes if box.frame_index == frame_index)


def write_truth(path: Path, sequences: Sequence[SequenceTruth]) -> None:
    """Write ``truth.json``, atomically."""
    document = {"schema_version": SCHEMA_VERSION, "sequences": [asdict(s) for s in sequences]}
    write_json(path, document)


def read_truth(path: Path) -> tuple[SequenceTruth, ...]:
    """Read ``truth.json``.

    Raises:
        ValueError: it is missing, or another version wrote it.
    """
    if not path.is_file():
        raise ValueError(
            f"There is no {path}. Only phantom archives have a truth; write one with "
            "`python -m preprocess phantom OUT`."
        )
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {document.get('schema_version')!r}; this version reads "
            f"{SCHEMA_VERSION}. Write the phantom again."
        )
    return tuple(
        SequenceTruth(
            **{
                **entry,
                "ifr": tuple(entry["ifr"]),
                "lesions": tuple(
                    LesionTruth(**{**lesion, "centre_mm": tuple(lesion["centre_mm"])})
                    for lesion in entry["lesions"]
                ),
                "boxes": tuple(
                    BoxTruth(**{**box, "box_xyxy": tuple(box["box_xyxy"])})
                    for box in entry["boxes"]
                ),
            }
        )
        for entry in document["sequences"]
    )
