"""The sections of the report: what each shows."""

from __future__ import annotations

import numpy as np

from angioray.evaluation.calibration import Reliability
from angioray.evaluation.matching import FloatArray
from angioray.report.agreement import agreement_tables, each_pair_once
from angioray.report.balance import BothSides, balance_table, cohort_in_words
from angioray.report.box_figure import anchor_sides, box_sizes
from angioray.report.comparisons import comparison_tables
from angioray.report.details import (
    chosen_table,
    class_table,
    froc_table,
    precision_table,
    subgroup_table,
)
from angioray.report.evidence import DetectorEvidence
from angioray.report.figures import calibration, confusion, detector_curves, learning_curves
from angioray.report.findings import Findings
from angioray.report.flow import inclusion_figure
from angioray.report.gradcam import attention
from angioray.report.networks import networks_table
from angioray.report.page import Block, Section, Text, plain_table
from angioray.report.pictures import galleries
from angioray.report.results import detector_table, fold_tables, view_table
from angioray.report.runs import ReportedStudy
from angioray.report.severity import severity_figure, severity_table, severity_verdict
from angioray.report.strata import strata_table
from angioray.report.tables import Table
from angioray.report.two_steps import two_step_table
from angioray.study.coverage import left_out
from angioray.study.selection import CohortIndex
from preprocess.cohort import Cohort, ManifestRow, Verdict, read_manifest
from preprocess.summary.table_1 import COLUMNS, meanings, rejected_reasons, table_1


def cohort_section(study: ReportedStudy, cohort: Cohort | None) -> Section:
    """What the study was made on, and what was left out of it."""
    facts = study.document["cohort"]
    who = cohort_in_words(study, cohort)
    summary = Text(f"{who[0].upper()}{who[1:]}; digest {facts['digest'][:16]}.")
    blocks: list[Block] = [summary]
    if cohort is not None:
        blocks += [Text(sentence) for sentence in _left_out(study, cohort)]
        rows = read_manifest(cohort.folder)
        blocks += [inclusion_figure(study, cohort, rows), _table_1(cohort, rows), _rejected(rows)]
        detector = study.document["settings"].get("detector", {})
        size = detector.get("size")
        if len(sides := _box_sides(cohort, size)):
            blocks.append(box_sizes(sides, anchor_sides(detector), size))
    return Section(anchor="cohort", title="Cohort", blocks=tuple(blocks))


def view_section(findings: Findings) -> Section | None:
    """Step 1: which artery is seen."""
    table = view_table(findings.scored)
    if table is None:
        return None
    blocks: list[Block] = [table]
    if findings.views:
        blocks.append(confusion(findings.views))
    blocks += _some(class_table(findings.scored))
    blocks += comparison_tables(c for c in findings.comparisons if c.task == "view")
    if findings.views:
        curves = {
            f"{seen.group.size} px": Reliability.of(
                seen.probabilities.max(axis=1),
                np.array(seen.labels) == np.array(seen.classes)[seen.probabilities.argmax(axis=1)],
            )
            for seen in findings.views
        }
        blocks.append(calibration("calibration-view", "View classifiers", curves, "frames"))
    blocks += [gallery for seen in findings.views if (gallery := attention(seen)) is not None]
    return Section(anchor="view", title="View classification", blocks=tuple(blocks))


def detection_section(findings: Findings) -> Section | None:
    """Step 2: where the stenoses are."""
    table = detector_table(findings.scored)
    if table is None:
        return None
    blocks: list[Block] = [table, *agreement_tables(each_pair_once(findings.readers))]
    if findings.readers_problem:
        blocks.append(Text(findings.readers_problem))
    blocks += comparison_tables(c for c in findings.comparisons if c.task == "detector")
    blocks += _some(chosen_table(findings.scored))
    views = dict.fromkeys(evidence.group.view for evidence in findings.detectors)
    of_view = {v: [e for e in findings.detectors if e.group.view == v] for v in views}
    blocks += [detector_curves(view, variants) for view, variants in of_view.items()]
    blocks += _some(
        precision_table(findings.scored),
        froc_table(findings.scored),
        subgroup_table(findings.scored),
        strata_table(findings.detectors),
    )
    for view, variants in of_view.items():
        curves = {
            e.group.variant: Reliability.of(e.matches.score, e.matches.is_true_positive)
            for e in variants
            if len(e.matches.score)
        }
        name = f"calibration-{view}"
        blocks.append(calibration(name, f"Scores of the {view} detectors", curves, "boxes"))
    return Section(anchor="detection", title="Stenosis detection", blocks=tuple(blocks))


