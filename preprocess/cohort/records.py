"""The records of a cohort: a sequence, a box, and the values that their fields may have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from preprocess.cohort.display import Display
from preprocess.storage.names import CONTROL


class Phase(StrEnum):
    """Where a frame lies in the passage of contrast (paper, section 2: intervals a to d)."""

    NO_CONTRAST = "no_contrast"
    INTRODUCING = "introducing"
    OPTIMAL = "optimal"
    VANISHING = "vanishing"


class BoxSource(StrEnum):
    """Who placed a box: the reader, the tracker, or a reader correcting the tracker."""

    REFERENCE = "reference"
    TRACKED = "tracked"
    CORRECTED = "corrected"


class Verdict(StrEnum):
    """How far a tracked box can be trusted; a lost one is never trained on."""

    GOOD = "good"
    CHECK = "check"
    LOST = "lost"


Bounds = tuple[int | None, int | None, int | None]


class Exclusion(StrEnum):
    """Why a cine is kept out although it is whole (paper, section 2)."""

    IMPLANT = "implant"
    PACEMAKER = "pacemaker"
    IFR_WIRE = "ifr_wire"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """One cine, as its array's attributes hold it. Angles are DICOM's (0018,1510) and (0018,1511).

    Phase bounds are the first frame of each interval, 0-based; ``vanishing_start == length`` says
    that the contrast never vanishes. All three are None where the intervals are unknown.
    """

    sequence_id: str
    patient_id: str
    view: str | None
    length: int
    height: int
    width: int
    bits_stored: int
    display: Display
    frames_digest: str
    primary_angle_deg: float | None = None
    secondary_angle_deg: float | None = None
    frame_time_ms: float | None = None
    imager_pixel_spacing_mm: tuple[float, float] | None = None
    transfer_syntax_uid: str | None = None
    introducing_start: int | None = None
    optimal_start: int | None = None
    vanishing_start: int | None = None
    reference_frame: int | None = None
    ifr: tuple[float, ...] = ()
    no_lesion: bool = False
    phases_proposed: bool = False
    """Whether the bounds were proposed from the pixels, not labelled by a reader."""
    reference_proposed: bool = False
    """Whether the reference frame was proposed from the pixels, not chosen by a reader."""
    quality_control_image: bool = False
    """Whether it shows a phantom, by DICOM's (0028,0300). A cohort that was written before this was
    read does not have it, and says False."""

    grey_range: int | None = None
    """Of its pictures, by :func:`preprocess.cohort.display.grey_range`; None in a cohort that was
    written before this was measured."""
    cleared_values: int = 0
    """Stored values of which bits beyond Bits Stored (0028,0101) were cleared: an old overlay."""
    may_hold_text: bool = False
    """Whether its pixels show strokes as text has, in the same place of every frame."""
    part: str | None = None
    """Of a public data set as it was published: train, val or test."""
    manufacturer: str | None = None
    """One of a few known makers, or ``other``, by DICOM's (0008,0070); None where nobody says, and
    in a cohort that was written before this was read."""
    year: int | None = None
    """In which it was acquired, where the person who labelled it says so."""

    def phase(self, frame_index: int) -> Phase | None:
        """The interval that a frame lies in, or None where the bounds are unknown."""
        return phase_within(self.bounds, frame_index)

    @property
    def bounds(self) -> Bounds:
        """The first frames of the introducing, optimal and vanishing intervals."""
        return self.introducing_start, self.optimal_start, self.vanishing_start

    @property
    def shows_no_filling(self) -> bool:
        """Whether no filling of the arteries was found in the pixels, or too few frames to tell."""
        return self.phases_proposed and self.introducing_start is None

    def frames_in(self, phase: Phase) -> range:
        """The 0-based frame indices of one interval; empty where the bounds are unknown."""
        if self.introducing_start is None:
            return range(0)
        assert self.optimal_start is not None and self.vanishing_start is not None
        starts = [0, self.introducing_start, self.optimal_start, self.vanishing_start, self.length]
        position = list(Phase).index(phase)
        return range(starts[position], starts[position + 1])

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Sequence:
        """Rebuild a sequence from its array's attributes; unknown keys are ignored.

        Raises:
            KeyError, TypeError, ValueError: one is missing, is of another type, or holds a
                character that commands a terminal.
        """
        known = {f.name: attributes[f.name] for f in fields(cls) if f.name in attributes}
        known["display"] = Display.from_attributes(known["display"])
        known["ifr"] = tuple(known.get("ifr") or ())
        if spacing := known.get("imager_pixel_spacing_mm"):
            known["imager_pixel_spacing_mm"] = tuple(spacing)
        sequence = cls(**known)
        check_types(sequence.display)
        check_types(sequence)
        for name, value in vars(sequence).items():
            if isinstance(value, str) and CONTROL.search(value):
                raise ValueError(f"{name} holds a control character: {ascii(value)[:80]}")
        return sequence


def phase_within(bounds: Bounds, frame_index: int) -> Phase | None:
    """The interval that a frame lies in, or None where a bound is unknown."""
    if None in bounds:
        return None
    return list(Phase)[sum(frame_index >= bound for bound in bounds if bound is not None)]


Polygons = tuple[tuple[float, ...], ...]
"""COCO's ``segmentation``: of each polygon x1, y1, x2, y2, … of its corners, in frame pixels."""

