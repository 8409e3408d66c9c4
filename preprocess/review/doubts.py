"""Doubts about the labels of a cohort, so that the most doubtful cines are looked at first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from preprocess.cohort import Cohort
from preprocess.summary.findings import findings


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """One reason to look at a sequence; ``weight`` runs from 0 to 1."""

    kind: str
    words: str
    weight: float
    frame_index: int | None = None


def doubts(cohort: Cohort, runs: Path | None) -> dict[str, list[Doubt]]:
    """Every sequence with a doubt, the most doubtful first."""
    found: dict[str, list[Doubt]] = {}
    for finding in findings(cohort):
        for name, words in finding.sequences.items():
            doubt = Doubt(kind=finding.kind, words=f"{finding.title}: {words}", weight=0.5)
            found.setdefault(name, []).append(doubt)
    return found
