"""How narrow an artery is at a lesion, from a mask of its lumen, as in quantitative angiography.

The reference is the diameter that a healthy artery would have at the narrowest place: a straight
line through the diameters of both ends of the mask (Reiber et al. 1985, doi
10.1161/01.CIR.71.2.280).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GRADES = ("below 50 %", "50 to 69 %", "70 to 99 %", "100 %")
"""Classes of percent diameter stenosis, as angiographic studies have them."""
BOUNDS = (50, 70, 100)
END_SHARE = 0.1
"""Of the centre line, at each end: taken for healthy."""
STEP_PX = 0.25
"""Between the places at which a mask is read."""
SMOOTH_PX = 2.0
"""Deviation of the Gaussian by which a path from pixel to pixel becomes a centre line."""
SPECK = 0.05
"""Of the lumen: smaller pieces apart from the rest are none of it."""
OUTSIDE = 0.02
"""Of a mask: a path may cross a place where it is less, as where the lumen is too thin to be seen,
but goes far around it."""

FloatArray = NDArray[np.float64]


def percent_stenosis(mask: NDArray[np.floating]) -> float | None:
    """The percent diameter stenosis of a lesion, 0 to 100.

    The diameter at each place of the centre line is the sum of the mask across it: a mask of
    probabilities needs no threshold, and diameters are not of whole pixels.

    Args:
        mask: float[H, W], the share of each pixel that is lumen, or how probable that is.

    Returns:
        None where there is no piece of an artery that is longer than wide.
    """
    from scipy.ndimage import gaussian_filter1d, map_coordinates

    mask = _without_specks(mask)
    area = float((mask > 0.5).sum())
    path = _longest_path(mask.astype(np.float64))
    arc = np.append(0, np.hypot(*np.diff(path, axis=0).T).cumsum())
    width = area / max(float(arc[-1]), 1)
    places = np.arange(0, arc[-1], STEP_PX)
    if arc[-1] < 2 * width or len(places) < 2:
        return None
    smooth = gaussian_filter1d(path, SMOOTH_PX, axis=0, mode="nearest")
    line = np.column_stack([np.interp(places, arc, smooth[:, axis]) for axis in (0, 1)])
    ahead = gaussian_filter1d(line, SMOOTH_PX / STEP_PX, axis=0, order=1, mode="nearest")
    across = ahead[:, ::-1] * (-1, 1) / np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]
    offsets = np.arange(-max(width, 4), max(width, 4), STEP_PX) + STEP_PX / 2
    points = line[:, None] + offsets[:, None] * across[:, None]
    read = map_coordinates(mask, points.reshape(-1, 2).T, order=1).reshape(points.shape[:2])
    diameters = gaussian_filter1d(read.sum(axis=1) * STEP_PX, 0.5 / STEP_PX)
    # Where the mask ends, it is narrow because it ends.
    whole = (places >= width / 2) & (places <= arc[-1] - width / 2)
    diameters = diameters[whole]
    share = np.linspace(0, 1, len(diameters))
    narrowest = int(diameters.argmin())
    first, last = (
        np.median(diameters[end]) for end in (share <= END_SHARE, share >= 1 - END_SHARE)
    )
    reference = first + (last - first) * share[narrowest]
    return float(100 * np.clip(1 - diameters[narrowest] / reference, 0, 1))


def grade(percent: float) -> int:
    """The class of a percent diameter stenosis, a row of :data:`GRADES`."""
    return int(np.searchsorted(BOUNDS, percent, side="right"))


def dice(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """The overlap of two masks (float[H, W], lumen above 0.5), 0 to 1 (doi 10.2307/1932409)."""
    a, b = one > 0.5, other > 0.5
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def _without_specks(mask: NDArray[np.floating]) -> NDArray[np.floating]:
    from scipy.ndimage import label

    pieces, _ = label(mask > 0.5, structure=np.ones((3, 3)))
    areas = np.bincount(pieces.ravel())
    specks = areas < SPECK * areas[1:].sum()
    specks[0] = False
    return np.where(specks[pieces], 0, mask)


def _longest_path(mask: FloatArray) -> FloatArray:
    """The longest of the shortest paths between pixels of a mask, as rows and columns ([K, 2])."""
    from scipy.ndimage import gaussian_filter
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    height, width = mask.shape
    number = np.arange(height * width).reshape(height, width)
    # Highest in the middle of the lumen, so that a path follows it.
    slow = 1 / (gaussian_filter(mask, SMOOTH_PX).ravel() ** 4 + OUTSIDE)
    steps = []
    for here, there, length in (
        (number[:, :-1], number[:, 1:], 1.0),
        (number[:-1], number[1:], 1.0),
        (number[:-1, :-1], number[1:, 1:], 2**0.5),
        (number[1:, :-1], number[:-1, 1:], 2**0.5),
    ):
        one, other = here.ravel(), there.ravel()
        steps.append((one, other, length * (slow[one] + slow[other]) / 2))
    starts, ends, costs = map(np.concatenate, zip(*steps, strict=True))
    graph = coo_array((costs, (starts, ends)), shape=(mask.size, mask.size)).tocsr()
    lumen = np.flatnonzero(mask > 0.5)
    if not len(lumen):
        return np.zeros((1, 2))
    far = lumen[dijkstra(graph, directed=False, indices=lumen[0])[lumen].argmax()]
    cost, before = dijkstra(graph, directed=False, indices=far, return_predecessors=True)
    path = [int(lumen[cost[lumen].argmax()])]
    while path[-1] != far:
        path.append(int(before[path[-1]]))
    return np.column_stack(np.unravel_index(path, mask.shape)).astype(np.float64)
