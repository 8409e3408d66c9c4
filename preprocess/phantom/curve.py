"""Smooth curves in space and smooth random functions along them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def smooth_curve(waypoints_mm: Array, step_mm: float) -> Array:
    """A curve through waypoints (float64[K, 3]), sampled evenly (float64[S, 3]): Catmull-Rom."""
    ends = 2 * waypoints_mm[[0, -1]] - waypoints_mm[[1, -2]]
    p = np.vstack([ends[:1], waypoints_mm, ends[1:]])
    t = np.linspace(0, 1, 24, endpoint=False)[:, None]
    pieces = [
        0.5
        * (
            2 * b
            + (c - a) * t
            + (2 * a - 5 * b + 4 * c - d) * t**2
            + (3 * b - a - 3 * c + d) * t**3
        )
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False)
    ]
    return resample(np.vstack([*pieces, waypoints_mm[-1:]]), step_mm)


def resample(points_mm: Array, step_mm: float) -> Array:
    """The same polyline with points ``step_mm`` apart."""
    arc = arc_length(points_mm)
    even = np.linspace(0, arc[-1], max(round(float(arc[-1]) / step_mm), 2) + 1)
    return np.column_stack([np.interp(even, arc, points_mm[:, i]) for i in range(3)])


def arc_length(points_mm: Array) -> Array:
    """Distance along a polyline from its start to each point (float64[S], mm)."""
    steps = np.sqrt((np.diff(points_mm, axis=0) ** 2).sum(axis=1))
    return np.concatenate([[0.0], np.cumsum(steps)])


def waviness(arc_mm: Array, shortest_mm: float, rng: np.random.Generator, terms: int = 5) -> Array:
    """A smooth random function of arc length with standard deviation 1 (float64[S]).

    A few sines whose wavelengths lie between ``shortest_mm`` and five times that.
    """
    wavelengths = shortest_mm * 5 ** rng.uniform(0, 1, terms)
    phases = rng.uniform(0, 2 * np.pi, terms)
    sines: Array = np.sin(2 * np.pi * arc_mm / wavelengths[:, None] + phases[:, None])
    total: Array = sines.sum(axis=0) * np.sqrt(2 / terms)
    return total
