"""How far readers agree: each is judged as a detector against each other, by the same metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, ClassVar

import numpy as np

from angioray.evaluation.detection import PAPER, JudgedFrames, Matched, per_frame
from angioray.evaluation.intervals import Interval, Jackknife
from angioray.evaluation.matching import FloatArray, IntArray, Predictions, box_iou
from angioray.evaluation.measures import Draws, Measure, Ratio, Rules, divided, value

EVERY_VIEW = "all"

AT_LEAST_ONE = PAPER.name("at_least_one")
RECALL, PRECISION, F1, MEAN_IOU = (
    PAPER.name(measure, boxes=PAPER.max_detections)
    for measure in ("recall", "precision", "F1", "mean_IoU")
)
ANY_LESION, ANY_LESION_KAPPA = "any_lesion/agreement", "any_lesion/kappa"
SAME_VIEW, SAME_VIEW_KAPPA = "view/agreement", "view/kappa"


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What one reader says of one sequence."""

    patient_id: str
    view: str | None
    """The class of its view; None where no view is named."""
    has_lesion: bool | None
    """None where nothing is said of lesions."""
    boxes_xyxy: FloatArray | None
    """float[N, 4]: the lesions on the compared frame, in stored-frame pixels. None where they are
    not known; such a frame enters no metric of boxes."""


Readings = Mapping[str, Reading]
"""What a reader says, by sequence."""


