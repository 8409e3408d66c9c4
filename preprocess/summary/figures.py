"""The figures of the page: angles, box sizes and iFR."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from preprocess.cohort import Sequence
from preprocess.console.drawing import COLOURS, GREY, INK, Figure, draw
from preprocess.summary.anchors import (
    BACKGROUND_IOU,
    FOREGROUND_IOU,
    INPUT_PX,
    anchor_sides,
    best_iou,
)
from preprocess.summary.angles import placed
from preprocess.summary.table_1 import NO_VIEW, in_paper_order, view_name

MARKERS = "osD^vPX"
NAMED = 12
"""Outliers whose names are written into the figure; the page lists all."""
MANY = 2000
"""Points from which on they are one picture, not a shape each."""
BIN = 0.02
"""Width of a bar of iFR."""


def angle_scatter(sequences: Iterable[Sequence], outliers: Mapping[str, str]) -> Figure | None:
    """Where the C-arm stood, by view, with outliers named; None where no angles are known."""
    points = placed(sequences)
    if not points:
        return None
    views = in_paper_order(view_name(sequence) for sequence, *_ in points)

    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        for number, view in enumerate(views):
            of_view = [(a, b) for sequence, a, b in points if view_name(sequence) == view]
            axes.scatter(
                [a for a, _ in of_view],
                [b for _, b in of_view],
                s=26,
                marker=MARKERS[number % len(MARKERS)],
                color=_colour(view, number),
                alpha=0.75,
                linewidths=0,
                label=view,
                rasterized=len(points) > MANY,
            )
        named = [point for point in points if point[0].sequence_id in outliers]
        for _, a, b in named:
            axes.plot(a, b, "o", ms=11, mfc="none", mec=INK, mew=1.2)
        for sequence, a, b in named[:NAMED]:
            axes.annotate(
                sequence.sequence_id, (a, b), (7, 7), textcoords="offset points", fontsize=7.5
            )
        _centre(axes, points)
        axes.set(xlabel="RAO  ←  primary angle  →  LAO", ylabel="CAU  ←  secondary angle  →  CRA")
        degrees = FuncFormatter(lambda value, _: f"{abs(value):.0f}°")
        axes.xaxis.set_major_formatter(degrees)
        axes.yaxis.set_major_formatter(degrees)
        _legend(axes)

    return draw(
        paint,
        name="angles",
        alt=f"Scatter of the C-arm's angles of {len(points)} sequences, a mark for each view.",
        caption=f"Where the C-arm stood, by labelled view. {_named(len(outliers))}",
        width_in=9.4,
        height_in=4.6,
    )


def box_sizes(sides: Mapping[str, NDArray[np.float64]]) -> Figure | None:
    """Width and height of the boxes of each view (float64[N, 2]) against the paper's anchors."""
    if not any(len(of_view) for of_view in sides.values()):
        return None

    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        every = np.concatenate(list(sides.values()))
        low = min(12.0, every.min() / 1.2)
        _reach_of_anchors(axes, low)
        for number, (view, of_view) in enumerate(sides.items()):
            axes.scatter(
                of_view[:, 0],
                of_view[:, 1],
                s=14,
                marker=MARKERS[number % len(MARKERS)],
                color=_colour(view, number),
                alpha=0.45,
                linewidths=0,
                label=view,
                rasterized=len(every) > MANY,
            )
        anchors = anchor_sides()
        axes.plot(*anchors.T, "+", color=INK, ms=9, mew=1.3, label="anchor")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set(xlim=(low, INPUT_PX), ylim=(low, INPUT_PX))
        axes.set(xlabel="Width (px)", ylabel="Height (px)", aspect="equal")
        whole = FuncFormatter(lambda value, _: f"{value:.0f}")
        axes.xaxis.set_major_formatter(whole)
        axes.yaxis.set_major_formatter(whole)
        _legend(axes)

    return draw(
        paint,
        name="sizes",
        alt="Width against height of the boxes on logarithmic axes, with the anchors as crosses.",
        caption="The boxes that are trained on, scaled to 512 x 512, and the anchors of the "
        "paper's detector as crosses. White: some anchor on the box's centre has an IoU of "
        f"{FOREGROUND_IOU} with it; light grey: {BACKGROUND_IOU}; darker grey: none.",
        width_in=9.4,
        height_in=5.4,
    )


def ifr_split(sequences: Iterable[Sequence], threshold: float) -> Figure | None:
    """The lowest iFR of each sequence by view; None where none is known."""
    known = [sequence for sequence in sequences if sequence.ifr]
    values = {
        view: [min(s.ifr) for s in known if view_name(s) == view]
        for view in in_paper_order(map(view_name, known))
    }
    if not values:
        return None

    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        axes.hist(
            list(values.values()),
            bins=ifr_bins([min(s.ifr) for s in known], threshold),
            stacked=True,
            color=[_colour(view, number) for number, view in enumerate(values)],
            label=list(values),
            ec="white",
            lw=0.5,
        )
        axes.axvline(threshold, color=INK, lw=1.2, ls="--", label=f"threshold {threshold:g}")
        axes.set(xlabel="Lowest iFR of the sequence", ylabel="Sequences")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(axes)

    below = sum(value <= threshold for of_view in values.values() for value in of_view)
    return draw(
        paint,
        name="ifr",
        alt=f"Histogram of iFR: {below} of {len(known)} sequences are at or below {threshold:g}.",
        caption=f"iFR is known for {len(known)} accepted sequences; {below} are at or below "
        f"{threshold:g}, {len(known) - below} above.",
        width_in=9.4,
        height_in=2.6,
    )


def ifr_bins(values: list[float], threshold: float) -> list[float]:
    """Edges of bars that hold all values up to 1 and more; one edge divides at the threshold."""
    below = max(0, math.floor((threshold - min(values)) / BIN) + 1)
    above = max(1, math.ceil((max(1.0, *values) - threshold) / BIN))
    # A value on the threshold is below it.
    return [threshold + BIN * step + 1e-9 for step in range(-below, above + 1)]


def _named(outliers: int) -> str:
    if not outliers:
        return "None is out of place."
    if outliers > NAMED:
        return f"Rings mark the {outliers} that do not fit, and names the first {NAMED} of them."
    return f"Rings and names mark the {outliers} that do not fit."


def _colour(view: str, number: int) -> str:
    return GREY if view == NO_VIEW else COLOURS[number % len(COLOURS)]


def _legend(axes: Axes) -> None:
    """To the right of the axes; marks large and opaque enough to be told apart."""
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), markerscale=1.3)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)


def _reach_of_anchors(axes: Axes, low: float) -> None:
    """Grey where no anchor resembles a box of that size."""
    along = np.geomspace(low, INPUT_PX, 160)
    width, height = np.meshgrid(along, along)
    best = best_iou(np.stack([width.ravel(), height.ravel()], axis=1)).reshape(width.shape)
    axes.contourf(
        width,
        height,
        best,
        levels=[0, BACKGROUND_IOU, FOREGROUND_IOU],
        colors=["#d5dbe1", "#eceff2"],
    )


def _centre(axes: Axes, points: list[tuple[Sequence, float, float]]) -> None:
    """The same scale on both axes, with the upright C-arm in the middle."""
    reach = 8 + np.abs([(a, b) for _, a, b in points]).max(axis=0)
    axes.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]), aspect="equal")
    axes.axhline(0, color=GREY, lw=0.7)
    axes.axvline(0, color=GREY, lw=0.7)
