"""Regions matched with the frames of the cines that they mean."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from preprocess.annotations.categories import is_lesion, is_no_lesion
from preprocess.annotations.cines import CineNames
from preprocess.annotations.labels import Label
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.regions import BoxXyxy, Region
from preprocess.cohort import BoxSource, Polygons, Sequence, Verdict

Key = TypeVar("Key", bound=Hashable)

SEVERAL = 2
NEARLY_ALL = 0.9
TRACKED_GIVEN_BACK = (
    '{n} boxes marked as tracked are left out; mark those that you moved as "source": "corrected"'
)


@dataclass(frozen=True, kw_only=True)
class PlacedBox:
    """A region that has found its frame; ``lesion`` is what its file calls the lesion, if it does.

    ``box_xyxy`` lies in the frame: 0 <= x1 < x2 <= width.
    """

    frame_index: int
    box_xyxy: BoxXyxy
    source: BoxSource
    source_is_said: bool = False
    """Whether the file says the source, or it was concluded from the frame."""
    moved: bool = False
    """Whether the file says that it was elsewhere when it was exported."""
    lesion: str = ""
    ignored: bool = False
    confidence: float = 1.0
    verdict: Verdict = Verdict.GOOD
    segmentation: Polygons | None = None


class Regions:
    """All regions that readers drew, by the sequence that they mean.

    Attributes:
        mismatches: what did not fit so far.
    """

    def __init__(
        self,
        regions: Iterable[Region],
        mismatches: Iterable[Mismatch] = (),
        other_frames: bool = False,
        tracked_too: bool = False,
    ):
        self.mismatches = list(mismatches)
        self._tracked_too = tracked_too
        self._tracked: set[int] = set()
        self._off_reference: set[int] = set()
        self._offsets: dict[int, int] = {}
        self._regions = list(regions)
        self._other_frames = other_frames
        self._by_sequence: dict[str, list[tuple[Region, int | None]]] = defaultdict(list)

    def match(self, sequences: Iterable[tuple[str, Iterable[str]]]) -> None:
        """Find the sequence of every region.

        Args:
            sequences: each sequence's id, and the names that a region's file may call it by.
        """
        names = CineNames()
        for sequence_id, called in sequences:
            names.add(sequence_id, called)
        for region in of_lesions({"": self._regions}, self.mismatches)[""]:
            place = names.meant(region.places)
            if isinstance(place, Kind):
                self._report(region, place, f"it names {region.places[0].name!r}")
            else:
                self._by_sequence[place.name].append((region, place.frame_index))

    def drawn(self, sequence_id: str, label: Label | None) -> list[tuple[Region, int | None]]:
        """The regions of one sequence that count, and their frames (None = it is a still).

        Readers mark the artery and the iFR wire on other frames than the reference frame. So
        away from it a box counts only where its file says that it is a correction, or one of a
        lesion that is followed through time, or an area to ignore, or if all were asked for.
        """
        reference = label.reference_frame if label else None
        kept = []
        for region, frame_index in self._by_sequence.get(sequence_id, []):
            at = reference if frame_index is None else frame_index
            if reference is not None and frame_index is not None and not region.ignored:
                self._offsets[id(region)] = frame_index - reference
            followed = region.lesion or region.source is BoxSource.CORRECTED
            if region.source is BoxSource.TRACKED and not self._tracked_too:
                self._tracked.add(id(region))
            elif reference in (None, at) or followed or region.ignored or self._other_frames:
                kept.append((region, at))
            elif id(region) not in self._off_reference:
                # Said once, though several files of one instance ask for it.
                self._off_reference.add(id(region))
                self._report(region, Kind.OFF_REFERENCE, f"frame {at}, reference frame {reference}")
        return kept

    def on_other_sequences(self, kept: Iterable[str]) -> int:
        """How many regions mean cines that are not among ``kept``."""
        others = self._by_sequence.keys() - set(kept)
        return sum(len(self._by_sequence[sequence_id]) for sequence_id in others)

    def common_offset(self) -> str:
        """A sentence where nearly all regions lie off their reference frames by the same number.

        Frames count from 0 here. Where sheet and regions disagree by one, one of the two counts
        from 1.
        """
        if len(self._offsets) < SEVERAL:
            return ""
        ((offset, count),) = Counter(self._offsets.values()).most_common(1)
        if offset == 0 or count < NEARLY_ALL * len(self._offsets):
            return ""
        where = "before" if offset < 0 else "after"
        found = (
            f"{count} of {len(self._offsets)} regions lie {abs(offset)} frames {where} the "
            "reference frame of their cine"
        )
        if offset == -1:
            return (
                f"{found}: sequences.csv seems to count frames from 1. Here they count from 0; "
                "take 1 from every frame in it, and give the same command again"
            )
        if offset == 1:
            return (
                f"{found}: the regions seem to count frames from 1. Here they count from 0; have "
                "the tool that wrote them do so too, and give the same command again"
            )
        return f"{found}: look whether sequences.csv and the regions count from the same frame"

    @property
    def tracked(self) -> int:
        """How many boxes of the tracker were given back."""
        return len(self._tracked)

    def placed(
        self, drawn: Iterable[tuple[Region, int | None]], sequence: Sequence
    ) -> list[PlacedBox]:
        """The regions as boxes inside the frames of their sequence, each once."""
        found: dict[tuple[object, ...], PlacedBox] = {}
        also_called: dict[str, str] = {}
        for region, frame_index in drawn:
            at = 0 if frame_index is None and sequence.length == 1 else frame_index
            box = self._fitted(region, at, sequence)
            if box is None or at is None:
                continue
            placed = PlacedBox(
                frame_index=at,
                box_xyxy=box,
                source=_source(region, at, sequence.reference_frame),
                source_is_said=region.source is not None,
                moved=region.moved,
                lesion=also_called.get(region.lesion, region.lesion),
                ignored=region.ignored,
                confidence=region.confidence,
                verdict=region.verdict,
                segmentation=region.segmentation_on(width=sequence.width, height=sequence.height),
            )
            if region.ignored:
                self._report(region, Kind.IGNORED, f"frame {at}")
            key: tuple[object, ...] = (region.ignored, *place_key(at, box))
            if key in found and _are_two_lesions(found[key].lesion, placed.lesion):
                key = (*key, placed.lesion)
            known = found.setdefault(key, placed)
            if known is not placed:
                self._report(region, Kind.TWICE, f"frame {at}")
                if not known.lesion:  # the one that knows its lesion says more
                    found[key] = placed
                elif placed.lesion:
                    also_called[placed.lesion] = known.lesion
        return [
            replace(box, lesion=also_called.get(box.lesion, box.lesion)) for box in found.values()
        ]

    def _fitted(self, region: Region, at: int | None, sequence: Sequence) -> BoxXyxy | None:
        """The part of a region in its frame, or None; both are said where anything is wrong."""
        if at is None:
            self._report(region, Kind.NO_FRAME_NUMBER, f"the cine has {sequence.length} frames")
            return None
        if at >= sequence.length:
            self._report(region, Kind.NO_SUCH_FRAME, f"frame {at} of {sequence.length} (from 0)")
            return None
        box, mismatches = fitted(region, width=sequence.width, height=sequence.height)
        self.mismatches += mismatches
        return box

    def _report(self, region: Region, kind: Kind, said: str) -> None:
        self.mismatches.append(mismatch(region, kind, said))


def fitted(region: Region, *, width: int, height: int) -> tuple[BoxXyxy | None, list[Mismatch]]:
    """The part of a region that lies in a frame, or None, and what was wrong with it."""
    drawn_on = "a picture of {:g} x {:g}".format(*(region.picture_size or (width, height)))
    scaled = region.scaled_to(width=width, height=height)
    if scaled is None:
        said = f"drawn on {drawn_on}, the frame has {width} x {height}"
        return None, [mismatch(region, Kind.OTHER_SIZE, said)]
    written = ", ".join(f"{value:g}" for value in scaled.box_xyxy)
    where = f"{written} in a frame of {width} x {height}"
    box = scaled.within(width=width, height=height)
    if box is None:
        kind = Kind.TOO_SMALL if scaled.is_thin else Kind.OUTSIDE
        return None, [mismatch(region, kind, where)]
    found = []
    if scaled is not region:
        found.append(mismatch(region, Kind.SCALED, f"from {drawn_on} to {where}"))
    if region.rotation_deg:
        said = f"by {region.rotation_deg:g} degrees, now {written}"
        found.append(mismatch(region, Kind.ROTATED, said))
    if box != scaled.box_xyxy:
        found.append(mismatch(region, Kind.CLIPPED, where))
    if region.inverted:
        found.append(mismatch(region, Kind.INVERTED, f"now {written}"))
    return box, found


def of_lesions(
    groups: Mapping[Key, Iterable[Region]], mismatches: list[Mismatch]
) -> dict[Key, list[Region]]:
    """The regions of stenoses, by the names of their categories.

    Of a file that knows a category stenosis or lesion, the others are left out; of one that knows
    none, those that are not known to be something else are taken for lesions. Files that do not
    list what they know, as those of VOC, are looked at together.

    Args:
        groups: regions by what they were drawn on.
        mismatches: what is left out or assumed is added here.
    """
    found = {key: list(regions) for key, regions in groups.items()}
    named = {
        _vocabulary(region)
        for regions in found.values()
        for region in regions
        if region.file_knows_lesions or is_lesion(region.category)
    }
    for key, regions in found.items():
        kept = []
        for region in regions:
            category = region.category
            if category and not is_lesion(category):
                left_out = _vocabulary(region) in named or is_no_lesion(category)
                kind = Kind.OTHER_CATEGORY if left_out else Kind.ASSUMED_LESION
                mismatches.append(mismatch(region, kind, repr(category)))
                if left_out:
                    continue
            kept.append(region)
        found[key] = kept
    return found


def _vocabulary(region: Region) -> str:
    """The file whose category names are looked at together with this region's."""
    return "" if region.file_knows_lesions is None else region.file


