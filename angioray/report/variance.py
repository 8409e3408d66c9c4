"""Where the variance of the main metrics comes from: seeds, folds and patients, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.measures import Measure, value
from angioray.evaluation.variance import Components, components
from angioray.report.evidence import DetectorEvidence, ViewEvidence
from angioray.report.findings import Findings
from angioray.report.page import Section
from angioray.report.results import HEADINGS
from angioray.report.tables import NOTHING, Row, Table

METRICS = {
    "view": ("accuracy",),
    "detector": (
        "recall@IoU0.20/score0.50/max5",
        "precision@IoU0.20/score0.50/max5",
        "F1@IoU0.20/score0.50/max5",
    ),
}
ONE_SEED = (
    "Each fold was trained once, so that the chance of the seed cannot be told apart: what it "
    "changes for single patients is in the part of the patients, what it changes for all of them "
    "in that of the fold. The setting seeds: 3 trains each with three seeds."
)


def variance_section(findings: Findings) -> Section | None:
    """How much of a metric is chance, and whose; None where nothing can be compared."""
    judged: list[ViewEvidence | DetectorEvidence] = [*findings.views, *findings.detectors]
    found = [
        ((evidence.group.title, HEADINGS[metric]), parts)
        for evidence in judged
        for metric in METRICS[evidence.group.task]
        for parts in [_components(evidence, metric)]
        if parts.seed is not None or parts.fold is not None
    ]
    if not found:
        return None
    note = (
        "Standard deviations of the metric of one run, estimated by the method of moments (Searle, "
        "Casella and McCulloch 1992, doi:10.1002/9780470316856); those between few folds are rough."
    )
    if any(parts.negative for _, parts in found):
        note += " 0.00 with a star: the estimate of that variance was below 0."
    if any(parts.seed is None for _, parts in found):
        note += f" {ONE_SEED}"
    table = Table(
        name="variance_parts",
        caption="What makes a run's metric vary",
        columns=("Runs", "Metric", "Seed", "Fold", "Patient"),
        rows=tuple(
            Row((*names, *(_cell(parts, part) for part in ("seed", "fold", "patient"))))
            for names, parts in found
        ),
        note=note,
        meanings={
            "Runs, Metric": "the trainings that are compared, and what they are judged by",
            "Seed": "between trainings that differ in nothing else",
            "Fold": "what is left between folds, whose training patients differ",
            "Patient": "of judging a fold on its own patients rather than on many",
        },
    )
    return Section(anchor="variance", title="Parts of the variance", blocks=(table,))


def _components(evidence: ViewEvidence | DetectorEvidence, metric: str) -> Components:
    """Of a metric in the finished folds, from the seeds that were judged on the same frames."""
    values, without = [], []
    for image_ids, seeds in _measures(evidence, metric):
        patients = Jackknife.of(evidence.frames.patients(image_ids))
        values.append([value(seed, len(image_ids)) for seed in seeds])
        without.append(np.array([seed.values(patients.draws) for seed in seeds]))
    return components(np.array(values, dtype=float).T, without)


def _measures(
    evidence: ViewEvidence | DetectorEvidence, metric: str
) -> Iterator[tuple[list[int], list[Measure]]]:
    """The frames of each fold, and the metric of each seed on them."""
    if isinstance(evidence, DetectorEvidence):
        for fold, image_ids in evidence.folds.items():
            matched = [each.matched_folds[fold] for each in (evidence, *evidence.others)]
            yield sorted(image_ids), [each.measures()[metric] for each in matched]
        return
    for fold in sorted(set(evidence.folds)):
        image_ids = [
            i for i, of in zip(evidence.image_ids, evidence.folds, strict=True) if of == fold
        ]
        part = evidence.of_images(image_ids)
        seeds = [replace(part, others=()), *part.others]
        yield image_ids, [each.measures()[metric] for each in seeds]


def _cell(parts: Components, part: str) -> str:
    deviation = getattr(parts, part)
    if deviation is None:
        return NOTHING
    return f"{deviation:.2f}" + ("*" if part in parts.negative else "")
