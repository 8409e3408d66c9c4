"""The findings of one cine as DICOM files, for whoever has the cine itself.

They name the patient as the cine does, so they are as private, and never part of the output.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, config, dcmread
from pydicom.errors import InvalidDicomError

from angioray.findings.presentation_state import presentation_state
from angioray.findings.provenance import Algorithm, read_provenance
from angioray.findings.structured_report import structured_report
from angioray.inference.findings import Findings
from preprocess.dicom.acceptance import Rejection
from preprocess.ingest.file_discovery import WRITTEN_BY_US
from preprocess.ingest.journal import OWNER_ONLY
from preprocess.storage.atomic import write_bytes

PRESENTATION_STATE, STRUCTURED_REPORT = WRITTEN_BY_US


def write_dicom(
    source: Path, target_stem: Path, findings: Findings, *, algorithm: Algorithm, score: float
) -> list[Path]:
    """Write a presentation state and a structured report that refer to the source's image.

    Where no lesion is above the score there is nothing to draw: the report says so alone, and a
    presentation state of earlier findings is removed. The same source, findings and algorithm lead
    to the same UIDs; a file that has them already stays as it is, with its date.

    Args:
        source: the cine's DICOM file.
        target_stem: where to write, to which the endings of both files are added.
        findings: of that cine.
        algorithm: who found them.
        score: lesions above it are written.

    Returns:
        The files that are now there; for their owner alone.

    Raises:
        Rejection: the source is no XA image, has no usable UID, or fewer frames than the findings.
        ValueError: its header has another value that cannot be written.
        OSError: it cannot be read, or a target not be written.
    """
    lesions = findings.lesions_above(score)
    content = json.dumps([findings.view, score, [asdict(lesion) for lesion in lesions]])
    state, report = (
        target_stem.with_name(target_stem.name + ending)
        for ending in (PRESENTATION_STATE, STRUCTURED_REPORT)
    )
    target_stem.parent.mkdir(parents=True, exist_ok=True)
    # Warnings of pydicom and highdicom would print names and identifiers.
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        provenance = read_provenance(source, algorithm, content)
        last = max((box.frame_index for lesion in lesions for box in lesion.boxes), default=0)
        if last >= provenance.image.NumberOfFrames:
            raise Rejection("its file has fewer frames than were looked at")
        written = [report]
        if lesions:
            drawn = partial(presentation_state, provenance, lesions)
            _write(state, provenance.uid("PR"), drawn)
            written.insert(0, state)
        else:
            state.unlink(missing_ok=True)
        said = partial(structured_report, provenance, lesions, view=findings.view, score=score)
        _write(report, provenance.uid("SR"), said)
    return written


def _write(path: Path, instance: str, make: Callable[[], Dataset]) -> None:
    if _instance_of(path) == instance:
        return  # one UID names one object: it is not written anew with another date
    buffer = BytesIO()
    make().save_as(buffer, enforce_file_format=True)
    write_bytes(path, buffer.getvalue(), mode=OWNER_ONLY)


def _instance_of(path: Path) -> str | None:
    try:
        return str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
    except (FileNotFoundError, InvalidDicomError, AttributeError):
        return None
