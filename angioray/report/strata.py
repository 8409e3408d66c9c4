"""The results by the angle, maker and year of a cine and by how severe its lesions are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from angioray.evaluation.detection import PAPER, per_frame
from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.matching import FloatArray
from angioray.evaluation.measures import COUNTS, FEWEST_PATIENTS, MeanOf, Ratio, value
from angioray.evaluation.subgroups import found_lesions, lesion_frames, recall_of
from angioray.report.evidence import DetectorEvidence
from angioray.report.tables import Row, Table, Value
from angioray.study.severity_questions import QUESTIONS
from preprocess.cohort import Sequence as Cine
from preprocess.views import projection

UNKNOWN = "unknown"

Names = NDArray[np.str_]
OF_CINE: dict[str, Callable[[Cine], str | int | None]] = {
    "angle": projection,
    "maker": lambda cine: cine.manufacturer,
    "year": lambda cine: cine.year,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Strata:
    """Groups of lesions, and of the judged frames where a frame belongs to one group."""

    by: str
    lesion: Names
    """str[L], frame by frame in the order of the truth."""
    frame: Names | None
    """str[N]; None where one frame may have lesions of several groups."""


def strata_table(detectors: Sequence[DetectorEvidence]) -> Table | None:
    """Recall, precision and false boxes by group, of each view's first variant.

    None where all cines are alike, nothing is known of them, or all groups are small.
    """
    first: dict[str, DetectorEvidence] = {}
    for evidence in detectors:
        first.setdefault(evidence.group.view, evidence)
    rows = [
        Row((evidence.group.view, strata.by, *cells))
        for evidence in first.values()
        for strata in strata_of(evidence)
        for cells in _cells(evidence, strata)
    ]
    if not rows:
        return None
    return Table(
        name="strata",
        caption=f"Results by {', '.join(dict.fromkeys(str(row.cells[1]) for row in rows))}",
        columns=(
            *("Detectors", "By", "Group", "Patients", "Lesions"),
            *("Recall", "Precision", "False boxes per frame"),
        ),
        rows=tuple(rows),
        note="Of each view's first variant, on the judged frames with lesions, all finished folds "
        "together, the mean over seeds. Groups of fewer than "
        f"{FEWEST_PATIENTS} patients are joined, and have no values if they are too few together. "
        "No group was chosen by its result; of many groups, some "
        "differ by chance.",
        meanings={
            "Detectors": "the view whose detectors they are",
            "By, Group": "what lesions are grouped by. Angles of the C-arm within 10 degrees of "
            "straight are AP, or have no tilt",
            "Patients, Lesions": "how many the group has among the judged frames",
            "Recall, Precision, False boxes per frame": "of at most five boxes per frame of a "
            "score above 0.5, as everywhere. A false box belongs to no lesion, so that groups of "
            "lesions (iFR, degree of stenosis) have recall alone",
        },
    )


def strata_of(evidence: DetectorEvidence) -> Iterator[Strata]:
    """The ways to group a detector's lesions that give more than one group."""
    cohort = evidence.frames.cohort
    keys = [evidence.frames.frame(int(i)) for i in evidence.matches.frame_image_id]
    position = lesion_frames(evidence.matches)
    for by, of_cine in OF_CINE.items():
        frame = np.array([str(of_cine(cohort.sequences[s]) or UNKNOWN) for s, _ in keys])
        if len(set(frame)) > 1:
            yield Strata(by=by, lesion=frame[position], frame=frame)
    # The truth leaves out boxes of whose place nobody is sure, so a lesion is known by its box.
    boxes = [
        (key[0], numbers[tuple(corners)])
        for key, image in zip(keys, evidence.matches.frame_image_id, strict=True)
        for numbers in [{b.box_xyxy: b.instance_id for b in cohort.boxes_by_frame.get(key, [])}]
        for corners in evidence.truth.get(int(image), np.empty((0, 4))).tolist()
    ]
    for question in QUESTIONS:
        said = {True: question.yes, False: question.no, None: UNKNOWN}
        lesion = np.array([said[question.of_lesion(cohort, s, number)] for s, number in boxes])
        if len(set(lesion)) > 1:
            yield Strata(by=question.about, lesion=lesion, frame=None)


def _cells(
    evidence: DetectorEvidence, strata: Strata
) -> Iterator[tuple[str, str, str, Value, Value, Value]]:
    position = lesion_frames(evidence.matches)
    patients = np.array(evidence.frames.patients(evidence.image_ids))
    rows = _joined(strata.lesion, patients[position])
    if len(rows) < 2:  # of all lesions together: it compares nothing
        return
    jackknife = Jackknife.of(patients.tolist())
    nothing = Value(mean=None)
    for name, members in rows.items():
        chosen = np.isin(strata.lesion, members)
        inside = None if strata.frame is None else np.isin(strata.frame, members).astype(float)
        count = len(set(patients[position][chosen]))
        of_seeds = [_ratios(each, chosen, inside) for each in (evidence, *evidence.others)]
        measures = map(MeanOf, zip(*of_seeds, strict=True))
        values = [
            Value(mean=value(each, len(patients)), ci95=jackknife.interval(each))
            for each in measures
        ]
        enough = values if count >= FEWEST_PATIENTS else []
        recall, precision, false = (*enough, nothing, nothing, nothing)[:3]
        yield name, str(count), str(int(chosen.sum())), recall, precision, false


def _ratios(
    evidence: DetectorEvidence, chosen: NDArray[np.bool_], inside: FloatArray | None
) -> list[Ratio]:
    """Recall of the chosen lesions; of the frames inside, precision and false boxes per frame."""
    matches = evidence.matches
    kept = matches.kept(score_above=PAPER.score, max_detections=PAPER.max_detections)
    ratios = [recall_of(matches, found_lesions(matches, kept), chosen)]
    if inside is not None:
        right, boxes = (per_frame(matches, kept & c) for c in (matches.is_true_positive, True))
        ratios.append(Ratio(numerator=right * inside, denominator=boxes * inside))
        ratios.append(Ratio(numerator=(boxes - right) * inside, denominator=inside, rules=COUNTS))
    return ratios


def _joined(lesion: Names, patient: Names) -> dict[str, list[str]]:
    """The groups that each row has, by its name: largest first, joined and unknown ones last."""
    counts = {name: len(set(patient[lesion == name])) for name in sorted(set(lesion.tolist()))}
    large = [name for name, count in counts.items() if count >= FEWEST_PATIENTS]
    small = [name for name in counts if name not in large]
    rows = {name: [name] for name in sorted(large, key=lambda n: (n == UNKNOWN, -counts[n]))}
    return rows | ({", ".join(small): small} if small else {})
