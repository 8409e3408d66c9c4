"""``python -m preprocess correct``: what was drawn in another tool, back into the cohort."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from preprocess.annotations.cines import CineNames
from preprocess.annotations.lesions import Lesions, Remark
from preprocess.annotations.mismatches import Kind, Mismatch, write_mismatches
from preprocess.annotations.region_files import read_all_regions, read_shown, region_files
from preprocess.annotations.region_matching import Regions
from preprocess.cohort import (
    Box,
    BoxSource,
    Cohort,
    read_manifest,
    write_annotations,
    write_manifest,
)
from preprocess.cohort.reviews import Review, ReviewJournal, State, changing, reviewed_rows
from preprocess.console.command_line import usage
from preprocess.console.settings import Settings
from preprocess.storage.names import beside

USED_ALL_THE_SAME = {
    *(Kind.SCALED, Kind.ROTATED, Kind.IGNORED, Kind.TWICE, Kind.CLIPPED, Kind.INVERTED),
    Kind.ASSUMED_LESION,
}
"""What is told of a region that is taken."""


@dataclass(frozen=True, kw_only=True)
class CorrectSettings(Settings):
    """Who corrects."""

    by: str = "reviewer"
    """Who drew, as review.jsonl has it: a letter or a number, for the cohort holds no names of
    persons."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the files show: whole cines, and frames by cine. What is not drawn there is gone."""

    cines: frozenset[str]
    frames: Mapping[str, frozenset[int]]

    def has(self, sequence_id: str, frame_index: int) -> bool:
        """Whether this frame is shown."""
        return sequence_id in self.cines or frame_index in self.frames.get(sequence_id, ())


@usage(again="starts anew")
def correct(cohort: Path, regions: Path, settings: CorrectSettings) -> None:
    """Take boxes that were corrected in another tool back into a cohort.

    The archive is not needed. A box that is where it was stays as it is, to the last bit, and
    tools may round corners to two decimals. A reader's box that was moved becomes a correction,
    one that was deleted is gone, and a new track is a new lesion. Tracked boxes stay where no
    reader's box of their lesion has changed. The changes are kept in the cohort's journal of
    reviews, so a later ingest keeps them.

    Args:
        cohort: the cohort folder.
        regions: a file, or a folder of files, of CVAT for video, COCO, Pascal VOC or OsiriX, that
            call the cines by the cohort's names of sequences.

    Raises:
        ValueError: it is no cohort, no file can be read, or none names a sequence of the cohort.

    Examples:
        python -m preprocess correct cohort cohort-cvat
        python -m preprocess correct cohort annotations.json
    """
    with changing(cohort):
        _correct(cohort, regions, settings)


def _correct(cohort: Path, regions: Path, settings: CorrectSettings) -> None:
    opened = Cohort.open(cohort)
    files = region_files(regions)
    found, unread = read_all_regions(files, regions)
    drawn = Regions(found, unread, other_frames=True, tracked_too=True)
    drawn.match((name, [name]) for name in opened.sequences)
    shown = _shown(files, regions, unread, opened.sequences)
    lesions = Lesions(cohort)
    before: dict[str, list[Box]] = defaultdict(list)
    for box in (*opened.boxes, *opened.ignored):
        before[box.sequence_id].append(box)
    after = {
        name: _corrected(opened, name, drawn, shown, lesions, before[name])
        for name in opened.sequences
    }
    told = write_mismatches(beside(cohort, ".correct"), drawn.mismatches)
    named = shown.cines | shown.frames.keys()
    if not named and not any(drawn.drawn(name, None) for name in opened.sequences):
        nothing = f"{regions} was read, and nothing in it names a sequence of {cohort}:"
        raise ValueError(
            "\n  ".join([nothing, *told])
            + "\nName the CVAT task, or the folder of its file, as the sequence."
        )
    changed = [name for name in after if set(after[name]) != set(before[name])]
    if changed:
        _write(opened, {name: after[name] for name in changed}, before, settings.by)
    told += [remark.format(n=n) for remark in Remark if (n := lesions.remarks[remark])]
    for text in told:
        print(f"Note: {text}.")
    _print_outcome(cohort, before, after, changed, lesions.tracks_dropped)


