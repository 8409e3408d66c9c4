"""How alike two pictures are once the one is laid over the other.

The middle of the one is looked for in the other at several scales (normalised cross-correlation),
and then fitted by the enhanced correlation coefficient (Evangelidis and Psarakis 2008, doi
10.1109/TPAMI.2008.113), which is the likeness: 1 of a picture with itself, about 0.2 of two that
have nothing in common.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from angioray.leak.fingerprints import SIDE

SCALES = (0.9, 0.95, 1.0, 1.05, 1.11)
LEAST_COARSE = 0.3
"""Of the coarse correlation: pictures below it are not alike, and are fitted no further. Copies
have 0.68 and more, other pictures mostly less than 0.25."""
_MARGIN = SIDE // 8
_COARSE = 2
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-4)


def likeness(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The likeness of two patterns (uint8[SIDE, SIDE]), 0 to 1.

    Moved by up to an eighth of their side, cropped by a tenth, compressed anew or shown by another
    window, pictures stay alike.
    """
    correlation, scale, x, y = _coarse(one, other)
    if correlation < LEAST_COARSE:
        return max(correlation, 0.0)
    warp = np.array([[scale, 0, x], [0, scale, y]], np.float32)
    middle = one[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    everywhere = np.full(other.shape, 255, np.uint8)
    try:
        fitted, _ = cv2.findTransformECC(
            middle, other, warp, cv2.MOTION_AFFINE, _STEPS, everywhere, 1
        )
    except cv2.error:  # it does not converge: there is nothing to fit
        return correlation
    return float(max(fitted, 0.0))


def _coarse(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """The best correlation at a fraction of the size, its scale, and where it begins (x, y)."""
    small = [
        cv2.resize(each, None, fx=1 / _COARSE, fy=1 / _COARSE, interpolation=cv2.INTER_AREA)
        for each in (one, other)
    ]
    margin = _MARGIN // _COARSE
    middle = small[0][margin:-margin, margin:-margin]
    found = []
    for scale in SCALES:
        side = round(len(middle) * scale)
        template = cv2.resize(middle, (side, side), interpolation=cv2.INTER_LINEAR)
        _, most, _, (x, y) = cv2.minMaxLoc(
            cv2.matchTemplate(small[1], template, cv2.TM_CCOEFF_NORMED)
        )
        found.append((most, side / len(middle), float(_COARSE * x), float(_COARSE * y)))
    return max(found)
