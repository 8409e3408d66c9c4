"""The end of ingest: sequences, reference boxes and the manifest, from journal and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from preprocess.annotations.labels import Label, Labels
from preprocess.annotations.lesions import Lesions
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.region_matching import TRACKED_GIVEN_BACK, Regions, with_reference
from preprocess.cohort import (
    Box,
    BoxSource,
    ManifestRow,
    Sequence,
    stored_sequence,
    update_attributes,
)
from preprocess.contrast.proposals import recalled
from preprocess.dicom.pseudonyms import Pseudonyms
from preprocess.ingest.journal import Record

NOTHING_ACCEPTED = "no cine in {src} could be accepted; every file was rejected:\n{reasons}"
NO_ROW = "no row in sequences.csv"
TWO_LABELS = "two rows of sequences.csv label it"
TRACKS_DROPPED = "the tracked boxes of {n} sequences were dropped: their reference boxes changed"


@dataclass(kw_only=True)
class Assembly:
    """A cohort about to be written, and what a person should know about it.

    ``remarks`` may be shown; ``records``, of the sequences, and ``notes`` and ``mismatches`` may
    name files and stay private.
    """

    sequences: list[Sequence] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    manifest: list[ManifestRow] = field(default_factory=list)
    records: list[Record] = field(default_factory=list, repr=False)
    remarks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    mismatches: list[Mismatch] = field(default_factory=list)

    @property
    def lesion_boxes(self) -> list[Box]:
        """The boxes without the areas to ignore."""
        return [box for box in self.boxes if not box.ignored]


def labelled(sequence: Sequence, label: Label) -> Sequence:
    """The sequence with what its label says, and no more than that."""
    return replace(
        sequence,
        view=label.view,
        introducing_start=label.introducing_start,
        optimal_start=label.optimal_start,
        vanishing_start=label.vanishing_start,
        reference_frame=label.reference_frame,
        ifr=label.ifr,
        no_lesion=label.no_lesion,
        year=label.year,
        phases_proposed=False,
        reference_proposed=False,
    )


def assemble(
    records: Iterable[Record],
    labels: Labels,
    regions: Regions,
    cohort: Path,
    pseudonyms: Pseudonyms,
) -> Assembly:
    """Judge every record by its label and regions, and number the lesions.

    Args:
        records: in the order of the manifest.
        labels: the rows of ``sequences.csv``.
        regions: what readers drew.
        cohort: the folder whose stored cines the records name.
        pseudonyms: under the cohort's key.
    """
    result = Assembly()
    records = list(records)
    lesions = Lesions(cohort)
    regions.match((r.sequence_id, r.names) for r in records if r.sequence_id)
    matched: set[int] = set()
    for record in records:
        label = labels.of(record.path, record.sop_instance_uid or None)
        conflicting_label = labels.conflicting_label(record.path, record.sop_instance_uid or None)
        matched |= {row.line for row in (label, conflicting_label) if row}
        drawn = regions.drawn(record.sequence_id, label)
        count = sum(not region.ignored for region, _ in drawn)
        reason = record.reason or rejection_reason(label)
        boxes: list[Box] = []
        if label and not reason:
            stored = stored_sequence(cohort, record.sequence_id)
            kind, reason = _contradiction(label, conflicting_label, stored, has_boxes=count > 0)
            if kind:
                said = (
                    f"{reason}; the other is line {conflicting_label.line}"
                    if conflicting_label
                    else reason
                )
                at = Mismatch(file=str(labels.path), line=label.line, kind=kind, said=said)
                result.mismatches.append(at)
            else:
                sequence = with_reference(labelled(stored, label), drawn)
                boxes = lesions.merged(sequence.sequence_id, regions.placed(drawn, sequence))
                boxed = any(not box.ignored for box in boxes)
                sequence = recalled(stored, sequence, boxed=boxed)
                if sequence != stored:
                    update_attributes(cohort, sequence)
                result.sequences.append(sequence)
                result.records.append(record)
                result.boxes += boxes
        result.manifest.append(_row(record, label, reason, count, boxes, pseudonyms))
    for text, count in (
        (TRACKED_GIVEN_BACK, regions.tracked),
        (TRACKS_DROPPED, lesions.tracks_dropped),
    ):
        result.remarks += [text.format(n=count)] if count else []
    result.mismatches += regions.mismatches
    result.mismatches += [
        Mismatch(file=str(labels.path), line=row.line, kind=Kind.NO_FILE)
        for row in labels.rows
        if row.line not in matched
    ]
    return result


def rejection_counts(reasons: Iterable[str]) -> str:
    """Why files were rejected: a line for each reason, the most frequent first."""
    return "\n".join(f"{count:6} {reason}" for reason, count in Counter(reasons).most_common())


def rejection_reason(label: Label | None) -> str:
    """Why a file stays out whatever it holds, as far as its label goes; or an empty string."""
    if label is None:
        return NO_ROW
    return f"excluded: {label.exclude}" if label.exclude else ""


def _contradiction(
    label: Label, conflicting_label: Label | None, stored: Sequence, *, has_boxes: bool
) -> tuple[Kind | None, str]:
    """Why a stored cine stays out: its label fits neither it, nor its boxes, nor another label."""
    if conflicting_label:
        return Kind.TWO_LABELS, TWO_LABELS
    if label_error := label.label_error(stored.length):
        return Kind.LABEL_ERROR, label_error
    if label.no_lesion and has_boxes:
        return Kind.NO_LESION, "labelled no_lesion, but boxes are drawn on it"
    return None, ""


def _row(
    record: Record,
    label: Label | None,
    reason: str,
    drawn: int,
    boxes: list[Box],
    pseudonyms: Pseudonyms,
) -> ManifestRow:
    references = sum(box.source is BoxSource.REFERENCE and not box.ignored for box in boxes)
    return ManifestRow(
        hmac_sha256=pseudonyms.file(record.sha256),
        status="rejected" if reason else "accepted",
        reason=reason,
        sequence_id=record.sequence_id,
        patient_id=record.patient_id,
        view=(label and label.view) or "",
        exclude=(label and label.exclude) or "",
        no_lesion=bool(label and label.no_lesion),
        reference_boxes=drawn if reason else references,
        ifr=";".join(f"{value:g}" for value in label.ifr) if label else "",
    )