def _shown(
    files: Iterable[Path], folder: Path, unread: Iterable[Mismatch], sequences: Iterable[str]
) -> Shown:
    """What the files show; one of which anything could not be read shows nothing for sure."""
    names = CineNames()
    for name in sequences:
        names.add(name, [name])
    doubtful = {mismatch.file for mismatch in unread}
    cines, frames = set(), defaultdict[str, set[int]](set)
    for path in files:
        if str(path) in doubtful:
            continue
        for places in read_shown(path, folder if folder.is_dir() else None):
            place = names.meant(places)
            if isinstance(place, Kind):
                continue
            if place.frame_index is None:
                cines.add(place.name)
            else:
                frames[place.name].add(place.frame_index)
    return Shown(
        cines=frozenset(cines), frames={name: frozenset(found) for name, found in frames.items()}
    )


def _corrected(
    cohort: Cohort,
    name: str,
    drawn: Regions,
    shown: Shown,
    lesions: Lesions,
    before: list[Box],
) -> list[Box]:
    """The boxes of one sequence as they are now."""
    sequence = cohort.sequences[name]
    regions = drawn.drawn(name, None)
    if not regions and name not in shown.cines and name not in shown.frames:
        return before
    known = len(drawn.mismatches)
    placed = drawn.placed(regions, sequence)
    if sequence.no_lesion and any(not one.ignored for one in placed):
        said = "labelled no_lesion, but boxes are drawn on it"
        drawn.mismatches += [
            Mismatch(file=region.file, line=region.line, kind=Kind.NO_LESION, said=said)
            for region, _ in regions[:1]
        ]
        return before
    # Where a region could not be placed, nobody knows which box it was.
    sure = all(each.kind in USED_ALL_THE_SAME for each in drawn.mismatches[known:])
    return lesions.corrected(name, placed, lambda frame: sure and shown.has(name, frame))


def _write(
    cohort: Cohort, changed: Mapping[str, list[Box]], before: Mapping[str, list[Box]], by: str
) -> None:
    """Keep the changes in the journal, then in the cohort: a later ingest knows them by it."""
    reviews = {}
    with ReviewJournal(cohort.folder) as journal:
        for name, boxes in changed.items():
            current = State.of(cohort.sequences[name], before[name])
            known = (journal.latest.get(name) or Review.begun(name, current)).on(current)
            decided = replace(known.state, boxes=tuple(boxes))
            reviews[name] = known.then(decided, by=by, accepted=False)
            journal.append(reviews[name])
        boxes = [box for name in cohort.sequences for box in changed.get(name, before[name])]
        write_annotations(cohort.folder, cohort.sequences.values(), boxes)
        if rows := read_manifest(cohort.folder):
            write_manifest(cohort.folder, reviewed_rows(rows, reviews))


def _print_outcome(
    cohort: Path,
    before: Mapping[str, list[Box]],
    after: Mapping[str, list[Box]],
    changed: list[str],
    dropped: int,
) -> None:
    if not changed:
        print(f"{cohort} has these boxes already; nothing is changed.")
        return
    old, new = ({box for name in changed for box in boxes[name]} for boxes in (before, after))
    # A place that had a tracked box, and has a reader's now, was corrected.
    were, are = (
        {(b.sequence_id, b.frame_index, b.instance_id): b for b in boxes if not b.ignored}
        for boxes in (old, new)
    )
    drawn = {place: box for place, box in are.items() if box.source is not BoxSource.TRACKED}
    corrected = sum(place in were and were[place] != box for place, box in drawn.items())
    added = len(drawn.keys() - were.keys())
    gone = sum(were[place].source is not BoxSource.TRACKED for place in were.keys() - are.keys())
    print(
        f"Changed {len(changed)} sequences: {corrected} boxes corrected, {added} new, {gone} gone."
    )
    if areas := max(sum(box.ignored for box in some) for some in (old - new, new - old)):
        print(f"Changed {areas} areas to ignore.")
    print(f"Wrote {cohort} (annotations.json, review.jsonl).")
    if dropped:
        print(f"The tracked boxes of {dropped} sequences were dropped: their key boxes changed.")
    print(f"Next: python -m preprocess propagate {cohort}")
