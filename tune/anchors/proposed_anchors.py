"""Anchors fitted to the training boxes, within the form that the detector's settings have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import differential_evolution

from angioray.evaluation.matching import FloatArray
from angioray.models.settings import AnchorSettings
from tune.anchors.anchor_sets import AnchorGrid

_MOST_BOXES = 1_000
"""Boxes that the evolution looks at; of more, every n-th. The verdict is over all of them."""
_POPULATION = 40
_GENERATIONS = 100
_MARGIN = float(np.log(1.25))
"""How far shapes may lie outside of what nearly all boxes have, as a logarithm."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Anchors for these boxes, or the base set where nothing better was found."""

    anchors: AnchorSettings
    is_base: bool
    reason: str
    """What was found, as a sentence."""


def proposed_anchors(
    boxes_xyxy: FloatArray,
    base: AnchorSettings,
    *,
    size: int,
    levels: tuple[int, int],
    ratios: int | None = None,
    scales: int | None = None,
    seed: int = 0,
) -> Proposal:
    """Evolve ratios, scales and base size towards the highest mean best IoU with the boxes.

    Differential evolution (Storn and Price 1997, doi:10.1023/A:1008202821328) on the grid of
    anchors that the detector really has, so that a box between two anchors counts as badly met
    as it will be. The same boxes and seed give the same anchors.

    Args:
        boxes_xyxy: float[N, 4] in network pixels, of training sequences alone.
        base: the set to be better than.
        size: side of the detector's square input in pixels.
        levels: its first and last pyramid level.
        ratios: how many; as many as ``base`` has if None.
        scales: likewise.
        seed: of the evolution.

    Raises:
        ValueError: there are no boxes, some have no area, or no anchors are asked for.
    """
    R = len(base.ratios) if ratios is None else ratios
    S = len(base.scales) if scales is None else scales
    if R < 1 or S < 1:
        raise ValueError(f"{R} ratios and {S} scales were asked for; expected 1 or more of each.")
    grid = AnchorGrid.of(boxes_xyxy, size, levels)
    before = float(grid.best_iou(base).mean())
    every = -(-len(boxes_xyxy) // _MOST_BOXES)
    best = _evolved(AnchorGrid.of(boxes_xyxy[::every], size, levels), base, R, S, seed)
    after = float(grid.best_iou(best).mean())
    if after <= before:
        return Proposal(
            anchors=base,
            is_base=True,
            reason=f"The base set is kept: its mean best IoU of {before:.3f} over "
            f"{len(grid.sides)} training boxes is not surpassed by {R} ratios and {S} scales "
            f"fitted to them ({after:.3f}).",
        )
    return Proposal(
        anchors=best,
        is_base=False,
        reason=f"Anchors fitted to {len(grid.sides)} training boxes raise their mean best IoU "
        f"from {before:.3f} to {after:.3f}.",
    )


def _evolved(grid: AnchorGrid, base: AnchorSettings, R: int, S: int, seed: int) -> AnchorSettings:
    """The fittest of R ratios and S scales; scales are told from the base set's base size."""
    sides = grid.sides
    aspect = np.log(sides[:, 1] / sides[:, 0])
    # On the finest level scales cover boxes of every size; others are met an octave up or more.
    side = np.log(sides.prod(axis=1)) / 2 - np.log(base.base_size_strides * grid.strides[0])
    bounds = np.array([_range(aspect)] * R + [_range(side)] * S)
    rng = np.random.default_rng(seed)
    low, high = bounds.T
    population = rng.uniform(low, high, size=(_POPULATION, R + S))
    population[0] = [*np.quantile(aspect, _middles(R)), *np.quantile(side, _middles(S))]
    if (len(base.ratios), len(base.scales)) == (R, S):
        population[1] = np.log([*base.ratios, *base.scales])
    found = differential_evolution(
        lambda genes: -float(grid.best_iou(_anchors(genes, R, base)).mean()),
        bounds,
        init=population.clip(low, high),
        maxiter=_GENERATIONS,
        tol=1e-3,
        polish=False,
        rng=rng,
    )
    return _anchors(found.x, R, base)


def _anchors(genes: FloatArray, R: int, base: AnchorSettings) -> AnchorSettings:
    """Logarithms of ratios and scales as settings, the smallest scale 1, in numbers to be read."""
    ratios, scales = np.sort(np.exp(genes[:R])), np.sort(np.exp(genes[R:]))
    return AnchorSettings(
        ratios=tuple(map(_readable, ratios)),
        scales=tuple(map(_readable, scales / scales[0])),
        base_size_strides=_readable(base.base_size_strides * scales[0]),
    )


def _readable(number: float) -> float:
    return float(f"{number:.3g}")


def _range(values: FloatArray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.01, 0.99])
    return float(low) - _MARGIN, float(high) + _MARGIN


def _middles(count: int) -> FloatArray:
    """The middles of that many equal parts of 0 to 1."""
    return (np.arange(count) + 0.5) / count
