"""Where the variance of the main metrics comes from: seeds, folds and patients, as a table."""

from __future__ import annotations

import numpy as np

from angioray.evaluation.bootstrap import Resampling
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
    "The part of the seed is not known, and is in that of the fold: each fold was trained once. "
    "The setting seeds: 3 trains each with three seeds."
)


def variance_section(findings: Findings) -> Section | None:
    """How much of a metric is chance, and whose; None where no fold can be compared."""
    found: list[tuple[tuple[str, str], Components]] = []
    judged: list[ViewEvidence | DetectorEvidence] = [*findings.views, *findings.detectors]
    for evidence in judged:
        group = evidence.group
        estimates = next(scored for other, scored in findings.scored if other is group)
        errors = _errors(evidence)
        for metric in METRICS[group.task]:
            if (estimate := estimates.get(metric)) is None:
                continue
            # By repeat and fold where seeds were repeated.
            values = getattr(estimate, "seeds", None) or (estimate.folds,)
            parts = components(np.array(values, dtype=float), errors[metric])
            if parts.fold is not None:
                found.append(((group.title, HEADINGS[metric]), parts))
    if not found:
        return None
    note = (
        "Standard deviations of the metric of one run. Seed: between trainings that differ in "
        "nothing else. Patient: of judging a fold on its own patients rather than on many. Fold: "
        "what is left between folds, whose training patients differ. Estimated by the method of "
        "moments (Searle, Casella and McCulloch 1992, doi:10.1002/9780470316856)."
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
    )
    return Section(anchor="variance", title="Is it noise?", blocks=(table,))


def _errors(evidence: ViewEvidence | DetectorEvidence) -> dict[str, float | None]:
    """The standard error of each metric over the patients of all folds."""
    measures = (
        evidence.measures() if isinstance(evidence, ViewEvidence) else evidence.matched.measures()
    )
    resampling = Resampling.of(evidence.frames.patients(evidence.image_ids))
    names = METRICS[evidence.group.task]
    return {name: resampling.spread(measures[name]).error for name in names}


def _cell(parts: Components, part: str) -> str:
    deviation = getattr(parts, part)
    if deviation is None:
        return NOTHING
    return f"{deviation:.2f}" + ("*" if part in parts.negative else "")
