"""How narrow an artery is at a lesion, from a mask of its lumen, as quantitative angiography has it.

The diameter at each place of the centre line is twice its distance from the wall. The reference is
the diameter that a healthy artery would have at the narrowest place: a straight line through the
diameters of both ends of the mask (Reiber et al. 1985, doi 10.1161/01.CIR.71.2.280).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRADES = ("below 50 %", "50 to 69 %", "70 to 99 %", "100 %")
"""Of diameter stenosis, as angiographic studies have them."""
GRADE_BOUNDS = (50.0, 70.0, 100.0)
SUBPIXELS = 4
"""Diameters are of a few pixels: a mask is enlarged by this before it is measured."""
END_SHARE = 0.2
"""Of the centre line, at each end: taken for healthy."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Narrowing:
    """What a mask says of a lesion, in its pixels."""

    minimum: float
    """The least diameter of the lumen."""
    reference: float
    """The one that a healthy artery would have there."""

    @property
    def percent(self) -> float:
        """Percent diameter stenosis, 0 to 100."""
        return 100 * min(max(1 - self.minimum / self.reference, 0.0), 1.0)


def measure(mask: NDArray[np.floating]) -> Narrowing | None:
    """Measure the lumen of a lesion.

    Args:
        mask: float[H, W], the share of each pixel that is lumen, or how probable that is.

    Returns:
        None where there is no piece of an artery that is longer than wide.
    """
    import cv2

    size = mask.shape[1] * SUBPIXELS, mask.shape[0] * SUBPIXELS
    fine = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(fine.astype(np.uint8))
    if count < 2:
        return None
    lumen = (parts == 1 + statistics[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    lumen = np.pad(lumen, 1)
    distance = cv2.distanceTransform(lumen, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    line = _centre_line(lumen)
    diameters = (2 * distance[line[:, 0], line[:, 1]] - 1) / SUBPIXELS
    # The ends of a skeleton run into the corners of the mask.
    arc = np.append(0, np.hypot(*np.diff(line, axis=0).T).cumsum()) / SUBPIXELS
    end = diameters.max() / 2
    inside = (arc >= end) & (arc <= arc[-1] - end)
    if inside.sum() < 3:
        return None
    arc, diameters = arc[inside], diameters[inside]
    share = (arc - arc[0]) / (arc[-1] - arc[0])
    narrowest = int(diameters.argmin())
    first, last = (
        float(np.median(diameters[chosen]))
        for chosen in (share <= END_SHARE, share >= 1 - END_SHARE)
    )
    reference = first + (last - first) * float(share[narrowest])
    return Narrowing(minimum=float(diameters[narrowest]), reference=reference)


def _centre_line(lumen: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The longest path through the skeleton of a mask, as rows and columns (int64[K, 2])."""
    import cv2
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    skeleton = cv2.ximgproc.thinning(lumen * np.uint8(255)) > 0
    places = np.argwhere(skeleton)
    number = np.full(lumen.shape, -1)
    number[skeleton] = np.arange(len(places))
    starts, ends, lengths = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        other = number[places[:, 0] + down, places[:, 1] + right]
        starts.append(np.flatnonzero(other >= 0))
        ends.append(other[other >= 0])
        lengths.append(np.full(len(ends[-1]), np.hypot(down, right)))
    graph = coo_array(
        (np.concatenate(lengths), (np.concatenate(starts), np.concatenate(ends))),
        shape=(len(places), len(places)),
    ).tocsr()
    one = dijkstra(graph, directed=False, indices=0)
    first = int(np.where(np.isfinite(one), one, -1).argmax())
    far, before = dijkstra(graph, directed=False, indices=first, return_predecessors=True)
    at = int(np.where(np.isfinite(far), far, -1).argmax())
    path = [at]
    while path[-1] != first:
        path.append(int(before[path[-1]]))
    found: NDArray[np.int64] = places[path]
    return found