@dataclass(frozen=True, kw_only=True)
class Agreed:
    """A metric of two readers, and its 95 % interval over patients."""

    value: float | None
    ci95: Interval | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One reader against another, on the sequences of one view that both have read."""

    truth: str
    """The reader whose boxes are taken for the truth."""
    reader: str
    """The reader who is judged as a detector is."""
    view: str
    """As the first reader names it, or :data:`EVERY_VIEW`."""
    sequences: int
    patients: int
    frames: int
    """Of these sequences, one each: those of which the boxes of both are known."""
    metrics: Mapping[str, Agreed]

    def as_json(self) -> list[dict[str, Any]]:
        """One entry for each metric."""
        return [
            {
                "truth": self.truth,
                "reader": self.reader,
                "view": self.view,
                "sequences": self.sequences,
                "patients": self.patients,
                "frames": self.frames,
                "metric": name,
                "value": agreed.value,
                "ci95": None if agreed.ci95 is None else list(agreed.ci95),
            }
            for name, agreed in self.metrics.items()
        ]


def agreements(readers: Mapping[str, Readings]) -> Iterator[Agreement]:
    """Judge every reader against every other, for each view and for all of them together.

    Two readers are compared on the sequences that both have read; without any there is nothing.
    """
    for truth, reader in permutations(readers, 2):
        true, said = readers[truth], readers[reader]
        shared = sorted(true.keys() & said.keys())
        views = sorted({view for name in shared if (view := true[name].view) is not None})
        for view in (*views, EVERY_VIEW):
            members = [name for name in shared if view in (EVERY_VIEW, true[name].view)]
            if not members:
                continue
            measures, frames = _measures(members, true, said)
            if view != EVERY_VIEW:  # one view is all that the first reader names there
                measures = {m: v for m, v in measures.items() if not m.startswith("view/")}
            jackknife = Jackknife.of([true[name].patient_id for name in members])
            yield Agreement(
                truth=truth,
                reader=reader,
                view=view,
                sequences=len(members),
                patients=jackknife.patients,
                frames=frames,
                metrics={
                    name: Agreed(
                        value=value(measure, len(members)), ci95=jackknife.interval(measure)
                    )
                    for name, measure in measures.items()
                },
            )


def _measures(
    members: Sequence[str], true: Readings, said: Readings
) -> tuple[dict[str, Measure], int]:
    """The measures of one reader against another, and how many frames are compared."""
    pairs = [(true[name], said[name]) for name in members]
    boxes = {
        number: (first.boxes_xyxy, second.boxes_xyxy)
        for number, (first, second) in enumerate(pairs)
        if first.boxes_xyxy is not None and second.boxes_xyxy is not None
    }
    # A frame that is not compared has no box of either, and so enters no sum.
    matched = Matched.of(
        JudgedFrames(
            sequence=dict(enumerate(members)),
            truth={number: first for number, (first, _) in boxes.items() if len(first)},
        ),
        found := {number: (second, np.ones(len(second))) for number, (_, second) in boxes.items()},
    )
    ratios = matched.at_score(PAPER.score)
    measures: dict[str, Measure] = {
        name: ratios[name] for name in (AT_LEAST_ONE, RECALL, PRECISION, F1)
    }
    measures[MEAN_IOU] = _mean_iou(matched, found)
    lesions = _Answers.of([(first.has_lesion, second.has_lesion) for first, second in pairs])
    views = _Answers.of([(first.view, second.view) for first, second in pairs])
    measures |= {ANY_LESION: lesions.equal, ANY_LESION_KAPPA: Kappa(lesions.first, lesions.second)}
    measures |= {SAME_VIEW: views.equal, SAME_VIEW_KAPPA: Kappa(views.first, views.second)}
    return measures, len(boxes)


def _mean_iou(matched: Matched, found: Predictions) -> Ratio:
    """The mean IoU of the boxes that found a lesion with those lesions."""
    best, truth = matched.best, matched.frames.truth
    hits = best.is_true_positive
    places = zip(
        *(column[hits].tolist() for column in (best.image_id, best.rank, best.truth_index)),
        strict=True,
    )
    # Equal scores keep the order of the boxes, so that a box's rank is its row.
    overlaps = [
        float(box_iou(found[image_id][0][[row]], truth[image_id][[lesion]])[0, 0])
        for image_id, row, lesion in places
    ]
    frames = len(best.frame_image_id)
    return Ratio(
        numerator=np.bincount(best.frame_position[hits], overlaps, frames).astype(float),
        denominator=per_frame(best, hits),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Answers:
    """What two readers answered to one question about each of N sequences, as numbers."""

    first: IntArray
    """int[N]; -1 where one of the two did not answer."""
    second: IntArray
    """int[N]; likewise."""

    @classmethod
    def of(cls, pairs: Sequence[tuple[bool | str | None, bool | str | None]]) -> _Answers:
        """Number the answers."""
        both = [None not in pair for pair in pairs]
        known = sorted({str(answer) for pair in pairs for answer in pair if answer is not None})
        numbered = [
            [known.index(str(answer)) if answered else -1 for answer in pair]
            for pair, answered in zip(pairs, both, strict=True)
        ]
        first, second = np.array(numbered, dtype=np.int64).reshape(-1, 2).T
        return cls(first=first, second=second)

    @property
    def equal(self) -> Ratio:
        """The share of sequences with equal answers, of those that both answered."""
        answered = self.first >= 0
        return Ratio(
            numerator=(answered & (self.first == self.second)).astype(float),
            denominator=answered.astype(float),
        )


@dataclass(frozen=True, eq=False)
class Kappa:
    """Cohen's kappa: what two readers agree on beyond chance, 1 at best.

    Chance is what two readers reach who give each answer as often as these two, but independently.
    It is undefined where both give one and the same answer to all (Cohen 1960, Educational and
    Psychological Measurement 20:37-46).
    """

    first: IntArray
    """int[N], the answers of one reader from 0 on; -1 where there is none."""
    second: IntArray
    """int[N], those of the other to the same questions; -1 in the same places."""
    rules: ClassVar[Rules] = Rules(limits=(-1.0, 1.0), compares_patients=True)

    def values(self, draws: Draws) -> FloatArray:
        """The kappa of each draw."""
        K = int(max(self.first.max(initial=0), self.second.max(initial=0))) + 1
        answered = np.flatnonzero(self.first >= 0)
        cells = self.first[answered] * K + self.second[answered]
        counts = draws.table(answered, cells, K * K).reshape(-1, K, K)
        total = counts.sum(axis=(1, 2))
        equal = np.trace(counts, axis1=1, axis2=2)
        chance = (counts.sum(axis=1) * counts.sum(axis=2)).sum(axis=1)
        # Both sides times total squared: counts are whole, so that no chance of 1 is missed.
        return divided(total * equal - chance, total**2 - chance)
