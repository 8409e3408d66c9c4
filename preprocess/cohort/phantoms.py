"""The number of a cohort's sequences that show a phantom, and the sentence about it."""

from __future__ import annotations

from collections.abc import Iterable

from preprocess.cohort.records import Sequence


def count_phantoms(sequences: Iterable[Sequence]) -> int:
    """How many sequences are marked as quality control or phantom images (0028,0300)."""
    return sum(sequence.quality_control_image for sequence in sequences)


def phantom_notice(phantoms: int, sequences: int) -> str:
    """What a reader must know before any picture or number; empty where there is no phantom."""
    if not phantoms:
        return ""
    mark = "marked as phantom images (DICOM Quality Control Image)"
    if phantoms == sequences:
        return f"Phantom data. No real patient is shown: all {sequences} sequences are {mark}."
    verb = "is" if phantoms == 1 else "are"
    return f"Phantom data in part: {phantoms} of {sequences} sequences {verb} {mark}."
