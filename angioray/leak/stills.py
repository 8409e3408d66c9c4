"""A cohort whose frames are cut loose from their cines and patients: folds of it leak on purpose.

Published results on frames that were split at random come from such folds. A study of this cohort
beside one of the cohort itself, both with ``detector.judged_frames: optimal`` and variants B or NL,
trains on the same frames as a whole and is judged on the same ones; the folds differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from angioray.study.selection import CohortIndex
from preprocess.cohort import (
    Box,
    Cohort,
    ManifestRow,
    Sequence,
    frames_digest,
    store_cine,
    write_annotations,
    write_manifest,
)
from preprocess.console.progress import track


def write_stills(cohort: Cohort, out: Path) -> int:
    """Write every judged frame with contrast as a still that counts as a patient of its own.

    These are the frames with every lesion's box, and those of healthy sequences. Boxes keep their
    source and verdict, and areas to ignore are kept. Frames without contrast of sequences with
    lesions, which the variants BG and BGNL train on, are left out.

    Returns:
        How many stills there are.

    Raises:
        ValueError: ``out`` is there already, or the cohort has no boxed frame.
    """
    if out.exists():
        raise ValueError(f"{out} is there already. Name another folder, or remove it.")
    views = {s.view: s.view for s in cohort.sequences.values() if s.view}
    index = CohortIndex.of(cohort, views)
    boxed = index.judged_frames(cohort.sequences, "optimal")
    if not boxed:
        raise ValueError("The cohort has no box on any frame with contrast: there is no still.")
    frames = defaultdict(list)
    for name, t in (*boxed, *index.healthy_frames(cohort.sequences, "optimal")):
        frames[name].append(t)
    stills: list[tuple[Sequence, list[Box]]] = []
    for name in track(frames, total=len(frames), label="sequences"):
        stills += _stills(cohort, cohort.sequences[name], frames[name], out)
    write_manifest(
        out,
        (
            ManifestRow(
                hmac_sha256=sequence.frames_digest,
                status="accepted",
                sequence_id=sequence.sequence_id,
                patient_id=sequence.patient_id,
                view=sequence.view or "",
                reference_boxes=sum(not box.ignored for box in boxes),
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


def _stills(
    cohort: Cohort, sequence: Sequence, frame_indices: list[int], out: Path
) -> Iterator[tuple[Sequence, list[Box]]]:
    cine = cohort.cine(sequence.sequence_id)
    for t in frame_indices:
        key = (sequence.sequence_id, t)
        boxes = cohort.boxes_by_frame.get(key, []) + cohort.ignored_by_frame.get(key, [])
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
        yield still, [replace(box, sequence_id=name, frame_index=0) for box in boxes]
