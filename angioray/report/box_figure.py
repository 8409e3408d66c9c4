"""A figure of the cohort's box sizes beside the detectors' anchors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from angioray.evaluation.matching import FloatArray
from angioray.models.settings import RETINANET
from preprocess.console.drawing import COLOURS, INK, Figure, draw, panels

FOREGROUND_IOU = 0.5
_MANY = 2000
_TICKS = (8, 16, 32, 64, 128, 256, 512)


def anchor_sides(detector: Mapping[str, Any]) -> FloatArray | None:
    """Width and height of every anchor in network pixels (float64[A, 2]), from a study's settings.

    None where the settings name no anchors, and where the architecture has none of these.
    """
    if detector.get("architecture", RETINANET) != RETINANET:
        return None
    anchors, levels = detector.get("anchors"), detector.get("levels")
    if not anchors or not levels:
        return None
    base = anchors["base_size_strides"]
    return np.array(
        [
            (2**level * base * scale / ratio**0.5, 2**level * base * scale * ratio**0.5)
            for level in range(levels[0], levels[1] + 1)
            for scale in anchors["scales"]
            for ratio in anchors["ratios"]
        ]
    )


def box_sizes(sides_px: FloatArray, anchors_px: FloatArray | None, size: int | None) -> Figure:
    """How large and how elongated boxes are, and where anchors lie among them.

    Args:
        sides_px: float[N, 2], widths and heights, scaled to the detector's input.
        anchors_px: float[A, 2], likewise, or None.
        size: the detector's input in pixels; None if boxes are in stored pixels.
    """
    side = np.sqrt(sides_px.prod(axis=1))

    def paint(canvas: Canvas) -> None:
        left, middle, right = panels(canvas, 3, 3)
        bins = np.linspace(0, 1.1 * side.max(), 30).tolist()
        left.hist(side, bins=bins, color=COLOURS[0], ec="white", lw=0.5)
        left.set(xlabel="Side of a square of the box's area (px)", ylabel="Boxes")
        left.set_title("Size")
        _shapes(middle, sides_px[:, 0] / sides_px[:, 1])
        _among_anchors(right, sides_px, anchors_px)

    low, median, high = np.percentile(side, [5, 50, 95])
    pixels = "stored pixels" if size is None else f"pixels of a {size} x {size} input"
    caption = (
        f"All {len(side)} boxes of the cohort, tracked ones included, in {pixels}. Median side "
        f"{median:.0f} px, 90 % between {low:.0f} and {high:.0f} px."
    )
    if anchors_px is not None:
        missed = (best_overlap(sides_px, anchors_px) < FOREGROUND_IOU).mean()
        caption += (
            f" Crosses are the detector's anchors; {100 * missed:.0f} % of the boxes overlap none "
            f"of them by an IoU of {FOREGROUND_IOU}, even with its centre on theirs."
        )
    return draw(
        paint,
        name="boxes",
        alt=f"Histograms of box size and shape, and boxes among anchors: half of the boxes are "
        f"under {median:.0f} pixels.",
        caption=caption,
        width_in=9.4,
        height_in=2.7,
    )


def best_overlap(sides_px: FloatArray, anchors_px: FloatArray) -> FloatArray:
    """float[N]: the IoU of each box with the likest anchor on the same centre."""
    best = np.zeros(len(sides_px))
    for anchor in anchors_px:
        shared = np.minimum(sides_px, anchor).prod(axis=1)
        best = np.maximum(best, shared / (sides_px.prod(axis=1) + anchor.prod() - shared))
    return best


def _shapes(axes: Axes, aspect: FloatArray) -> None:
    bins = np.geomspace(min(0.25, aspect.min()), max(4, aspect.max()), 25)
    axes.hist(aspect, bins=bins.tolist(), color=COLOURS[1], ec="white", lw=0.5)
    axes.set_xscale("log", base=2)
    axes.set_xticks([0.25, 0.5, 1, 2, 4], ["1:4", "1:2", "1:1", "2:1", "4:1"])
    axes.set(xlabel="Width to height", ylabel="Boxes")
    axes.set_title("Shape")


def _among_anchors(axes: Axes, sides_px: FloatArray, anchors_px: FloatArray | None) -> None:
    many = len(sides_px) > _MANY
    style: dict[str, Any] = {"ms": 2.5, "mew": 0, "alpha": 0.35, "rasterized": many}
    axes.plot(*sides_px.T, "o", color=COLOURS[0], **style)
    axes.set_title("Boxes")
    if anchors_px is not None:
        axes.plot(*anchors_px.T, "x", color=INK, ms=5, mew=1.1)
        axes.set_title("Boxes and anchors")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    everything = sides_px if anchors_px is None else np.vstack([sides_px, anchors_px])
    limits = (everything.min() / 1.2, everything.max() * 1.2)
    ticks = [tick for tick in _TICKS if limits[0] <= tick <= limits[1]]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.set(xlim=limits, ylim=limits, xlabel="Width (px)", ylabel="Height (px)")
