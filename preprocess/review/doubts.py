"""Which cines a person should look at first, and why: every doubt about the labels of a cohort."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from statistics import fmean

from preprocess.cohort import Box, BoxSource, Cohort, Verdict
from preprocess.review.predictions import FoundBox, FrameKey, Predictions, read_predictions
from preprocess.storage import Location
from preprocess.summary.findings import findings
from preprocess.tracking.boxes import BoxXyxy, centre, overlap

OF_FINDINGS = {
    **dict.fromkeys(("text", "healthy", "no_box", "reference", "view"), 0.9),
    **dict.fromkeys(("angles", "unlabelled", "unfilled", "intervals", "one_grey"), 0.5),
    **dict.fromkeys(("display", "cleared", "anchors"), 0.1),
    "lost": 0.0,
}
"""Weights of the summary's findings: what contradicts itself or may name a patient, what is likely
wrong, what is merely unusual. Lost boxes count lesion by lesion, by :data:`OF_TRACKING`."""
OF_TRACKING = {Verdict.LOST: 0.3, Verdict.CHECK: 0.1}
"""Weights of a lesion of which all tracked boxes are so. They are low: a box that is hard to track
was as often drawn rightly as any other (benchmarks/label_doctor.py)."""
WRONG_BOXES, MISSED_LESIONS, WRONG_VIEWS = 0.02, 0.02, 0.05
"""Shares of labels that are assumed to be wrong (:func:`_weights`); tuned by that benchmark."""
SAME_LESION, FITTING = 0.3, 0.5
"""IoU from which two boxes are of the same lesion, tuned likewise, and from which they agree."""
CONFIRMED = 0.5
"""Support above which no label is doubted, however sure the study is of all others; and score above
which a box counts in the metrics of a study."""
LEAST_WEIGHT = 0.05
"""A weaker doubt is not worth a line."""
EVEN = 0.5
"""Probability from which a classifier names another view, rather than being unsure."""
CANDIDATES = 5
"""A detector's best boxes of a frame, as the paper takes; lower ones do not count as found."""


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Something about one cine that a person should look at.

    Attributes:
        kind: a finding's of the summary; or ``tracking``, ``undrawn``, ``not_found``,
            ``misplaced``, ``other_view``.
        words: what is doubted and why, with numbers.
        weight: how likely the label is wrong, from 0 to 1. It orders; it is no measured rate.
        frame_index: where to look; None for the whole cine.
        box_xyxy: the place in that frame, where a detector and the readers differ; None elsewhere.
    """

    kind: str
    words: str
    weight: float
    frame_index: int | None = None
    box_xyxy: BoxXyxy | None = None


def doubts(cohort: Cohort, runs: Location | None) -> dict[str, list[Doubt]]:
    """Every sequence that something is doubted about, most doubtful first; its gravest doubt first.

    The weights of a sequence's doubts are taken together as if they were independent.

    Args:
        cohort: the cohort as it is now, corrections included.
        runs: of a study of it, whose out-of-fold predictions are asked; None for no study.

    Raises:
        ValueError: ``runs`` holds no study of this cohort's cines, or a damaged one.
    """
    found: dict[str, list[Doubt]] = defaultdict(list)
    for sequence_id, doubt in _all_doubts(cohort, runs):
        if doubt.weight >= LEAST_WEIGHT:
            found[sequence_id].append(doubt)
    trusted = {name: math.prod(1 - doubt.weight for doubt in of) for name, of in found.items()}
    return {
        name: sorted(found[name], key=lambda doubt: -doubt.weight)
        for name in sorted(trusted, key=lambda name: (trusted[name], name))
    }


def _all_doubts(cohort: Cohort, runs: Location | None) -> Iterator[tuple[str, Doubt]]:
    yield from _of_tracking(cohort)
    for finding in findings(cohort):
        for sequence_id, words in finding.sequences.items():
            said, weight = f"{finding.title}: {words}", OF_FINDINGS[finding.kind]
            yield sequence_id, Doubt(kind=finding.kind, words=said, weight=weight)
    if runs is not None:
        predictions = read_predictions(cohort, runs)
        yield from _of_boxes(cohort, predictions)
        yield from _of_views(cohort, predictions)


def _of_tracking(cohort: Cohort) -> Iterator[tuple[str, Doubt]]:
    """Lesions that tracking lost, or that it is not sure of."""
    tracked: dict[tuple[str, int], list[Box]] = defaultdict(list)
    for box in cohort.boxes:
        if box.source is BoxSource.TRACKED:
            tracked[box.sequence_id, box.instance_id].append(box)
    for (sequence_id, _), boxes in tracked.items():
        counts = {verdict: sum(box.verdict is verdict for box in boxes) for verdict in OF_TRACKING}
        worst = min(boxes, key=lambda box: box.confidence)
        said = " and ".join(
            f"{count} {'lost' if verdict is Verdict.LOST else 'to be checked'}"
            for verdict, count in counts.items()
            if count
        )
        words = (
            f"of {len(boxes)} tracked boxes of a lesion, {said}; the least sure one, in frame "
            f"{worst.frame_index}, has confidence {worst.confidence:.2f}"
        )
        weight = sum(OF_TRACKING[verdict] * count for verdict, count in counts.items()) / len(boxes)
        doubt = Doubt(kind="tracking", words=words, weight=weight, frame_index=worst.frame_index)
        yield sequence_id, doubt


def _of_boxes(cohort: Cohort, predictions: Predictions) -> Iterator[tuple[str, Doubt]]:
    """Readers' boxes that detectors do not confirm, and lesions that detectors alone see."""
    drawn: dict[FrameKey, list[BoxXyxy]] = defaultdict(list)
    for placed in (*cohort.boxes, *cohort.ignored):
        drawn[placed.sequence_id, placed.frame_index].append(placed.box_xyxy)
    frames = _compared_frames(cohort, predictions, drawn)
    readers = [(key, box) for key in frames for box in cohort.boxes_by_frame.get(key, [])]
    supports = [_support(box.box_xyxy, predictions.boxes[key]) for key, box in readers]
    weights = _weights([1 - support for support in supports], len(readers), WRONG_BOXES)
    for (key, box), support, weight in zip(readers, supports, weights, strict=True):
        if support <= CONFIRMED:
            kind, words = _unconfirmed(box, predictions.boxes[key])
            yield key[0], _in_frame(key, kind, words, weight, box.box_xyxy)
    elsewhere = {key: _elsewhere(predictions.boxes[key], drawn[key]) for key in frames}
    undrawn = [(key, *found) for key, found in elsewhere.items() if found]
    weights = _weights([support for _, support, _ in undrawn], len(frames), MISSED_LESIONS)
    for (key, _, place), weight in zip(undrawn, weights, strict=True):
        detectors = predictions.boxes[key]
        found = _same_lesion(place, detectors)
        words = (
            f"{_subject(found, detectors, 'find')} a lesion at {_place(place)} with score "
            f"{_average([box.score for box in found])}; no reader drew one there"
        )
        yield key[0], _in_frame(key, "undrawn", words, weight, place)


