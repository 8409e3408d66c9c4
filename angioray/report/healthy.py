"""Healthy arteries: what detectors say of cines without a lesion, and their precision with them."""

from __future__ import annotations

from collections.abc import Mapping

from angioray.evaluation.detection import PAPER
from angioray.evaluation.healthy import ALL_FRAMES, FRAME_AUC
from angioray.report.estimates import Estimate
from angioray.report.evidence import DetectorEvidence
from angioray.report.findings import Findings
from angioray.report.page import Block, Section, Text
from angioray.report.results import HEADINGS, folds_of
from angioray.report.runs import Group
from angioray.report.tables import NOTHING, Cell, Row, Table, Value
from preprocess.console.words import counted

_FALSE_BOXES = "healthy/false_boxes_per_frame@score0.50/max5"
_PRECISION = PAPER.name("precision", boxes=PAPER.max_detections)
_COLUMNS = {
    _FALSE_BOXES: "False boxes per healthy frame",
    "healthy/false_boxes_per_sequence@score0.50/max5": "False boxes per healthy cine",
    "healthy/specificity_sequence@score0.50": "Specificity, cines",
    "healthy/specificity_patient@score0.50": "Specificity, patients",
    FRAME_AUC: HEADINGS[FRAME_AUC],
    _PRECISION: "Precision, frames with lesions",
    _PRECISION + ALL_FRAMES: "Precision, all frames",
    PAPER.at("AP"): "AP, frames with lesions",
    PAPER.at("AP") + ALL_FRAMES: "AP, all frames",
}


def healthy_section(findings: Findings) -> Section | None:
    """What detectors say of healthy arteries; a sentence where nothing is known of that."""
    detectors = [each for each in findings.scored if each[0].task == "detector"]
    finished = [each for each in detectors if each[0].finished]
    if not finished:
        return None
    blocks: list[Block] = []
    if any(_judged(found) for _, found in finished):
        blocks.append(_table(finished, findings.detectors))
    cohort = findings.cohort
    unjudged = [group.title for group, found in finished if _FALSE_BOXES not in found]
    if cohort is not None and not any(s.no_lesion for s in cohort.sequences.values()):
        blocks.append(
            Text(
                "No cine of the cohort is labelled as free of lesions (`no_lesion`), so that "
                "nothing is known of false boxes on healthy arteries."
            )
        )
    elif unjudged:
        blocks.append(
            Text(
                f"Not judged on healthy arteries: {'; '.join(unjudged)}. An earlier version "
                "trained them; only frames with lesions were judged then. Run the study into a "
                "new folder to know."
            )
        )
    elif not blocks:
        blocks.append(Text("No healthy cine is in the validation part of a finished fold."))
    return Section(anchor="healthy", title="Healthy arteries", blocks=tuple(blocks))


def _judged(found: Mapping[str, Estimate]) -> bool:
    return _FALSE_BOXES in found and found[_FALSE_BOXES].mean is not None


def _table(
    scored: list[tuple[Group, dict[str, Estimate]]], detectors: tuple[DetectorEvidence, ...]
) -> Table:
    seen = {evidence.group.name: evidence for evidence in detectors}
    rows = [
        Row(
            (
                group.view,
                group.variant,
                _counts(seen.get(group.name)),
                *(_value(found.get(name)) for name in _COLUMNS),
                folds_of(group),
            )
        )
        for group, found in scored
        if _FALSE_BOXES in found
    ]
    return Table(
        name="healthy_arteries",
        caption="Healthy arteries held out: false boxes, specificity and AUC",
        columns=("View", "Variant", "Cines (patients)", *_COLUMNS.values(), "Folds"),
        rows=tuple(rows),
        note="Each cine counts with one frame, as one with lesions does; where the study judges "
        "all optimal frames, with all of those.",
        meanings={
            "Cines (patients)": "held-out cines of the view that a reader found free of lesions; "
            "in brackets the patients of whom no cine of the view has a lesion",
            f"{_COLUMNS[_FALSE_BOXES]}, False boxes per healthy cine": "boxes above score 0.5, at "
            "most five a frame; there is nothing to find, so that each is false",
            "Specificity": "share without such a box on any judged frame",
            "cines": "of the healthy cines",
            "patients": "of the patients in brackets",
            "frames with lesions": "as in the tables above and in the paper; precision is of the "
            "same boxes as false boxes are",
            "all frames": "frames with lesions and healthy ones together, in the cohort's own "
            "proportion",
        },
    )


def of_whom(evidence: DetectorEvidence) -> str:
    """What a detector's specificity is of, as a sentence; empty where it has none."""
    cines, patients = _count(evidence)
    if not cines:
        return ""
    return (
        f"Specificity is of {counted(cines, 'healthy cine')} and of {counted(patients, 'patient')} "
        f"without a lesion ({evidence.group.models})."
    )


def _count(evidence: DetectorEvidence) -> tuple[int, int]:
    healthy = evidence.healthy_patients
    cines = {evidence.frames.frame(image_id)[0] for image_id in healthy}
    return len(cines), len(set(healthy.values()) - {None})


def _counts(evidence: DetectorEvidence | None) -> str:
    return NOTHING if evidence is None else "{} ({})".format(*_count(evidence))


def _value(estimate: Estimate | None) -> Cell:
    if estimate is None:
        return Value(mean=None)
    return Value(mean=estimate.mean, std=estimate.std, ci95=estimate.ci95)
