"""Finished files, labels and regions put together: sequences, reference boxes and the manifest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from preprocess.annotations import Region
from preprocess.cohort import (
    Box,
    BoxSource,
    Cohort,
    ManifestRow,
    Sequence,
    stored_sequence,
    update_attributes,
)
from preprocess.journal import Record
from preprocess.labels import Label, Labels
from preprocess.proposals import recalled

NO_ROW = "no row in sequences.csv"
OFF_REFERENCE = (
    "{n} regions lie off the reference frame and are left out (--other_frames true keeps them)"
)
OUTSIDE = "{n} regions are left out: smaller than a pixel, or outside the frame or the cine"
CLIPPED = "{n} boxes reached over the edge and were cut there"
INVERTED = "{n} boxes were drawn from the far corner and were turned round"
TRACKS_DROPPED = "the tracked boxes of {n} sequences were dropped: their reference boxes changed"


@dataclass(kw_only=True)
class Assembly:
    """A cohort about to be written, and what a person should know about it.

    ``remarks`` may be shown; ``notes`` may name files and belong into the private journal.
    """

    sequences: list[Sequence] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    manifest: list[ManifestRow] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Regions:
    """All regions, found by instance or by the annotation file's name."""

    def __init__(self, regions: Iterable[Region]):
        self._by_name: dict[str, list[Region]] = defaultdict(list)
        for region in regions:
            self._by_name[region.sop_instance_uid or region.file_stem].append(region)
        self._asked: set[str] = set()

    def of(self, record: Record) -> list[Region]:
        """The regions of one source file."""
        names = (record.sop_instance_uid, PurePosixPath(record.path).stem)
        self._asked.update(names)
        return [r for name in dict.fromkeys(names) for r in self._by_name.get(name, [])]

    def orphans(self) -> dict[str, int]:
        """How many regions name a sequence that was never asked for, by that name."""
        return {n: len(r) for n, r in self._by_name.items() if n not in self._asked}


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
        phases_proposed=False,
        reference_proposed=False,
    )


def assemble(
    records: Iterable[Record],
    labels: Labels,
    regions: Regions,
    cohort: Path,
    *,
    other_frames: bool,
) -> Assembly:
    """Judge every record by its label and regions, and number the lesions.

    Args:
        records: in the order of the manifest.
        labels: the rows of ``sequences.csv``.
        regions: what readers drew.
        cohort: the folder whose stored cines the records name.
        other_frames: keep regions off the reference frame as well.
    """
    result = Assembly()
    tally: Counter[str] = Counter()
    earlier = _EarlierBoxes(cohort)
    matched: set[int] = set()
    for record in records:
        label = labels.of(record.path, record.sop_instance_uid or None)
        matched.add(label.line if label else 0)
        drawn = _on_reference(regions.of(record), label, other_frames, tally)
        reason = record.reason or objection(label)
        boxes: list[Box] = []
        if label and not reason:
            stored = stored_sequence(cohort, record.sequence_id)
            reason = label.misfit(stored.length) or _contradiction(label, drawn)
            if not reason:
                boxes = earlier.merged(_fitted(drawn, stored, tally))
                sequence = _with_reference(labelled(stored, label), drawn)
                sequence = recalled(stored, sequence, boxed=bool(boxes))
                if sequence != stored:
                    update_attributes(cohort, sequence)
                result.sequences.append(sequence)
                result.boxes += boxes
        result.manifest.append(_row(record, label, reason, drawn, boxes))
    result.remarks += [text.format(n=n) for text, n in (tally + earlier.tally).items()]
    missing = [row.line for row in labels.rows if row.line not in matched]
    _tell_unmatched(result, labels, missing, regions)
    return result


def _on_reference(
    drawn: list[Region], label: Label | None, other_frames: bool, tally: Counter[str]
) -> list[Region]:
    """The regions of the reference frame: elsewhere readers mark the artery and the iFR wire."""
    if other_frames or label is None or label.reference_frame is None:
        return drawn
    on_reference = [r for r in drawn if r.frame_index == label.reference_frame]
    tally[OFF_REFERENCE] += len(drawn) - len(on_reference)
    return on_reference


