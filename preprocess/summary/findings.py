"""Doubts about a cohort, sequence by sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from preprocess.cohort import Box, BoxSource, Cohort, Phase, Sequence, Verdict
from preprocess.cohort.pictures import is_nearly_one_grey
from preprocess.summary.anchors import BACKGROUND_IOU, best_iou, box_sides
from preprocess.summary.angles import angle_outliers

FEWEST_OPTIMAL = 3
"""Optimal frames that an artery filled with contrast is seen in at the least."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of doubt, and the sequences that it is about."""

    kind: str
    title: str
    sequences: Mapping[str, str]
    """What was found, in words, by sequence_id."""


def boxes_by_sequence(cohort: Cohort) -> dict[str, list[Box]]:
    """Every sequence's boxes, lost ones included; an empty list where it has none."""
    boxes: dict[str, list[Box]] = {name: [] for name in cohort.sequences}
    for box in cohort.boxes:
        boxes[box.sequence_id].append(box)
    return boxes


def findings(cohort: Cohort) -> list[Finding]:
    """The kinds of doubt that some sequence of the cohort gives reason to, gravest first."""
    boxes = boxes_by_sequence(cohort)
    angles = angle_outliers(cohort.sequences.values())
    found = [Finding(kind="angles", title="The angles do not fit the view", sequences=angles)]
    for kind, (title, check) in CHECKS.items():
        said = {name: check(s, boxes[name]) for name, s in cohort.sequences.items()}
        doubted = {name: words for name, words in said.items() if words}
        if kind not in LACKS or 2 * len(doubted) < len(said):
            found.append(Finding(kind=kind, title=title, sequences=doubted))
    return [finding for finding in found if finding.sequences]


def _no_view(sequence: Sequence, _: list[Box]) -> str:
    return "" if sequence.view else "most others have one"


def _healthy(sequence: Sequence, boxes: list[Box]) -> str:
    if not boxes or not sequence.no_lesion:
        return ""
    return f"{len(boxes)} box{'es' if len(boxes) > 1 else ''}"


def _no_box(sequence: Sequence, boxes: list[Box]) -> str:
    return "" if boxes or sequence.no_lesion else "draw its boxes, or label it as no_lesion"


def _unlabelled(sequence: Sequence, _: list[Box]) -> str:
    known = sequence.optimal_start is not None or sequence.shows_no_filling
    return "" if known or sequence.length == 1 else "most others have them"


def _unfilled(sequence: Sequence, _: list[Box]) -> str:
    return "perhaps it never came, or frames are too few" if sequence.shows_no_filling else ""


def _lost(_: Sequence, boxes: list[Box]) -> str:
    verdicts = [box.verdict for box in boxes if box.source is BoxSource.TRACKED]
    lost = verdicts.count(Verdict.LOST)
    return f"{lost} of {len(verdicts)} tracked boxes are lost and not trained on" if lost else ""


def _text(sequence: Sequence, _: list[Box]) -> str:
    if not sequence.may_hold_text:
        return ""
    return "letters seem to stand in its pixels; if they name a patient, exclude the cine"


def _one_grey(sequence: Sequence, _: list[Box]) -> str:
    if not is_nearly_one_grey(sequence):
        return ""
    return f"{sequence.grey_range} of 256 grey levels between their dark and their bright parts"


def _display(sequence: Sequence, _: list[Box]) -> str:
    if not sequence.display.replaces_header:
        return ""
    return "the header's own has hardly any contrast; this one is from the pixels"


def _cleared(sequence: Sequence, _: list[Box]) -> str:
    if not sequence.cleared_values:
        return ""
    return (
        f"{sequence.cleared_values} values had bits beyond the {sequence.bits_stored} stored, an "
        "old overlay perhaps; look whether traces of it are left"
    )


def _reference(sequence: Sequence, boxes: list[Box]) -> str:
    optimal, reference = sequence.frames_in(Phase.OPTIMAL), sequence.reference_frame
    if reference is None:
        return "boxes, but no reference frame" if boxes and sequence.length > 1 else ""
    if optimal and reference not in optimal:
        return f"frame {reference} is outside the optimal {optimal[0]} to {optimal[-1]}"
    if boxes and not any(box.frame_index == reference for box in boxes):
        return f"frame {reference} has no box, other frames have"
    return ""


def _intervals(sequence: Sequence, _: list[Box]) -> str:
    optimal = len(sequence.frames_in(Phase.OPTIMAL))
    if sequence.optimal_start is None or optimal >= min(FEWEST_OPTIMAL, sequence.length):
        return ""
    return f"optimal frames: {optimal} of {sequence.length}"


def _unlike_anchors(sequence: Sequence, boxes: list[Box]) -> str:
    placed = [box for box in boxes if box.source is not BoxSource.TRACKED]
    sides = box_sides(placed, {sequence.sequence_id: sequence})
    unlike = best_iou(sides) < BACKGROUND_IOU
    if not unlike.any():
        return ""
    width, height = sides[unlike][0]
    return f"{width:.0f} x {height:.0f} px at 512 x 512, IoU under {BACKGROUND_IOU} with every one"


CHECKS: dict[str, tuple[str, Callable[[Sequence, list[Box]], str]]] = {
    "text": ("May hold text in its pixels: look at them", _text),
    "one_grey": ("Pictures of nearly one grey", _one_grey),
    "display": ("A display that is not the header's", _display),
    "cleared": ("Bits beyond those stored were cleared", _cleared),
    "view": ("No view", _no_view),
    "healthy": ("Labelled as healthy, but has boxes", _healthy),
    "no_box": ("No box, though not labelled as healthy", _no_box),
    "lost": ("Boxes lost by tracking", _lost),
    "reference": ("Odd reference frame", _reference),
    "unlabelled": ("No contrast intervals", _unlabelled),
    "unfilled": ("No contrast was found in the arteries", _unfilled),
    "intervals": ("Hardly any optimal frames", _intervals),
    "anchors": ("A reader's box that no anchor resembles", _unlike_anchors),
}
"""Title and check of each kind of finding; a check says what is wrong, or nothing."""
LACKS = ("view", "no_box", "unlabelled")
"""What half of the sequences lack is how the cohort is, and no doubt about any of them."""
