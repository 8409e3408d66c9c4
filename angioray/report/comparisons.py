"""Paired comparisons of groups on the same patients: intervals, verdicts, and what is too small."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from angioray.evaluation.intervals import LEVEL, Difference, Jackknife, holm
from angioray.evaluation.measures import Measure
from angioray.evaluation.power import (
    SMALL,
    describe_power,
    patients_needed,
    smallest_difference,
)
from angioray.report.definitions import VARIANTS
from angioray.report.evidence import DetectorEvidence, ViewEvidence
from angioray.report.published import DETECTOR_METRICS, VIEW_METRICS
from angioray.report.results import HEADINGS
from angioray.report.tables import Row, Table, Value

COMPARED_OF_DETECTORS = (*DETECTOR_METRICS, "F1@IoU0.20/score0.50/max5", "AP@IoU0.20")
COMPARED_OF_VIEWS = VIEW_METRICS
MAIN = {"view": ("accuracy", "accuracy"), "detector": ("recall@IoU0.20/score0.50/max5", "recall")}
"""The metric of each task whose power is told in words, and its name there."""
LOWER_IS_BETTER = ("cross_entropy",)


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
    differences = paired_differences(patients, measures, others, COMPARED_OF_DETECTORS)
    return _compared("detector", one.group.view, name, against, patients, differences)


def compare_views(
    one: ViewEvidence, other: ViewEvidence, name: str, against: str
) -> list[Comparison]:
    """``one - other`` on the frames that both were judged on; empty where there are none."""
    common = sorted(set(one.image_ids) & set(other.image_ids))
    measures, others = (evidence.of_images(common).measures() for evidence in (one, other))
    patients = one.frames.patients(common)
    differences = paired_differences(patients, measures, others, COMPARED_OF_VIEWS)
    return _compared("view", "", name, against, patients, differences)


def verdicts(comparisons: Sequence[Comparison]) -> list[dict[str, str]]:
    """Which metrics of each comparison are shown to be ``better`` or ``worse``.

    All comparisons are taken together, as a table shows them: of twenty tables in which nothing
    differs, one at most names anything (:func:`holm`).
    """
    tested = [
        (row, metric, difference)
        for row, comparison in enumerate(comparisons)
        for metric, difference in comparison.differences.items()
        if difference.p is not None
    ]
    found: list[dict[str, str]] = [{} for _ in comparisons]
    p = holm([difference.p for *_, difference in tested if difference.p is not None])
    for (row, metric, difference), adjusted in zip(tested, p, strict=True):
        if adjusted < LEVEL:
            higher = (difference.value or 0) > 0
            found[row][metric] = "better" if higher != (metric in LOWER_IS_BETTER) else "worse"
    return found


def comparison_rows(comparisons: Iterable[Comparison]) -> list[dict[str, Any]]:
    """The entries of ``report.json``."""
    listed = list(comparisons)
    rows = []
    for task in MAIN:
        of_task = [c for c in listed if c.task == task]
        for comparison, shown in zip(of_task, verdicts(of_task), strict=True):
            for metric, difference in comparison.differences.items():
                error, patients = difference.error, difference.patients
                rows.append(
                    {
                        "task": task,
                        "view": comparison.view,
                        "of": comparison.name,
                        "against": comparison.against,
                        "metric": metric,
                        "difference": difference.value,
                        "ci95": None if difference.ci95 is None else list(difference.ci95),
                        "p": difference.p,
                        "shown": shown.get(metric),
                        "smallest_difference": None
                        if not error
                        else smallest_difference(error, patients),
                        f"patients_for_{SMALL}": None
                        if not error
                        else patients_needed(error, patients, SMALL),
                        "frames": comparison.frames,
                        "patients": comparison.patients,
                    }
                )
    return rows


def comparison_tables(comparisons: Iterable[Comparison]) -> list[Table]:
    """A table per task."""
    listed = list(comparisons)
    titles = {"view": ("view classifiers", {}), "detector": ("detectors", {"Variant": VARIANTS})}
    tables = [
        comparison_table([c for c in listed if c.task == task], f"comparison_{task}", *words)
        for task, words in titles.items()
    ]
    return [table for table in tables if table is not None]


def comparison_table(
    comparisons: Sequence[Comparison], name: str, title: str, meanings: Mapping[str, str]
) -> Table | None:
    """Two rows per comparison: what differs, and what would be shown; None without any.

    Args:
        comparisons: of one task.
        name: of the table's file.
        title: what is compared, in the plural.
        meanings: of the names that are compared.
    """
    if not comparisons:
        return None
    rows = []
    for comparison, shown in zip(comparisons, verdicts(comparisons), strict=True):
        rows += _rows(comparison, shown)
    metrics = list(comparisons[0].differences)
    view = ("View",) if comparisons[0].task == "detector" else ()
    return Table(
        name=name,
        caption=f"Differences between {title} on the same patients",
        columns=(
            *(*view, "Difference", *(HEADINGS[m] for m in metrics)),
            *("Patients", "Shown"),
        ),
        rows=tuple(rows),
        note=" ".join(filter(None, map(_power, comparisons))),
        meanings={
            "Difference": "the first less the second, on all frames that both were judged on; for "
            "intervals the same patients are left out of both",
            "Shown": "what is better or worse after Holm’s correction over this table, so that "
            "one table in twenty at most names a difference that is none; what is not named stays "
            "open",
            "shown from": "the smallest true difference that so many patients show at a power of "
            "80 %, by a single test, as these differences vary between patients",
            **meanings,
        },
    )


def _rows(comparison: Comparison, shown: Mapping[str, str]) -> list[Row]:
    view = [comparison.view] if comparison.task == "detector" else []
    found = comparison.differences.values()
    words = [f"{HEADINGS[metric]} {verdict}" for metric, verdict in shown.items()]
    return [
        Row(
            (
                *(*view, _named(comparison)),
                *(Value(mean=d.value, ci95=d.ci95, signed=True) for d in found),
                *(str(comparison.patients), "; ".join(words) or "nothing"),
            )
        ),
        Row(
            (
                *(*view, "shown from"),
                *(
                    Value(mean=smallest_difference(d.error, d.patients) if d.error else None)
                    for d in found
                ),
                *("", ""),
            ),
            "baseline",
        ),
    ]


def _named(comparison: Comparison) -> str:
    return f"{comparison.name} \N{MINUS SIGN} {comparison.against}"


def _power(comparison: Comparison) -> str:
    metric, name = MAIN[comparison.task]
    found = comparison.differences.get(metric)
    if found is None or not found.error:
        return ""
    said = describe_power(found.error, found.patients, name, SMALL)
    return f"{comparison.view} {_named(comparison)}: {said}".strip()


def paired_differences(
    patients: list[str],
    measures: Mapping[str, Measure],
    others: Mapping[str, Measure],
    names: Iterable[str],
) -> dict[str, Difference]:
    """``measures - others`` by name, of those that both have.

    Args:
        patients: the patient of each frame.
        measures: of one group.
        others: of the other, on the same frames.
        names: those wanted.
    """
    jackknife = Jackknife.of(patients)
    return {
        name: jackknife.difference(measures[name], others[name])
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