def two_step_section(findings: Findings) -> Section | None:
    """Both steps together, as they would be used."""
    blocks = _some(two_step_table(findings.two_steps))
    if not blocks:
        return None
    return Section(anchor="two-step", title="Both steps together", blocks=tuple(blocks))


def severity_section(findings: Findings) -> Section | None:
    """How severe lesions are, where the cohort has iFR or grades."""
    blocks: list[Block] = []
    for severity in findings.severity:
        blocks += _some(severity_table(severity))
        if verdict := severity_verdict(severity):
            blocks.append(Text(verdict))
        if figure := severity_figure(severity):
            blocks.append(figure)
        blocks += [Text(reason) for reason in severity.reasons]
    if not blocks:
        return None
    return Section(anchor="severity", title="Severity from regions", blocks=tuple(blocks))


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
        blocks = [*_both_sides(study, cohort), balance_table(study, cohort)]
    if kept := study.document.get("near_duplicates"):
        blocks.append(
            Text(
                f"Near-duplicates were kept together: {kept['groups']} groups of "
                f"{kept['sequences']} sequences lie each on one side of every fold."
            )
        )
    blocks.append(Text(f"SHA-256 of the splits: {digest}."))
    return Section(anchor="folds", title="Folds and their balance", blocks=tuple(blocks))


def training_section(study: ReportedStudy) -> Section:
    """How training went, run by run."""
    curves = learning_curves(study.groups)
    blocks: list[Block] = [networks_table(study), *([] if curves is None else [curves])]
    if not study.document["settings"].get("detector", {}).get("validation_share"):
        blocks.append(
            Text(
                "All training patients train, as in the paper, so that nothing is measured on "
                "others on the way. `--detector.validation_share 0.2` keeps a fifth of them out of "
                "the training of the detectors and shows AP on them at every checkpoint; the "
                "fold's own validation part only judges in either case."
            )
        )
    blocks += fold_tables(study.groups)
    return Section(anchor="training", title="Training, run by run", blocks=tuple(blocks))


def _some(*tables: Table | None) -> list[Block]:
    return [table for table in tables if table is not None]


def _left_out(study: ReportedStudy, cohort: Cohort) -> list[str]:
    return left_out(study.splits, CohortIndex.of(cohort, study.view_class))


def _box_sides(cohort: Cohort, size: int | None) -> FloatArray:
    """Widths and heights of the boxes that are not lost (float64[N, 2]), scaled to an input."""
    sides = []
    for box in cohort.boxes:
        if box.verdict is not Verdict.LOST:
            sequence = cohort.sequences[box.sequence_id]
            x1, y1, x2, y2 = box.box_xyxy
            x, y = (1, 1) if size is None else (size / sequence.width, size / sequence.height)
            sides.append((x * (x2 - x1), y * (y2 - y1)))
    return np.array(sides, dtype=np.float64).reshape(-1, 2)


def _table_1(cohort: Cohort, rows: list[ManifestRow]) -> Table:
    return plain_table(
        "table_1_cohort",
        "The cohort, as Table 1 of the paper counts it",
        tuple(COLUMNS.values()),
        [tuple(str(getattr(row, name)) for name in COLUMNS) for row in table_1(cohort, rows)],
        number_in_paper=1,
        meanings=meanings(),
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
        meanings={"Reason": "why a file is not in the cohort", "Files": "how many"},
    )


def _both_sides(study: ReportedStudy, cohort: Cohort) -> list[Block]:
    """A sentence for each split."""
    said = []
    for key, cut in study.document["splits"].items():
        models = (
            "view classifiers" if key == "view" else f"{key.removeprefix('detector/')} detectors"
        )
        said.append(
            BothSides.of(study, cohort, key).sentence(models)
            or f"The folds of the {models} are cut by {cut['unit']}; no patient lies on both sides."
        )
    return [Text(sentence) for sentence in said]
