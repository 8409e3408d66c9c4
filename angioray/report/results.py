"""The tables of results: the paper's Tables 2 and 3 for this cohort, and every fold by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from angioray.evaluation.healthy import FRAME_AUC
from angioray.report.definitions import FIXED_BOXES, MAJORITY
from angioray.report.derived import MAJORITY_ACCURACY
from angioray.report.estimates import Estimate
from angioray.report.published import (
    CONG_ET_AL,
    DETECTOR_METRICS,
    PAPER_IN_SHORT,
    VIEW_METRICS,
    Published,
    published_detector,
    published_view,
)
from angioray.report.runs import Group, ReportedRun
from angioray.report.tables import NOTHING, Cell, Row, Table, Value
from preprocess.console.progress import duration

ALL_BOXES = "recall@IoU0.20/score0.00/max5"
BASELINE = f"baseline/{ALL_BOXES}"
AVERAGE_PRECISION = "AP@IoU0.20"
DETECTOR_COLUMNS = (*DETECTOR_METRICS, AVERAGE_PRECISION, ALL_BOXES)

HEADINGS = {
    "accuracy": "Accuracy",
    "f1_macro": "F1 (macro)",
    "cross_entropy": "Cross entropy",
    "at_least_one@IoU0.20/score0.50": "At least one",
    "recall@IoU0.20/score0.50/max1": "Recall, max 1",
    "precision@IoU0.20/score0.50/max1": "Precision, max 1",
    "recall@IoU0.20/score0.50/max5": "Recall, max 5",
    "precision@IoU0.20/score0.50/max5": "Precision, max 5",
    AVERAGE_PRECISION: "AP",
    ALL_BOXES: "Recall, any score",
    "F1@IoU0.20/score0.50/max5": "F1, max 5",
    FRAME_AUC: "AUC, frames",
}

Scored = Sequence[tuple[Group, Mapping[str, Estimate]]]
"""Groups and their estimates by metric."""


def view_table(scored: Scored) -> Table | None:
    """Table 2 of the paper for this cohort; None without a view classifier."""
    rows = []
    for group, found in scored:
        if group.task == "view":
            size = f"{group.size} x {group.size}"
            values = values_of(found, VIEW_METRICS, published_view(group.size))
            rows.append(Row((size, *values, folds_of(group))))
            if majority := found.get(MAJORITY_ACCURACY):
                value = _value(majority, None)
                rows.append(Row((MAJORITY, value, "", "", folds_of(group)), "baseline"))
    if not rows:
        return None
    return Table(
        name="table_2_view",
        caption="View classification of frames held out",
        number_in_paper=2,
        columns=("Input (px)", *(HEADINGS[name] for name in VIEW_METRICS), "Folds"),
        rows=tuple(rows),
        note=f"Made like Table 2 of the paper ({PAPER_IN_SHORT}); its numbers are grey.",
        meanings={
            MAJORITY: "always giving the commonest view among the training sequences of the fold"
        },
    )


def detector_table(scored: Scored) -> Table | None:
    """Table 3 of the paper for this cohort, with fixed boxes and Cong et al.; None without one."""
    detectors = [(group, found) for group, found in scored if group.task == "detector"]
    rows: list[Row] = []
    for view in dict.fromkeys(group.view for group, _ in detectors):
        of_view = [(group, found) for group, found in detectors if group.view == view]
        rows += [_detector_row(group, found) for group, found in of_view]
        rows += _baseline_row(view, of_view)
        if view in CONG_ET_AL:
            cells = _published_cells(CONG_ET_AL[view])
            rows.append(Row((view, "Cong et al.", "", *cells, ""), "published"))
    if not rows:
        return None
    return Table(
        name="table_3_detector",
        caption="Stenosis detection on frames held out",
        number_in_paper=3,
        columns=(
            "View",
            "Variant",
            "Input (px)",
            *(HEADINGS[name] for name in DETECTOR_COLUMNS),
            "Folds",
        ),
        rows=tuple(rows),
        note=f"Made like Table 3 of the paper ({PAPER_IN_SHORT}); its numbers are grey.",
        meanings={
            FIXED_BOXES: "five boxes at fixed places that ignore the image: those that find most "
            "lesions on the training frames of the fold",
            "Cong et al.": "as the paper cites them, on another cohort",
        },
    )


def fold_tables(groups: Iterable[Group]) -> list[Table]:
    """Every run by itself, those without a result included: a table per task."""
    groups = list(groups)
    tables = []
    for task, title, names in (
        ("view", "view classifier", VIEW_METRICS),
        ("detector", "detector", DETECTOR_COLUMNS),
    ):
        runs = [run for group in groups if group.task == task for run in group.runs]
        identity = ("View", "Variant") if task == "detector" else ()
        columns = (*identity, "Input (px)", "Fold", *(HEADINGS[name] for name in names))
        if runs:
            tables.append(
                Table(
                    name=f"folds_{task}",
                    caption=f"Every fold of the {title} by itself",
                    columns=(*columns, "Steps", "Time", "State"),
                    rows=tuple(_fold_row(run, names) for run in runs),
                )
            )
    return tables


def _fold_row(run: ReportedRun, names: Iterable[str]) -> Row:
    identity = (run.view, run.variant) if run.task == "detector" else ()
    result = run.result or {}
    cells = (
        *identity,
        str(run.size),
        run.label,
        *(_number(run.metric(name)) for name in names),
        str(result["steps"]) if result else NOTHING,
        duration(result["seconds"]) if result else NOTHING,
        run.state if result else run.reason_missing,
    )
    return Row(cells, "" if result else "missing")


def _detector_row(group: Group, found: Mapping[str, Estimate]) -> Row:
    published = published_detector(group.view, group.variant)
    cells = values_of(found, DETECTOR_COLUMNS, published)
    return Row((group.view, group.variant, str(group.size), *cells, folds_of(group)))


def _baseline_row(view: str, of_view: Scored) -> list[Row]:
    """The fixed boxes, which see only the training boxes: the same for every variant."""
    for group, found in of_view:
        if BASELINE in found:
            value = _value(found[BASELINE], None)
            empty = ("",) * (len(DETECTOR_COLUMNS) - 1)
            cells: tuple[Cell, ...] = (view, FIXED_BOXES, "", *empty, value, folds_of(group))
            return [Row(cells, "baseline")]
    return []


def _published_cells(published: Mapping[str, Published]) -> tuple[Cell, ...]:
    return tuple(
        f"{published[name].mean:.2f}" if name in published else "" for name in DETECTOR_COLUMNS
    )


def values_of(
    found: Mapping[str, Estimate], names: Iterable[str], published: Mapping[str, Published]
) -> tuple[Cell, ...]:
    """A group's metrics as cells, the published ones beside them."""
    return tuple(_value(found.get(name), published.get(name)) for name in names)


def _value(estimate: Estimate | None, published: Published | None) -> Value:
    if estimate is None:
        return Value(mean=None, published=published)
    return Value(mean=estimate.mean, std=estimate.std, ci95=estimate.ci95, published=published)


def folds_of(group: Group) -> str:
    """How many of a group's folds are finished, and in how many seeds where there are several."""
    counted, seeds = group.counted, len(group.by_seed)
    of_seeds = f"{len(counted)} of {seeds}" if len(counted) < seeds else str(seeds)
    finished = f"{len(counted[0].finished)}/{len(group.folds)}"
    return f"{finished}, {of_seeds} seeds" if seeds > 1 else finished


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"
