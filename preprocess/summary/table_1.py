"""The paper's Table 1 for any cohort."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from preprocess.cohort import BoxSource, Cohort, ManifestRow, Phase, Sequence
from preprocess.ifr import IFR_CUT_OFF

IMPLANT = "implant"
NO_VIEW = "(no view)"
VIEWS = ("RCA", "LCA", "LCx/LAD", "LAD/LCx")
"""The paper's views in its order; a cohort's others follow by name."""
COLUMNS = {
    "name": "Sequence Detail",
    "patients": "Patients",
    "sequences": "Sequences",
    "no_contrast_frames": "No Contrast",
    "introducing_frames": "Introducing",
    "optimal_frames": "Optimal",
    "vanishing_frames": "Vanishing",
    "stenosis_annotations": "Stenosis Annotations",
    "ifr_below": "iFR below",
    "ifr_above": "iFR above",
}
"""The paper's titles by field of :class:`TableRow`; the four in the middle count frames."""


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One line of Table 1. Frames are counted in accepted sequences only, as in the paper.

    The paper's Total and Optimal leave healthy sequences out, and a sequence has one iFR at most:
    per view its counts below and above add up to the sequences, and of 1294 optimal ones 1269 are
    counted, so that the 72 healthy ones, which have none, cannot be among them.
    """

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
    """Sequences whose lowest iFR is at or below the threshold."""
    ifr_above: int = 0
    """Sequences whose lowest iFR is above it."""


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
    cohort: Cohort, manifest: Iterable[ManifestRow], *, ifr_threshold: float = IFR_CUT_OFF
) -> list[TableRow]:
    """Count patients, sequences, frames, annotations and iFR values per row of the paper's table.

    Args:
        cohort: what was accepted.
        manifest: what was not; a rejected file counts if its label said anything about it.
        ifr_threshold: the highest iFR that counts as below.
    """
    kept = list(_kept(cohort))
    rejected = list(_rejected(manifest, {member.sequence_id for member in kept}))
    optimal = [member for member in kept if not member.no_lesion]
    healthy = [member for member in kept if member.no_lesion]
    groups = {
        "Total Sequences": optimal + rejected,
        "Discard": [member for member in rejected if member.exclude != IMPLANT],
        "With Implants": [member for member in rejected if member.exclude == IMPLANT],
        "Optimal": optimal,
    }
    for title, of_kind in (("Optimal", optimal), ("No Lesion", healthy)):
        for view in in_paper_order(member.view for member in of_kind):
            groups[f"{title} {view}"] = [member for member in of_kind if member.view == view]
    return [_row(name, members, ifr_threshold) for name, members in groups.items()]


def meanings(ifr_threshold: float = IFR_CUT_OFF) -> dict[str, str]:
    """What the table's headings mean, by heading or by several with commas between them."""
    return {
        COLUMNS["name"]: "which sequences a row counts. Optimal: accepted ones that are not "
        "labelled as healthy, all and by view; Total: these and what was discarded; No Lesion: "
        "healthy ones",
        COLUMNS["patients"]: "who have these sequences",
        COLUMNS["sequences"]: "cines",
        "No Contrast, Introducing, Optimal, Vanishing": "frames of accepted sequences before "
        "contrast enters the arteries, while it does, while it fills them, and while it leaves",
        COLUMNS["stenosis_annotations"]: "reference boxes; tracked ones are not counted",
        "iFR below, iFR above": "sequences by their lowest iFR, each once: below is at most "
        f"{ifr_threshold:g}",
    }


def view_name(sequence: Sequence) -> str:
    """A sequence's view as tables and figures call it."""
    return sequence.view or NO_VIEW


def in_paper_order(views: Iterable[str]) -> list[str]:
    """Each view once: the paper's first and in its order, then others by name, none last."""
    known = {view: position for position, view in enumerate(VIEWS)}
    return sorted(set(views), key=lambda v: (v == NO_VIEW, known.get(v, len(known)), v))


def rejected_reasons(manifest: Iterable[ManifestRow]) -> dict[str, int]:
    """How many files were rejected for each reason, the most frequent first."""
    return dict(Counter(row.reason for row in manifest if row.status != "accepted").most_common())


def _kept(cohort: Cohort) -> Iterator[_Member]:
    boxes = dict.fromkeys(cohort.sequences, 0)
    for box in cohort.boxes:
        boxes[box.sequence_id] += box.source is BoxSource.REFERENCE
    for sequence in cohort.sequences.values():
        yield _Member(
            sequence_id=sequence.sequence_id,
            patient_id=sequence.patient_id,
            view=view_name(sequence),
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
        identity = row.sequence_id or row.hmac_sha256
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

    lowest = [min(member.ifr) for member in members if member.ifr]
    below = sum(value <= threshold for value in lowest)
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
        ifr_above=len(lowest) - below,
    )
