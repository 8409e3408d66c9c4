"""A cohort whose frames are cut loose from their cines and patients: folds of it leak on purpose.

Published results on frames that were split at random come from such folds. A study of this cohort
beside one of the cohort itself, with ``detector.judged_frames: optimal``, sees the same frames and
boxes; the folds alone differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from angioray.study.selection import contrast_frames
from preprocess.cohort import (
    Box,
    BoxSource,
    Cohort,
    ManifestRow,
    Sequence,
    Verdict,
    frames_digest,
    store_cine,
    write_annotations,
    write_manifest,
)
from preprocess.console.progress import track


def write_stills(cohort: Cohort, out: Path) -> int:
    """Write every boxed frame with contrast as a still that counts as a patient of its own.

    Frames where the tracker lost a box, or with an area to ignore, are left out: studies do not
    train on them.

    Returns:
        How many stills there are.

    Raises:
        ValueError: ``out`` is there already, or the cohort has no boxed frame.
    """
    if out.exists():
        raise ValueError(f"{out} is there already. Name another folder, or remove it.")
    boxed = sorted({box.sequence_id for box in cohort.boxes})
    stills: list[tuple[Sequence, list[Box]]] = []
    for name in track(boxed, total=len(boxed), label="sequences"):
        stills += _stills(cohort, cohort.sequences[name], out)
    if not stills:
        raise ValueError("The cohort has no box on any frame with contrast: there is no still.")
    write_manifest(
        out,
        (
            ManifestRow(
                hmac_sha256=sequence.frames_digest,
                status="accepted",
                sequence_id=sequence.sequence_id,
                patient_id=sequence.patient_id,
                view=sequence.view or "",
                reference_boxes=len(boxes),
            )
            for sequence, boxes in stills
        ),
    )
    write_annotations(
        out,
        [sequence for sequence, _ in stills],
        [
            replace(box, instance_id=number)
            for number, box in enumerate((b for _, boxes in stills for b in boxes), start=1)
        ],
    )
    return len(stills)


def _stills(cohort: Cohort, sequence: Sequence, out: Path) -> Iterator[tuple[Sequence, list[Box]]]:
    lost = {
        b.frame_index
        for b in cohort.boxes
        if b.sequence_id == sequence.sequence_id and b.verdict is Verdict.LOST
    }
    cine = cohort.cine(sequence.sequence_id)
    for t in contrast_frames(sequence):
        key = (sequence.sequence_id, t)
        boxes = cohort.boxes_by_frame.get(key)
        if not boxes or t in lost or key in cohort.ignored_by_frame:
            continue
        name = f"{sequence.sequence_id}-f{t:04d}"
        frames = cine[t : t + 1]
        still = replace(
            sequence,
            sequence_id=name,
            patient_id=name,
            length=1,
            frames_digest=frames_digest(frames),
            introducing_start=None,
            optimal_start=None,
            vanishing_start=None,
            reference_frame=0,
        )
        store_cine(out, still, frames)
        yield (
            still,
            [
                replace(
                    box,
                    sequence_id=name,
                    frame_index=0,
                    source=BoxSource.REFERENCE,
                    confidence=1.0,
                )
                for box in boxes
            ],
        )
