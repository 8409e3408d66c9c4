"""Tables beyond the paper's: chosen scores, AP and FROC, subgroups of lesions, views by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from angioray.evaluation.average_precision import FALSE_PER_FRAME
from angioray.evaluation.detection import PAPER
from angioray.evaluation.subgroups import SUBGROUPS
from angioray.report.definitions import VARIANTS
from angioray.report.estimates import Estimate
from angioray.report.operating_points import CHOSEN_SCORE
from angioray.report.results import Scored, folds_of
from angioray.report.runs import Group
from angioray.report.tables import Row, Table, Value

RECALL = PAPER.name("recall", boxes=5)
_AT_CHOSEN = ("at_least_one", "recall/max5", "precision/max5", "F1/max5")


def chosen_table(scored: Scored) -> Table | None:
    """The fixed score threshold beside the one that the other folds chose."""
    rows: list[Row] = []
    for group, found in _detectors(scored):
        if CHOSEN_SCORE not in found:
            continue
        fixed = Value(mean=PAPER.score)
        for label, score in (("score0.50", fixed), ("score-chosen", _value(found, CHOSEN_SCORE))):
            names = [f"{m}@IoU0.20/{label}{'/' + b if b else ''}" for m, b in _split(_AT_CHOSEN)]
            kind = "fixed" if label == "score0.50" else "chosen"
            values = [_value(found, name) for name in names]
            rows.append(Row((group.view, group.variant, kind, score, *values, folds_of(group))))
    return _table(
        "operating_points",
        "Score thresholds: fixed, and chosen on other patients",
        ("View", "Variant", "Score", "Above", "At least one", "Recall", "Precision", "F1", "Folds"),
        rows,
        "A fold's chosen threshold gives the best F1 on the "
        "out-of-fold predictions of all other folds, that is on its own training patients, each "
        "predicted by a detector that had not seen them; nothing of the fold's own validation part "
        "enters. Intervals take the thresholds as given.",
        {
            "Score": f"how the threshold was set: fixed at {PAPER.score:g} as in the paper, or "
            "chosen by the best F1 on other folds",
            "Above": "the threshold: of each frame count the five boxes of highest score, as far "
            "as that is above it",
        },
    )


def precision_table(scored: Scored) -> Table | None:
    """Average precision at several overlaps, and whether scores mean what they say."""
    columns = {
        "AP@IoU0.20": "AP, 5 boxes",
        "AP@IoU0.20/max100": "AP, 100 boxes",
        "AP@IoU0.30/max100": "AP30",
        "AP@IoU0.50/max100": "AP50 (COCO)",
        "AP@IoU0.50:0.95/max100": "AP (COCO)",
        "ECE@IoU0.20/max5": "Calibration error",
    }
    return _by_detector(
        "average_precision",
        "Average precision, and calibration of the scores",
        scored,
        columns,
        "",
    )


def froc_table(scored: Scored) -> Table | None:
    """FROC read at its usual points."""
    points = {f"sensitivity@IoU0.20/false{false:g}": f"{false:g}" for false in FALSE_PER_FRAME}
    return _by_detector(
        "froc",
        "Sensitivity at 1/8 to 8 false boxes per frame",
        scored,
        points | {"sensitivity@IoU0.20/mean": "Mean"},
        "",
        {
            ", ".join(points.values()): "recall at the lowest score threshold that gives no more "
            "than so many false boxes per frame (FROC), read without interpolation; boxes of equal "
            "score come together, and a box finds a lesion above an IoU of 0.2",
            "Mean": "of these",
        },
        with_std=False,
    )


def _by_detector(
    name: str,
    caption: str,
    scored: Scored,
    columns: Mapping[str, str],
    note: str,
    meanings: Mapping[str, str] | None = None,
    *,
    with_std: bool = True,
) -> Table | None:
    """One row per view and variant that has the metrics."""
    rows = [
        Row((group.view, group.variant, *(_value(found, m, with_std=with_std) for m in columns)))
        for group, found in _detectors(scored)
        if any(metric in found for metric in columns)  # an earlier version had fewer
    ]
    return _table(name, caption, ("View", "Variant", *columns.values()), rows, note, meanings)


def subgroup_table(scored: Scored) -> Table | None:
    """Recall by size, number and iFR of lesions."""
    groups = [
        (group, found) for group, found in _detectors(scored) if f"{RECALL}/size-small" in found
    ]
    rows = [
        Row((words, *(_value(found, f"{RECALL}/{name}") for _, found in groups)))
        for name, words in SUBGROUPS.items()
        if any(found[f"{RECALL}/{name}"].mean is not None for _, found in groups)
    ]
    detectors = [f"{group.view} {group.variant}" for group, _ in groups]
    return _table(
        "subgroups",
        "Which lesions are found: recall by size, number in the frame, and iFR",
        ("Lesions", *detectors),
        rows,
        "",
        {
            "Lesions": "whose recall it is. Limits of size are COCO's, on the area of the box in "
            "stored pixels; a sequence has one iFR, its lowest",
            ", ".join(detectors): "recall of the detectors of that view and variant, with at most "
            "five boxes a frame of score above 0.5",
            "Variant": VARIANTS,
        },
    )


def class_table(scored: Scored) -> Table | None:
    """The view classifiers class by class."""
    rows = [
        Row((f"{group.size} x {group.size}", name.partition("/")[2], *values))
        for group, found in scored
        if group.task == "view"
        for name in found
        if name.startswith("recall/")
        for values in [[_value(found, f"{m}/{name[7:]}") for m in ("recall", "precision", "f1")]]
    ]
    return _table(
        "view_classes",
        "View classification, class by class",
        ("Input (px)", "Class", "Recall", "Precision", "F1"),
        rows,
        "",
        {
            "Recall": "share of the frames of the class that are given it",
            "Precision": "share of the frames given the class that are of it",
        },
    )


def _detectors(scored: Scored) -> list[tuple[Group, Mapping[str, Estimate]]]:
    return [(group, found) for group, found in scored if group.task == "detector"]


def _split(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(name.partition("/")[0], name.partition("/")[2]) for name in names]


def _value(found: Mapping[str, Estimate], name: str, *, with_std: bool = True) -> Value:
    estimate = found.get(name)
    if estimate is None:
        return Value(mean=None)
    std = estimate.std if with_std else None
    return Value(mean=estimate.mean, std=std, ci95=estimate.ci95)


def _table(
    name: str,
    caption: str,
    columns: tuple[str, ...],
    rows: list[Row],
    note: str,
    meanings: Mapping[str, str] | None = None,
) -> Table | None:
    if not rows:
        return None
    return Table(
        name=name,
        caption=caption,
        columns=columns,
        rows=tuple(rows),
        note=note,
        meanings=meanings or {},
    )