NO_LESION = 0
"""The ``instance_id`` of areas to ignore."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A stenosis in one frame, or an area to ignore.

    ``box_xyxy`` is in stored-frame pixels, 0 <= x1 < x2 <= width. ``instance_id`` is the lesion
    through time, unique in the cohort. ``confidence`` runs from 0 to 1; a reader's box has 1.
    """

    sequence_id: str
    frame_index: int
    box_xyxy: tuple[float, float, float, float]
    instance_id: int
    source: BoxSource = BoxSource.REFERENCE
    confidence: float = 1.0
    verdict: Verdict = Verdict.GOOD
    ignored: bool = False
    """Whether nobody says what is in it (COCO's ``iscrowd``): boxes there are neither right nor
    false, and nothing is learned from it as a lesion."""
    grade: str | None = field(default=None, compare=False)
    """The degree of stenosis as its data set writes it, such as CADICA's ``p50_70`` (narrower by 50
    to 70 %); None where nobody says. Boxes are equal whatever their grades: which lesion is where,
    and whether a reader accepted that, does not depend on them."""
    segmentation: Polygons | None = field(default=None, compare=False)
    """The outline of the lumen along the lesion, where a reader drew it. It goes with a box that
    stays where it is, and compares as little as a grade does."""

    @property
    def doubtful(self) -> bool:
        """Whether tracking placed it and is not sure of its place; a reader's box never is."""
        return self.source is BoxSource.TRACKED and self.verdict is Verdict.CHECK


BOUND = 2**63
"""Of numbers that arrays take; what is not finite is not below it either."""


def check_types(record: Any) -> None:
    """Refuse a record that was read back with a value of another type than its field's.

    Numbers are finite, and such as arrays take. Types are plain ones, tuples of them, unions of
    them, or literal texts.

    Raises:
        TypeError: there is one; it is named.
    """
    for name, hint in _hints(record.__class__).items():
        if not _fits(value := getattr(record, name), hint):
            raise TypeError(f"{name} is {ascii(value)[:80]}")


def name_no_patients(sequences: Collection[Sequence]) -> bool:
    """Whether every patient is one still, as in public sets that name no patients."""
    patients = {sequence.patient_id for sequence in sequences}
    stills = all(sequence.length == 1 for sequence in sequences)
    return stills and len(patients) == len(sequences) > 1


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    parts = get_args(hint)
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in parts
    if get_origin(hint) is UnionType:
        return any(_fits(value, part) for part in parts)
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        expected = parts[:1] * len(value) if parts[-1] is ... else parts
        return len(value) == len(expected) and all(map(_fits, value, expected))
    if isinstance(value, bool):
        return hint is bool
    if hint in (int, float):
        return isinstance(value, (int, float) if hint is float else int) and abs(value) < BOUND
    return isinstance(value, get_origin(hint) or hint)
