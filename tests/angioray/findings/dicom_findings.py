"""Findings to write as DICOM, and the cines that they are of."""

from __future__ import annotations

from pathlib import Path

from angioray.findings.dicom_files import write_dicom
from angioray.findings.provenance import Algorithm
from angioray.inference.findings import Findings, FoundBox, Lesion

ALGORITHM = Algorithm(name="angioray", version="1.2.3", study_sha256="0123456789abcdef" * 4)


def lesion(number: int, score: float, *boxes: FoundBox) -> Lesion:
    return Lesion(number=number, score=score, stability=1.0, boxes=boxes)


def box(frame: int, xyxy: tuple[float, float, float, float], score: float = 0.9) -> FoundBox:
    return FoundBox(frame_index=frame, box_xyxy=xyxy, score=score)


def carried(frame: int, xyxy: tuple[float, float, float, float]) -> FoundBox:
    return FoundBox(frame_index=frame, box_xyxy=xyxy, score=0.5, carried=True)


LESIONS = (
    lesion(1, 0.875, box(0, (4.25, 6.5, 12.0, 20.75), 0.875), carried(1, (5.25, 6.5, 13.0, 20.75))),
    lesion(2, 0.625, box(1, (20.0, -0.001, 32.001, 9.5), 0.625)),
    lesion(3, 0.125, box(2, (1.0, 1.0, 2.0, 2.0), 0.125)),
)


def findings(*lesions: Lesion, view: str | None = "LCA") -> Findings:
    return Findings(
        sequence_id="seq-1",
        patient_id="pat-1",
        new_patient=True,
        view=view,
        probabilities={},
        models=1,
        frames=(0, 1, 2),
        boxes=(),
        lesions=lesions,
    )


def write(source: Path, stem: Path, *lesions: Lesion, view: str | None = "LCA") -> list[Path]:
    return write_dicom(source, stem, findings(*lesions, view=view), algorithm=ALGORITHM, score=0.5)
