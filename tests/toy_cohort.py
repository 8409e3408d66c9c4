"""A toy cohort, written in a moment: bars for arteries, dark squares for lesions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from preprocess.cohort import (
    Box,
    BoxSource,
    Cohort,
    Sequence,
    frames_digest,
    store_cine,
    write_annotations,
)
from preprocess.cohort.display import Display
from preprocess.dicom.pseudonyms import Pseudonyms
from preprocess.ingest.journal import Journal

SIZE = 64
LENGTH = 8


def write_toy_cohort(
    folder: Path,
    *,
    patients: int = 10,
    views: tuple[str | None, ...] = ("RCA", "LCA"),
    seed: int = 0,
    prefix: str = "",
    key: bytes | None = None,
) -> Cohort:
    """One sequence per patient and view: RCA has upright bars, LCA flat ones; all have a lesion.

    Two more patients have a healthy sequence of each view. Frames 2 to 6 are optimal, 4 is the
    reference. A prefix of ids stands for another key: the same cines under other pseudonyms. With a
    key patients have the pseudonyms of ``MRN-0``, ``MRN-1`` and so on, and the cohort a journal.
    """
    if key is not None:
        Journal(folder, key).close()
    generator = np.random.default_rng(seed)
    sequences, boxes = [], []
    for patient in range(patients + 2):
        patient_id = f"{prefix}P{patient:02d}"
        if key is not None:
            patient_id = Pseudonyms(key).patient(f"MRN-{patient}")
        for view in views:
            healthy = patient >= patients
            sequence_id = f"{prefix}S{patient:02d}{view or 'none'}"
            frames = generator.integers(150, 170, (LENGTH, SIZE, SIZE), dtype=np.uint8)
            bar = frames[:, :, 30:34] if view == "RCA" else frames[:, 30:34, :]
            bar[:] = 90
            x, y = generator.integers(4, SIZE - 20, 2)
            if not healthy:
                frames[2:7, y : y + 14, x : x + 14] = 10
            sequences.append(
                Sequence(
                    sequence_id=sequence_id,
                    patient_id=patient_id,
                    view=view,
                    length=LENGTH,
                    height=SIZE,
                    width=SIZE,
                    bits_stored=8,
                    display=Display(lower=0, upper=255),
                    frames_digest=frames_digest(frames),
                    introducing_start=1,
                    optimal_start=2,
                    vanishing_start=7,
                    reference_frame=None if healthy else 4,
                    no_lesion=healthy,
                )
            )
            store_cine(folder, sequences[-1], frames)
            if not healthy:
                boxes += [
                    Box(
                        sequence_id=sequence_id,
                        frame_index=t,
                        box_xyxy=(float(x), float(y), float(x + 14), float(y + 14)),
                        instance_id=len(sequences),
                        source=BoxSource.REFERENCE if t == 4 else BoxSource.TRACKED,
                    )
                    for t in range(2, 7)
                ]
    write_annotations(folder, sequences, boxes)
    return Cohort.open(folder)
