"""Paired comparisons of groups on the same patients, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from angioray.evaluation.bootstrap import Difference, Resampling
from angioray.evaluation.measures import Measure
from angioray.report.definitions import VARIANTS
from angioray.report.evidence import DetectorEvidence, ViewEvidence
from angioray.report.published import DETECTOR_METRICS, VIEW_METRICS
from angioray.report.results import HEADINGS
from angioray.report.tables import Row, Table, Value

COMPARED_OF_DETECTORS = (*DETECTOR_METRICS, "F1@IoU0.20/score0.50/max5", "AP@IoU0.20")
COMPARED_OF_VIEWS = VIEW_METRICS


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The measures of one group less those of another, on the frames that both were judged on."""

    task: str
    view: str
    name: str
    """What is compared: a variant, or an input size in pixels."""
    against: str
    frames: int
    patients: int
    differences: Mapping[str, Difference]
    """By metric."""

    def as_json(self) -> list[dict[str, Any]]:
        """The entries of ``report.json``."""
        return [
            {
                "task": self.task,
                "view": self.view,
                "of": self.name,
                "against": self.against,
                "metric": metric,
                "difference": difference.value,
                "ci95": None if difference.ci95 is None else list(difference.ci95),
                "frames": self.frames,
                "patients": self.patients,
            }
            for metric, difference in self.differences.items()
        ]


def compare_variants(detectors: Iterable[DetectorEvidence]) -> list[Comparison]:
    """Each view's variants against its first one."""
    first: dict[str, DetectorEvidence] = {}
    found = []
    for evidence in detectors:
        other = first.setdefault(evidence.group.view, evidence)
        if other is not evidence:
            names = (evidence.group.variant, other.group.variant)
            found += compare_detectors(evidence, other, *names)
    return found


def compare_sizes(views: Iterable[ViewEvidence]) -> list[Comparison]:
    """The classifiers at other input sizes against the one at the first."""
    listed = list(views)
    return [
        comparison
        for other in listed[1:]
        for comparison in compare_views(
            other, listed[0], f"{other.group.size} px", f"{listed[0].group.size} px"
        )
    ]


def compare_detectors(
    one: DetectorEvidence, other: DetectorEvidence, name: str, against: str
) -> list[Comparison]:
    """``one - other`` on the frames that both were judged on; empty where there are none."""
    common = sorted(set(one.image_ids) & set(other.image_ids))
    measures, others = (evidence.measures(common) for evidence in (one, other))
    patients = one.frames.patients(common)
    differences = _differences(patients, measures, others, COMPARED_OF_DETECTORS)
    return _compared("detector", one.group.view, name, against, patients, differences)


def compare_views(
    one: ViewEvidence, other: ViewEvidence, name: str, against: str
) -> list[Comparison]:
    """``one - other`` on the frames that both were judged on; empty where there are none."""
    common = sorted(set(one.image_ids) & set(other.image_ids))
    measures, others = (evidence.of_images(common).measures() for evidence in (one, other))
    patients = one.frames.patients(common)
    differences = _differences(patients, measures, others, COMPARED_OF_VIEWS)
    return _compared("view", "", name, against, patients, differences)


def comparison_tables(comparisons: Iterable[Comparison]) -> list[Table]:
    """A table per task, with a row per comparison."""
    tables = []
    listed = list(comparisons)
    for task, title in (("view", "view classifiers"), ("detector", "detectors")):
        rows = [c for c in listed if c.task == task]
        if not rows:
            continue
        metrics = list(rows[0].differences)
        view = ("View",) if task == "detector" else ()
        tables.append(
            Table(
                name=f"comparison_{task}",
                caption=f"Differences between {title} on the same patients",
                columns=(*view, "Difference", *(HEADINGS[m] for m in metrics), "Patients"),
                rows=tuple(
                    Row(
                        (
                            *([c.view] if view else []),
                            f"{c.name} \N{MINUS SIGN} {c.against}",
                            *(_cell(c.differences[m]) for m in metrics),
                            str(c.patients),
                        )
                    )
                    for c in rows
                ),
                note="An interval that holds 0 leaves open which is better; of twenty differences "
                "that are none, one leaves 0 out by chance.",
                meanings={
                    "Difference": "the first less the second, on all frames that both were judged "
                    "on; intervals draw the same patients for both",
                    **({"Variant": VARIANTS} if view else {}),
                },
            )
        )
    return tables


def _cell(difference: Difference) -> Value:
    return Value(mean=difference.value, ci95=difference.ci95, signed=True)


def _differences(
    patients: list[str],
    measures: Mapping[str, Measure],
    others: Mapping[str, Measure],
    names: Iterable[str],
) -> dict[str, Difference]:
    resampling = Resampling.of(patients)
    return {
        name: resampling.difference(measures[name], others[name])
        for name in names
        if name in measures and name in others
    }


def _compared(
    task: str,
    view: str,
    name: str,
    against: str,
    patients: list[str],
    differences: dict[str, Difference],
) -> list[Comparison]:
    if not patients:
        return []
    return [
        Comparison(
            task=task,
            view=view,
            name=name,
            against=against,
            frames=len(patients),
            patients=len(set(patients)),
            differences=differences,
        )
    ]