def objection(label: Label | None) -> str:
    """Why a file stays out whatever it holds, as far as its label goes; or an empty string."""
    if label is None:
        return NO_ROW
    return f"excluded: {label.exclude}" if label.exclude else ""


def _contradiction(label: Label, drawn: list[Region]) -> str:
    return "labelled no_lesion, but boxes are drawn on it" if label.no_lesion and drawn else ""


def _with_reference(sequence: Sequence, drawn: list[Region]) -> Sequence:
    """Where the label names no reference frame, the one frame that bears regions is it."""
    frames = {region.frame_index for region in drawn}
    if sequence.reference_frame is None and len(frames) == 1 and min(frames) < sequence.length:
        return replace(sequence, reference_frame=frames.pop())
    return sequence


def _fitted(drawn: list[Region], sequence: Sequence, tally: Counter[str]) -> list[Box]:
    """The regions as reference boxes inside the frame, not numbered yet."""
    boxes = []
    for region in drawn:
        box = region.within(width=sequence.width, height=sequence.height)
        if box is None or region.frame_index >= sequence.length:
            tally[OUTSIDE] += 1
            continue
        tally[CLIPPED] += box != region.box_xyxy
        tally[INVERTED] += region.inverted
        boxes.append(
            Box(
                sequence_id=sequence.sequence_id,
                frame_index=region.frame_index,
                box_xyxy=box,
                instance_id=0,
            )
        )
    return boxes


class _EarlierBoxes:
    """What an earlier run left: tracked boxes stay while their reference boxes do."""

    def __init__(self, cohort: Path):
        self._boxes: dict[str, list[Box]] = defaultdict(list)
        if (cohort / "annotations.json").is_file():
            for box in Cohort.open(cohort).boxes:
                self._boxes[box.sequence_id].append(box)
        earlier = (box.instance_id for boxes in self._boxes.values() for box in boxes)
        self._next_instance = max(earlier, default=0) + 1
        self.tally: Counter[str] = Counter()

    def merged(self, reference: list[Box]) -> list[Box]:
        """All boxes of a sequence: new ones numbered, earlier ones kept where they still hold."""
        earlier = self._boxes[reference[0].sequence_id] if reference else []
        if _places(reference) == _places(b for b in earlier if b.source is BoxSource.REFERENCE):
            return earlier
        corrected = [box for box in earlier if box.source is BoxSource.CORRECTED]
        self.tally[TRACKS_DROPPED] += any(box.source is BoxSource.TRACKED for box in earlier)
        first = self._next_instance
        self._next_instance += len(reference)
        return corrected + [
            replace(box, instance_id=i) for i, box in enumerate(reference, start=first)
        ]


def _places(boxes: Iterable[Box]) -> list[tuple[float, ...]]:
    # COCO keeps x and width: a box comes back with its far corner off by an ulp.
    return sorted((b.frame_index, *(round(v, 3) for v in b.box_xyxy)) for b in boxes)


def _row(
    record: Record, label: Label | None, reason: str, drawn: list[Region], boxes: list[Box]
) -> ManifestRow:
    references = sum(box.source is BoxSource.REFERENCE for box in boxes)
    return ManifestRow(
        sha256=record.sha256,
        status="rejected" if reason else "accepted",
        reason=reason,
        sequence_id=record.sequence_id,
        patient_id=record.patient_id,
        view=(label and label.view) or "",
        exclude=(label and label.exclude) or "",
        no_lesion=bool(label and label.no_lesion),
        reference_boxes=len(drawn) if reason else references,
        ifr=";".join(f"{value:g}" for value in label.ifr) if label else "",
    )


def _tell_unmatched(result: Assembly, labels: Labels, missing: list[int], regions: Regions) -> None:
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        result.remarks.append(f"{len(missing)} rows of {labels.path} match no file (lines {shown})")
    if orphans := regions.orphans():
        result.remarks.append(
            f"{sum(orphans.values())} regions name {len(orphans)} sequences that are not in the "
            "archive (the private journal says which)"
        )
        result.notes += [f"{n} regions of unknown sequence {name}" for name, n in orphans.items()]