def _in_frame(key: FrameKey, kind: str, words: str, weight: float, box_xyxy: BoxXyxy) -> Doubt:
    words = f"in frame {key[1]}, {words}"
    return Doubt(kind=kind, words=words, weight=weight, frame_index=key[1], box_xyxy=box_xyxy)


def _of_views(cohort: Cohort, predictions: Predictions) -> Iterator[tuple[str, Doubt]]:
    """Sequences to which view classifiers give another view."""
    others: list[tuple[float, str, str]] = []
    for sequence_id, classifiers in predictions.views.items():
        view = cohort.sequences[sequence_id].view
        given = predictions.view_class.get(view, view) if view else None
        other_classes = sorted({name for found in classifiers for name in found} - {given})
        if given and other_classes:
            mean = {n: fmean(found.get(n, 0.0) for found in classifiers) for n in other_classes}
            other = max(other_classes, key=lambda name: mean[name])
            others.append((mean[other], sequence_id, other))
    weights = _weights([probability for probability, *_ in others], len(others), WRONG_VIEWS)
    for (probability, sequence_id, other), weight in zip(others, weights, strict=True):
        if probability < EVEN:
            continue
        view, classifiers = cohort.sequences[sequence_id].view, predictions.views[sequence_id]
        naming = [p for found in classifiers if (p := found.get(other, 0.0)) >= EVEN]
        words = (
            f"labelled {view}, but {_subject(naming, classifiers, 'name', 'classifier')} it "
            f"{other} with probability {_average(naming)}"
        )
        yield sequence_id, Doubt(kind="other_view", words=words, weight=weight)


def _compared_frames(
    cohort: Cohort, predictions: Predictions, drawn: Mapping[FrameKey, object]
) -> list[FrameKey]:
    """One frame of each sequence: its reference frame, or else the first that was judged.

    One without boxes tells nothing where the sequence has boxes in other frames.
    """
    judged: dict[str, list[int]] = defaultdict(list)
    for sequence_id, frame_index in predictions.boxes:
        judged[sequence_id].append(frame_index)
    boxed = {sequence_id for sequence_id, _ in drawn}
    chosen = []
    for sequence_id, frames in judged.items():
        reference = cohort.sequences[sequence_id].reference_frame
        key = (sequence_id, reference if reference in frames else min(frames))
        if key in drawn or sequence_id not in boxed:
            chosen.append(key)
    return chosen


def _support(box: BoxXyxy, detectors: Sequence[Sequence[FoundBox]]) -> float:
    """How well detectors confirm a box, from 0 to 1: :func:`_best_match`, averaged over them."""
    return fmean(_best_match(box, boxes)[0] for boxes in detectors)


