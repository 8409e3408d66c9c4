"""Detect, segment, grade: lesions outlined by networks, and by how much those narrow the artery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.measures import SHARES, UNLIMITED, Ratio, Rules, value
from angioray.evaluation.stenosis import GRADES, grade
from angioray.report.page import Block, Section, Text
from angioray.report.pictures import SHOWN, Gallery, Picture, framed
from angioray.report.severity import cell_of, listed
from angioray.report.tables import Row, Table
from preprocess.cohort import Cohort, Polygons

if TYPE_CHECKING:
    from angioray.report.findings import Findings

BOXES = {"reader": "Reader's", "found": "Found"}
"""In which boxes lesions are outlined, by their name in ``segmentation.json``."""
TYPICAL = "typical"
"""The answer that is the same for every lesion of a fold."""
HEADINGS = {
    "dice": "Dice",
    "absolute_error": "Percent error",
    "bias": "Bias",
    "same_grade": "Same grade",
}
MEANINGS = {
    "In boxes": "whose boxes the network looked into: the reader's; found: the detector's best box "
    "that overlaps the lesion by an IoU above 0.2; typical: no network, the median percent of "
    "the fold's training lesions",
    "Dice": "overlap of the outline with the reader's: twice the common area over the sum of both",
    "Percent error": "mean absolute difference in percent diameter stenosis, in percent points, "
    "measured in the network's mask and in the reader's",
    "Bias": "mean of that difference with its sign; below 0 the network sees less stenosis",
    "Same grade": f"share of lesions of the same class: {', '.join(GRADES)}",
    "Lesions": "outlined ones that were found, of all that a reader outlined",
}
RULES = {
    "dice": SHARES,
    "absolute_error": Rules(limits=(0.0, 100.0)),
    "bias": Rules(limits=UNLIMITED),
    "same_grade": SHARES,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Outlined:
    """The outlined lesions of a view's held-out folds."""

    view: str
    variant: str
    lesions: Sequence[Mapping[str, Any]]
    """As ``segmentation.json`` has them, each with its patient and its fold's typical percent."""

    def in_boxes(self, of: str) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Each lesion, and what is said of it in boxes of a kind, where such a box is."""
        if of == TYPICAL:
            return [(each, {"percent": each[TYPICAL]}) for each in self.lesions]
        return [(each, each[of]) for each in self.lesions if each[of] is not None]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The entries of ``report.json``."""
        for of in (*BOXES, TYPICAL):
            said = self.in_boxes(of)
            jackknife = Jackknife.of([lesion["patient_id"] for lesion, _ in said])
            for metric, rules in RULES.items():
                values = [_value(metric, *pair) for pair in said]
                known = np.array([v is not None for v in values], dtype=float)
                if not known.any():
                    continue
                numerator = np.array([0.0 if v is None else v for v in values])
                measure = Ratio(numerator=numerator, denominator=known, rules=rules)
                yield {
                    "view": self.view,
                    "variant": self.variant,
                    "boxes": of,
                    "metric": metric,
                    **listed(value(measure, len(said)), jackknife.interval(measure)),
                    "lesions": len(said),
                    "outlined": len(self.lesions),
                    "patients": jackknife.patients,
                }


def outlined_lesions(findings: Findings) -> tuple[list[Outlined], list[str]]:
    """What each view's first variant outlined, and why folds outlined nothing, as sentences."""
    if findings.cohort is None or not any(box.segmentation for box in findings.cohort.boxes):
        return [], []
    parts, reasons = [], []
    for group in findings.study.first_detectors:
        lesions = []
        silent: dict[int, str] = {}
        for run in group.finished:
            document = run.read("segmentation.json")
            with run.reading("segmentation.json"):
                for lesion in document["lesions"] if document else ():
                    patient_id = findings.cohort.sequences[lesion["sequence_id"]].patient_id
                    typical = document["typical_percent"]
                    lesions.append({**lesion, TYPICAL: typical, "patient_id": patient_id})
                if document and document["reason"]:
                    silent[run.fold] = str(document["reason"])
        reasons += group.silence(silent, "lesions are not outlined")
        if lesions:
            parts.append(Outlined(view=group.view, variant=group.variant, lesions=lesions))
    if len(parts) > 1:
        every = [lesion for part in parts for lesion in part.lesions]
        parts.append(replace(parts[0], view="all", lesions=every))
    return parts, reasons


def segmentation_verdict(part: Outlined) -> str:
    """A warning where networks measure no better than the typical percent; else empty."""
    errors = {
        row["boxes"]: row["value"] for row in part.rows() if row["metric"] == "absolute_error"
    }
    if min(errors.get(of, np.inf) for of in BOXES) < errors.get(TYPICAL, np.inf):
        return ""
    return (
        "The typical percent, the same for every lesion, is nearer to the readers' outlines than "
        "what the networks measure. Draw no conclusion from their percents and grades."
    )


