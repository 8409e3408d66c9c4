"""Journals of readers, through the real journal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from preprocess.cohort.reviews import Review, ReviewJournal, State


def write_readings(
    folder: Path, reader: str, states: Mapping[str, State], *, accepted: bool = True
) -> None:
    """What a reader of the cohort in a folder decided about sequences."""
    with ReviewJournal(folder, reader) as journal:
        for sequence_id, state in states.items():
            journal.append(
                Review(
                    sequence_id=sequence_id,
                    revision=1,
                    by=reader,
                    at="2026-01-01T10:00:00+00:00",
                    accepted=accepted,
                    state=state,
                    before=State(),
                )
            )
