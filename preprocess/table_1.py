"""The paper's Table 1 for any cohort: what there is, what was kept, what was not and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from preprocess.cohort import BoxSource, Cohort, ManifestRow, Phase, Sequence

IFR_THRESHOLD = 0.89
"""The clinical cut-off: a lesion at or below it limits the flow."""
IMPLANT = "implant"


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One line of Table 1. Frames are counted in accepted sequences only, as in the paper."""

    name: str
    patients: int
    sequences: int
    no_contrast_frames: int = 0
    introducing_frames: int = 0
    optimal_frames: int = 0
    vanishing_frames: int = 0
    stenosis_annotations: int = 0
    """Reference boxes; tracked ones are not counted."""
    ifr_below: int = 0
    """Lesions with an iFR at or below the threshold."""
    ifr_above: int = 0


@dataclass(frozen=True, kw_only=True)
class _Member:
    """A sequence of any fate, as Table 1 counts it."""

    sequence_id: str
    patient_id: str
    view: str
    ifr: tuple[float, ...]
    boxes: int
    no_lesion: bool
    exclude: str = ""
    kept: Sequence | None = None


def table_1(
    cohort: Cohort, manifest: Iterable[ManifestRow], *, ifr_threshold: float = IFR_THRESHOLD
) -> list[TableRow]:
    """Count patients, sequences, frames, annotations and iFR values per row of the paper's table.

    Args:
        cohort: what was accepted.
        manifest: what was not; a rejected file counts if its label said anything about it.
        ifr_threshold: the highest iFR that counts as below.
    """
    kept = list(_kept(cohort))
    rejected = list(_rejected(manifest, {member.sequence_id for member in kept}))
    implants = [member for member in rejected if member.exclude == IMPLANT]
    others = [member for member in rejected if member.exclude != IMPLANT]
    groups = {
        "Total Sequences": kept + rejected,
        "Discard": others,
        "With Implants": implants,
        "Optimal": kept,
    }
    for title, no_lesion in (("Optimal", False), ("No Lesion", True)):
        of_kind = [member for member in kept if member.no_lesion is no_lesion]
        for view in sorted({member.view for member in of_kind}):
            name = f"{title} {view or '(no view)'}"
            groups[name] = [member for member in of_kind if member.view == view]
    return [_row(name, members, ifr_threshold) for name, members in groups.items()]


def _kept(cohort: Cohort) -> Iterator[_Member]:
    boxes = dict.fromkeys(cohort.sequences, 0)
    for box in cohort.boxes:
        boxes[box.sequence_id] += box.source is BoxSource.REFERENCE
    for sequence in cohort.sequences.values():
        yield _Member(
            sequence_id=sequence.sequence_id,
            patient_id=sequence.patient_id,
            view=sequence.view or "",
            ifr=sequence.ifr,
            boxes=boxes[sequence.sequence_id],
            no_lesion=sequence.no_lesion,
            kept=sequence,
        )


def _rejected(manifest: Iterable[ManifestRow], kept: set[str]) -> Iterator[_Member]:
    """Labelled sequences that did not get in, each once: a duplicate of a kept one is not lost."""
    seen = set(kept)
    for row in manifest:
        labelled = row.view or row.exclude or row.no_lesion or row.ifr
        identity = row.sequence_id or row.sha256
        if row.status == "accepted" or not labelled or identity in seen:
            continue
        seen.add(identity)
        yield _Member(
            sequence_id=identity,
            patient_id=row.patient_id,
            view=row.view,
            ifr=tuple(float(value) for value in row.ifr.split(";") if value),
            boxes=row.reference_boxes,
            no_lesion=row.no_lesion,
            exclude=row.exclude,
        )


def _row(name: str, members: list[_Member], threshold: float) -> TableRow:
    def frames(phase: Phase) -> int:
        return sum(len(member.kept.frames_in(phase)) for member in members if member.kept)

    values = [value for member in members for value in member.ifr]
    below = sum(value <= threshold for value in values)
    return TableRow(
        name=name,
        patients=len({member.patient_id for member in members if member.patient_id}),
        sequences=len(members),
        no_contrast_frames=frames(Phase.NO_CONTRAST),
        introducing_frames=frames(Phase.INTRODUCING),
        optimal_frames=frames(Phase.OPTIMAL),
        vanishing_frames=frames(Phase.VANISHING),
        stenosis_annotations=sum(member.boxes for member in members),
        ifr_below=below,
        ifr_above=len(values) - below,
    )
