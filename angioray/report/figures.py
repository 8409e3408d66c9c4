"""The figures of the report: curves, confusion, calibration, learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from angioray.evaluation.average_precision import FALSE_PER_FRAME
from angioray.evaluation.calibration import Reliability
from angioray.evaluation.matching import FloatArray
from angioray.evaluation.views import confusion_matrix
from angioray.report.curves import Band, free_response, operating_point, precision_recall
from angioray.report.evidence import DetectorEvidence, ViewEvidence
from angioray.report.runs import Group
from angioray.study.detector_task import VALIDATION_AP
from preprocess.console.drawing import COLOURS, GREY, INK, LINES, Figure, draw, panels

_CURVE_POINTS = 150


def detector_curves(view: str, variants: Sequence[DetectorEvidence]) -> Figure:
    """Precision-recall and FROC of one view's variants, with bands over folds."""

    def paint(canvas: Canvas) -> None:
        left, right = panels(canvas, 2, 2)
        for number, evidence in enumerate(variants):
            style: dict[str, Any] = {"color": COLOURS[number % 7], "linestyle": LINES[number % 4]}
            folds = [matched.best for matched in evidence.matched_folds.values()]
            label = f"{evidence.group.variant}, {evidence.group.size} px"
            _band(left, precision_recall(folds), label, style)
            every = [matched.every for matched in evidence.matched_folds.values()]
            _band(right, free_response(every), label, style)
            if point := operating_point(evidence.matches):
                for axes, at in (
                    (left, (point.recall, point.precision)),
                    (right, (max(point.false_per_frame, 0.1), point.recall)),
                ):
                    axes.plot(
                        *at,
                        "o",
                        color=style["color"],
                        ms=6,
                        mec="white",
                        mew=1,
                        zorder=5,
                        clip_on=False,
                    )
        fixed = variants[0].matched.baseline
        if fixed is not None and len(fixed.score):
            style = {"color": GREY, "linestyle": "-", "linewidth": 1.1}
            _band(right, free_response([fixed]), "fixed boxes", style)
        left.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1), ylim=(0, 1.02))
        left.set_title(f"{view}: precision and recall")
        right.set(xlabel="False boxes per frame", ylabel="Recall", xlim=(0.1, 8.2), ylim=(0, 1.02))
        right.set_xscale("log", base=2)
        right.set_xticks(FALSE_PER_FRAME, ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
        right.set_title(f"{view}: FROC")
        handles = right.get_legend_handles_labels()
        canvas.legend(*handles, loc="outside lower center", ncols=5)

    folds = len(variants[0].folds)
    return draw(
        paint,
        name=f"curves-{view}",
        alt=f"Precision-recall and FROC curves of the {view} detectors.",
        caption=f"{view} detectors at IoU > 0.2; left at most five boxes per frame, right all of "
        f"them. Lines are the mean over {folds} finished folds, bands run from the lowest to the "
        "highest fold, dots mark score > 0.5 on all folds together. Precision is drawn as far as "
        "every fold reaches.",
        width_in=9.4,
        height_in=3.9,
    )


def confusion(views: Sequence[ViewEvidence]) -> Figure:
    """Confusion matrices of the classifiers, frames pooled over folds."""
    columns = 2 if len(views) < 3 else 3

    def paint(canvas: Canvas) -> None:
        for axes, evidence in zip(panels(canvas, len(views), columns), views, strict=True):
            counts = confusion_matrix(evidence.labels, evidence.probabilities, evidence.classes)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, ec="white", lw=1)
            axes.invert_yaxis()
            axes.set_aspect("equal")
            for (row, column), count in np.ndenumerate(counts):
                dark = shares[row, column] > 0.55
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    f"{count}\n{100 * shares[row, column]:.0f} %",
                    ha="center",
                    va="center",
                    color="white" if dark else INK,
                )
            ticks = [index + 0.5 for index in range(len(evidence.classes))]
            axes.set_xticks(ticks, evidence.classes)
            axes.set_yticks(ticks, evidence.classes)
            axes.grid(visible=False)
            axes.set(xlabel="Predicted", ylabel="True")
            axes.set_title(f"{evidence.group.size} px")

    return draw(
        paint,
        name="confusion",
        alt="Confusion matrices of the view classifiers: "
        + "; ".join(_confusion_in_words(evidence) for evidence in views),
        caption="View classification of frames held out, all finished folds together: number of "
        "frames, and share of each true class.",
        width_in=3.1 * columns,
        height_in=2.45 * -(-len(views) // columns),
    )


def learning_curves(groups: Sequence[Group]) -> Figure | None:
    """Training loss against steps, a panel per group and a line per fold; None without any.

    Where training patients were kept out of training, AP on them is a dashed line.
    """
    groups = [group for group in groups if any(run.curve for run in group.runs)]
    if not groups:
        return None
    columns = min(len(groups), 4)
    rows = -(-len(groups) // columns)
    measured = any(VALIDATION_AP in line for g in groups for run in g.runs for line in run.curve)

    def paint(canvas: Canvas) -> None:
        for number, (axes, group) in enumerate(
            zip(panels(canvas, len(groups), columns), groups, strict=True)
        ):
            right: Axes | None = None
            for run in group.runs:
                steps, losses = _curve(run.curve, "loss")
                colour = COLOURS[run.fold % len(COLOURS)]
                label = None if run.repeat else f"fold {run.fold}"
                axes.plot(steps, losses, color=colour, lw=1, label=label)
                steps, found = _curve(run.curve, VALIDATION_AP)
                if len(steps):
                    if right is None:
                        right = axes.twinx()
                        right.set_ylim(0, 1)
                        right.grid(visible=False)
                        if (number + 1) % columns == 0 or number + 1 == len(groups):
                            right.set_ylabel("AP of patients kept out")
                    right.plot(steps, found, "--", color=colour, lw=1, marker="o", ms=2)
            axes.set_title(_short(group))
            axes.set_ylim(bottom=0)
            if number % columns == 0:
                axes.set_ylabel("Training loss")
            if number >= len(groups) - columns:
                axes.set_xlabel("Step")
        canvas.legend(
            *canvas.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=6
        )

    return draw(
        paint,
        name="learning",
        alt="Training loss against optimiser steps for every fold of every run"
        + (", and AP on training patients that were kept out." if measured else "."),
        caption="Training loss by step, one line per run (means of neighbouring lines of the log "
        "where there are many)."
        + (
            " Dashed: AP (IoU > 0.2, at most five boxes per frame) on the training patients that "
            "were kept out of training, at every checkpoint."
            if measured
            else ""
        ),
        width_in=9.4,
        height_in=0.4 + 1.95 * rows,
    )


def calibration(name: str, title: str, curves: Mapping[str, Reliability], what: str) -> Figure:
    """Reliability diagram: how often answers are right against how sure they are.

    Args:
        name: of the figure.
        title: of its panel.
        curves: the bins by what answered.
        what: an answer, in the plural, such as ``boxes``.
    """

    def paint(canvas: Canvas) -> None:
        left, right = panels(canvas, 2, 2)
        left.plot([0, 1], [0, 1], color=GREY, lw=1)
        for number, (label, bins) in enumerate(curves.items()):
            style: dict[str, Any] = {"color": COLOURS[number % 7], "linestyle": LINES[number % 4]}
            left.plot(bins.confidence, bins.share_right, "o", ms=3.5, label=label, **style)
            left.plot(bins.confidence, bins.share_right, **style)
            right.plot(bins.confidence, bins.answers, "o", ms=3.5, label=label, **style)
            right.plot(bins.confidence, bins.answers, **style)
        left.set(xlabel="Confidence", ylabel="Share that is right", xlim=(0, 1), ylim=(0, 1.02))
        left.set_title(title)
        right.set(xlabel="Confidence", ylabel=what.capitalize(), xlim=(0, 1), ylim=(0, None))
        right.set_title(f"How many {what}")
        canvas.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)

    return draw(
        paint,
        name=name,
        alt=f"Reliability diagram: the share of {what} that is right against their confidence.",
        caption=f"{title}: mean confidence and share that is right, in ten bins, all finished "
        "folds together. On the grey line confidence means what it says; below it, too much.",
        width_in=9.4,
        height_in=3.3,
    )


def _band(axes: Axes, band: Band | None, label: str, style: dict[str, Any]) -> None:
    if band is None:
        return
    axes.plot(band.x, band.mean, label=label, **style)
    axes.fill_between(band.x, band.low, band.high, color=style["color"], alpha=0.13, lw=0)


def _curve(lines: Sequence[dict[str, Any]], key: str) -> tuple[FloatArray, FloatArray]:
    """Steps and values, neighbours averaged down to a few hundred points."""
    points = np.array([(line["step"], line[key]) for line in lines if line.get(key) is not None])
    if not len(points):
        return np.empty(0), np.empty(0)
    pieces = np.array_split(points, min(len(points), _CURVE_POINTS))
    steps, values = np.array([piece.mean(axis=0) for piece in pieces]).T
    return steps, values


def _confusion_in_words(evidence: ViewEvidence) -> str:
    counts = confusion_matrix(evidence.labels, evidence.probabilities, evidence.classes)
    right = " and ".join(
        f"{counts[i, i]} of {counts[i].sum()} {name}" for i, name in enumerate(evidence.classes)
    )
    return f"at {evidence.group.size} px {right} frames are right"


def _short(group: Group) -> str:
    words = ("View" if group.task == "view" else group.view, group.variant, f"{group.size} px")
    return " ".join(word for word in words if word)
