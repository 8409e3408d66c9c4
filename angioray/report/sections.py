"""The sections of the report, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from angioray.frame_index import FrameIndex
from angioray.report.attention import attention
from angioray.report.balance import balance_table, patients_are_unknown, shared_patients
from angioray.report.estimates import Estimate, detector_intervals, estimates, view_intervals
from angioray.report.evidence import DetectorEvidence, ViewEvidence
from angioray.report.figures import box_sizes, confusion, detector_curves, learning_curves
from angioray.report.page import Block, Section, Text, plain_table
from angioray.report.pictures import galleries
from angioray.report.results import detector_table, fold_tables, view_table
from angioray.report.runs import Group, ReportedStudy
from angioray.report.tables import Table
from preprocess.cohort import Cohort, ManifestRow, Verdict, read_manifest
from preprocess.progress import track
from preprocess.summary.table_1 import COLUMNS, note, rejected_reasons, table_1


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A study's numbers and the evidence that they rest on."""

    study: ReportedStudy
    cohort: Cohort | None
    views: tuple[ViewEvidence, ...]
    detectors: tuple[DetectorEvidence, ...]
    scored: tuple[tuple[Group, dict[str, Estimate]], ...]

    @classmethod
    def of(cls, study: ReportedStudy, cohort: Cohort | None) -> Findings:
        """Score every group, with intervals where the cohort is there to resample."""
        views, detectors, scored = [], [], []
        frames = None if cohort is None else FrameIndex(cohort=cohort)
        groups = study.groups
        for group in track(groups, total=len(groups), label="Scoring"):
            intervals = {}
            if frames is not None and group.finished and group.task == "view":
                if seen := ViewEvidence.of(group, frames, study.view_class):
                    views.append(seen)
                    intervals = view_intervals(seen)
            elif frames is not None and group.finished:
                found = DetectorEvidence.of(group, frames)
                detectors.append(found)
                intervals = detector_intervals(found)
            scored.append((group, estimates(group, intervals)))
        return cls(
            study=study,
            cohort=cohort,
            views=tuple(views),
            detectors=tuple(detectors),
            scored=tuple(scored),
        )


def cohort_section(study: ReportedStudy, cohort: Cohort | None) -> Section:
    """What the study was made on, and what was left out of it."""
    facts = study.document["cohort"]
    summary = Text(
        f"{facts['sequences']} sequences of {facts['patients']} patients; digest "
        f"{facts['digest'][:16]}."
    )
    blocks: list[Block] = [summary]
    if cohort is not None:
        blocks += _cohort_tables(cohort)
        boxes = [box.box_xyxy for box in cohort.boxes if box.verdict is not Verdict.LOST]
        if boxes:
            blocks.append(box_sizes(np.array(boxes)))
    return Section(anchor="cohort", title="Cohort", blocks=tuple(blocks))


def view_section(findings: Findings) -> Section | None:
    """Step 1: which artery is seen."""
    table = view_table(findings.scored)
    if table is None:
        return None
    blocks: list[Block] = [table]
    if findings.views:
        blocks.append(confusion(findings.views))
    blocks += [gallery for seen in findings.views if (gallery := attention(seen)) is not None]
    return Section(anchor="view", title="View classification", blocks=tuple(blocks))


def detection_section(findings: Findings) -> Section | None:
    """Step 2: where the stenoses are."""
    table = detector_table(findings.scored)
    if table is None:
        return None
    blocks: list[Block] = [table]
    views = dict.fromkeys(evidence.group.view for evidence in findings.detectors)
    for view in views:
        of_view = [evidence for evidence in findings.detectors if evidence.group.view == view]
        blocks.append(detector_curves(view, of_view))
    return Section(anchor="detection", title="Stenosis detection", blocks=tuple(blocks))


def pictures_section(findings: Findings) -> Section | None:
    """Frames of each view's first variant, to be judged by eye."""
    first: dict[str, DetectorEvidence] = {}
    for evidence in findings.detectors:
        first.setdefault(evidence.group.view, evidence)
    if not first:
        return None
    blocks: list[Block] = [
        Text(
            "Cyan boxes were drawn by a reader, orange ones predicted with the score beside them. "
            "No sequence was part of the training of the detector that is shown on it. Each view "
            "is shown by its first variant, not by its best."
        )
    ]
    for evidence in first.values():
        blocks += galleries(evidence)
    return Section(anchor="pictures", title="Misses, false boxes and hits", blocks=tuple(blocks))


def folds_section(study: ReportedStudy, cohort: Cohort | None) -> Section:
    """Who was trained on and who was judged."""
    digest = study.document["splits_sha256"]
    blocks: list[Block] = []
    if cohort is not None:
        blocks = [Text(sentence) for sentence in _shared_in_words(study, cohort)]
        blocks.append(balance_table(study, cohort))
    blocks.append(Text(f"SHA-256 of the splits: {digest}."))
    return Section(anchor="folds", title="Folds and their balance", blocks=tuple(blocks))


def training_section(study: ReportedStudy) -> Section:
    """How training went, run by run."""
    curves = learning_curves(study.groups)
    blocks: list[Block] = [] if curves is None else [curves]
    blocks += fold_tables(study.groups)
    return Section(anchor="training", title="Training, run by run", blocks=tuple(blocks))


def _cohort_tables(cohort: Cohort) -> list[Block]:
    rows = read_manifest(cohort.folder)
    return [_table_1(cohort, rows), _rejected(rows)]


def _table_1(cohort: Cohort, rows: list[ManifestRow]) -> Table:
    return plain_table(
        "table_1_cohort",
        "The cohort, as Table 1 of the paper counts it",
        tuple(COLUMNS.values()),
        [tuple(str(getattr(row, name)) for name in COLUMNS) for row in table_1(cohort, rows)],
        number_in_paper=1,
        note=note(),
    )


def _rejected(rows: list[ManifestRow]) -> Block:
    rejected = rejected_reasons(rows)
    if not rows:
        return Text("The cohort has no manifest, so that rejected files are unknown.")
    if not rejected:
        return Text(f"None of {len(rows)} source files was rejected.")
    total = sum(rejected.values())
    return plain_table(
        "rejected",
        f"{total} of {len(rows)} source files were rejected",
        ("Reason", "Files"),
        [(reason, str(count)) for reason, count in rejected.items()],
    )


def _shared_in_words(study: ReportedStudy, cohort: Cohort) -> Sequence[str]:
    if patients_are_unknown(cohort):
        return [
            "The sources name no patients: every sequence is one still of its own patient. "
            "Grouping by patient was impossible, and stills of one patient may lie on both sides "
            "of a fold, which makes results look better than they are."
        ]
    sentences = []
    for key, shared in shared_patients(study, cohort).items():
        unit = study.document["splits"][key]["unit"]
        if any(shared):
            per_fold = ", ".join(map(str, shared))
            sentences.append(
                f"The split of {key} is by {unit}. Patients that lie on both sides of a fold, by "
                f"fold: {per_fold}. Frames of a patient resemble each other, so that results are "
                "better than they would be on new patients."
            )
        else:
            sentences.append(f"The split of {key} is by {unit}; no patient lies on both sides.")
    return sentences