def _best_match(box: BoxXyxy, boxes: Sequence[FoundBox]) -> tuple[float, FoundBox | None]:
    """The highest score times squared overlap (IoU) with a box, and whose it is.

    The overlap counts twice because a box beside its lesion still overlaps with the right one. Of
    the products that were tried, this one finds most wrong boxes.
    """
    best, match = 0.0, None
    for found in boxes:
        if found.score <= best:
            break  # those that follow have lower scores still
        if (confirms := _confirms(found, box)) > best:
            best, match = confirms, found
    return best, match


def _confirms(found: FoundBox, box: BoxXyxy) -> float:
    return found.score * overlap(found.box_xyxy, box) ** 2


def _same_lesion(box: BoxXyxy, detectors: Sequence[Sequence[FoundBox]]) -> list[FoundBox]:
    """The best match of each detector that has a box of the same lesion."""
    alike = ([f for f in of if overlap(f.box_xyxy, box) >= SAME_LESION] for of in detectors)
    return [match for boxes in alike if (match := _best_match(box, boxes)[1])]


def _elsewhere(
    detectors: Sequence[Sequence[FoundBox]], drawn: Sequence[BoxXyxy]
) -> tuple[float, BoxXyxy] | None:
    """The box best supported by the detectors where nobody drew one, and its support."""
    candidates = [
        found.box_xyxy
        for boxes in detectors
        for found in boxes[:CANDIDATES]
        if all(overlap(found.box_xyxy, box) < SAME_LESION for box in drawn)
    ]
    supported = ((_support(box, detectors), box) for box in candidates)
    return max((found for found in supported if found[0] > 0), default=None)


def _weights(doubted: Sequence[float], total: int, wrong: float) -> list[float]:
    """The weight of each label's doubt among all of its kind.

    Scores of detectors and classifiers say little by themselves, so each label is compared with all
    the others. Where a share of all is doubted as much as this one or more, the odds that it is
    wrong are set to ``wrong : share``: the most doubted stand out, the many in the middle do not.

    Args:
        doubted: how much each label is, in any unit.
        total: of labels; those that are left out are doubted less.
        wrong: share of labels that is assumed to be wrong.
    """
    ordered = sorted(doubted)
    return [
        wrong / (wrong + (len(ordered) - bisect_left(ordered, value)) / total) for value in doubted
    ]


def _unconfirmed(drawn: Box, detectors: Sequence[Sequence[FoundBox]]) -> tuple[str, str]:
    """The kind of doubt about a box of the cohort, and what is said of it."""
    box, tracked = drawn.box_xyxy, drawn.source is BoxSource.TRACKED
    place, name = _place(box), "the tracked box" if tracked else "the box"
    found = _same_lesion(box, detectors)
    if not found:
        words = f"{_subject(detectors, detectors, 'find')} nothing like {name}"
        return "not_found", f"{words}{'' if tracked else ' that a reader drew'} at {place}"
    best = max(found, key=lambda one: _confirms(one, box))
    iou = overlap(best.box_xyxy, box)
    # A good match that the others do not share, or one that is less sure than it is well placed.
    if iou >= FITTING and (_confirms(best, box) > CONFIRMED or best.score <= iou**2):
        fitting = [one for one in found if overlap(one.box_xyxy, box) >= FITTING]
        scores = [one.score for one in fitting]
        only = "only " if fmean(scores) <= CONFIRMED else ""
        words = f"{_subject(fitting, detectors, 'find')} {name} at {place} with a score of "
        return "not_found", f"{words}{only}{_average(scores)}"
    width, height = (best.box_xyxy[i + 2] - best.box_xyxy[i] for i in (0, 1))
    differs = (
        f"one of {width:.0f} x {height:.0f} px, its centre "
        f"{math.dist(centre(best.box_xyxy), centre(box)):.0f} px away (score {best.score:.2f}, "
        f"overlap as IoU {iou:.2f})"
    )
    subject = _subject(found, detectors, "find")
    if len(found) == 1:
        return "misplaced", f"instead of {name} at {place}, {subject} {differs}"
    return "misplaced", f"{subject} a box like {name} at {place}; the best match is {differs}"


def _subject(who: Sized, of: Sized, verb: str, name: str = "detector") -> str:
    """Who says something, of all that were asked, with the verb."""
    if len(of) == 1:
        return f"the {name} {verb}s"
    share = "" if len(who) == len(of) else f"{len(who)} of "
    return f"{share}{len(of)} {name}s {verb}{'s' if len(who) == 1 else ''}"


def _average(values: Sequence[float]) -> str:
    return f"{fmean(values):.2f}{' on average' if len(values) > 1 else ''}"


def _place(box: BoxXyxy) -> str:
    x1, y1, x2, y2 = box
    return f"x {x1:.0f} to {x2:.0f}, y {y1:.0f} to {y2:.0f}"