def segmentation_section(findings: Findings) -> Section | None:
    """Outlines, percent diameter stenosis and grades; None where readers outlined nothing."""
    parts, reasons = outlined_lesions(findings)
    if findings.cohort is None or not (parts or reasons):
        return None
    blocks: list[Block] = [Text(reason) for reason in reasons]
    if parts:
        last = parts[-1]
        verdict = [Text(verdict) for verdict in [segmentation_verdict(last)] if verdict]
        blocks = [_table(parts), *verdict, _grades(last), *blocks, _pictures(findings.cohort, last)]
    return Section(anchor="segmentation", title="Detect, segment, grade", blocks=tuple(blocks))


def _value(metric: str, lesion: Mapping[str, Any], said: Mapping[str, Any]) -> float | None:
    """What a lesion adds to a metric; None where that is not known."""
    if metric == "dice":
        return said.get("dice")
    drawn, found = lesion["percent"], said["percent"]
    if drawn is None or found is None:
        return None
    error = float(found - drawn)
    return {
        "absolute_error": abs(error),
        "bias": error,
        "same_grade": float(grade(found) == grade(drawn)),
    }[metric]


def _table(parts: Sequence[Outlined]) -> Table:
    rows = []
    for part in parts:
        found = {(row["boxes"], row["metric"]): row for row in part.rows()}
        for of in (*BOXES, TYPICAL):
            cells = [
                cell_of(found[of, metric], signed=metric == "bias") if (of, metric) in found else ""
                for metric in HEADINGS
            ]
            count = f"{len(part.in_boxes(of))} of {len(part.lesions)}"
            shown = (part.view, BOXES.get(of, "Typical"), *cells, count)
            rows.append(Row(shown, "baseline" if of == TYPICAL else ""))
    return Table(
        name="segmentation",
        caption="Outlines of lesions in held-out sequences",
        columns=("View", "In boxes", *HEADINGS.values(), "Lesions"),
        rows=tuple(rows),
        note="A U-Net of each fold (Ronneberger et al.) outlines the lumen. The percent of a "
        "reader's outline is measured in the same way as the network's.",
        meanings=MEANINGS,
    )


def _grades(part: Outlined) -> Table:
    """A confusion matrix of grades, in the boxes that were found."""
    counts = Counter(
        (grade(lesion["percent"]), grade(found["percent"]))
        for lesion, found in part.in_boxes("found")
        if None not in (lesion["percent"], found["percent"])
    )
    grades = range(len(GRADES))
    return Table(
        name="segmentation_grades",
        caption="Grades of lesions in the boxes that were found",
        columns=("By the reader's outline", *GRADES),
        rows=tuple(
            Row((GRADES[true], *(str(counts[true, answered]) for answered in grades)))
            for true in grades
        ),
        meanings={
            "By the reader's outline": "percent diameter stenosis; columns: by the network's"
        },
    )


def _pictures(cohort: Cohort, part: Outlined) -> Gallery:
    """Lesions around the median Dice in the boxes that were found, each of another sequence."""
    said = sorted(part.in_boxes("found"), key=lambda pair: float(pair[1]["dice"]))
    shown = list({pair[0]["sequence_id"]: pair for pair in said}.values())
    start = max((len(shown) - SHOWN) // 2, 0)
    return Gallery(
        title="Outlines in the boxes that were found",
        note="Lesions around the median Dice; the reader's outline in cyan, the network's in "
        "orange.",
        pictures=tuple(_picture(cohort, *pair) for pair in shown[start : start + SHOWN]),
    )


def _picture(cohort: Cohort, lesion: Mapping[str, Any], found: Mapping[str, Any]) -> Picture:
    sequence_id, t = lesion["sequence_id"], lesion["frame_index"]
    box = next(
        box
        for box in cohort.boxes_by_frame[sequence_id, t]
        if box.instance_id == lesion["instance_id"]
    )
    frame = cohort.frame_8bit(sequence_id, t)
    x1, y1, x2, y2 = box.box_xyxy
    half = max(x2 - x1, y2 - y1)
    left, top = (max(int((low + high) / 2 - half), 0) for low, high in ((x1, x2), (y1, y2)))
    near = np.ascontiguousarray(frame[top : top + int(2 * half), left : left + int(2 * half)])
    outlines = {"truth": box.segmentation or (), "found": found["segmentation"]}
    marks = "".join(_marks(each, kind, left, top, half) for kind, each in outlines.items())
    why = f"Dice {found['dice']:.2f}"
    if lesion["percent"] is not None and found["percent"] is not None:
        why += f", {found['percent']:.0f} % for the reader's {lesion['percent']:.0f} %"
    return Picture(
        svg=framed(near, marks, f"A lesion of sequence {sequence_id}, frame {t}: {why}."),
        caption=f"{sequence_id}, frame {t}: {why}",
    )


def _marks(polygons: Polygons, kind: str, left: int, top: int, half: float) -> str:
    return "".join(
        f'<polygon class="{kind}" stroke-width="{half / 90:.2f}" points="'
        + " ".join(
            f"{x - left:.1f},{y - top:.1f}"
            for x, y in zip(polygon[::2], polygon[1::2], strict=True)
        )
        + '"/>'
        for polygon in polygons
    )