def mismatch(region: Region, kind: Kind, said: str = "") -> Mismatch:
    """What does not fit of a region, and where it is written."""
    return Mismatch(file=region.file, line=region.line, kind=kind, said=said, entry=region.entry)


def place_key(frame_index: int, box_xyxy: BoxXyxy) -> tuple[float, ...]:
    """What two boxes share that were drawn at one place.

    COCO keeps x and width: a box comes back with its far corner off by an ulp.
    """
    return (frame_index, *(round(value, 3) for value in box_xyxy))


def with_reference(sequence: Sequence, drawn: Iterable[tuple[Region, int | None]]) -> Sequence:
    """Where the label names none: a still's own frame, or the one that alone bears regions."""
    frames = {
        at
        for region, at in drawn
        if region.source is not BoxSource.CORRECTED and not region.ignored
    }
    only = frames.pop() if len(frames) == 1 else None
    only = 0 if sequence.length == 1 else only
    if sequence.reference_frame is None and only is not None and only < sequence.length:
        return replace(sequence, reference_frame=only)
    return sequence


def _are_two_lesions(name: str, other: str) -> bool:
    """Whether both names are numbers of the cohort, and not the same."""
    return name != other and name.isdigit() and other.isdigit()


def _source(region: Region, at: int, reference_frame: int | None) -> BoxSource:
    if region.source is not None:
        return region.source
    followed = bool(region.lesion) and reference_frame not in (None, at)
    return BoxSource.CORRECTED if followed else BoxSource.REFERENCE
