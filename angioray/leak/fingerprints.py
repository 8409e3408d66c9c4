"""What is kept of a picture to find it again: a pattern of its edges, and perceptual hashes.

Patterns are free of shading, brightness and contrast, and empty outside the collimated field: its
border is alike in all pictures of a machine, whatever they show.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 128
"""Of patterns, in pixels."""
PLACES = 9
"""A part of a picture begins at a corner, at the middle of a side, or is in the middle."""
CROPS = (0.95, 0.9)
"""Sides of the parts that have a hash too: so a cropped or shifted copy is found."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class _Band:
    """Which structures a pattern has.

    Attributes:
        sigma: of the high pass, in pixels of ``SIDE``.
        around: sigma of the neighbourhood whose contrast is made equal.
        least: contrast in grey levels that counts as none.
        gain: grey levels of the pattern for one standard deviation.
    """

    sigma: float
    around: float
    least: float
    gain: float


_EDGES = _Band(sigma=5, around=10, least=2, gain=40)
_STRUCTURE = _Band(sigma=16, around=24, least=4, gain=50)
_DARK, _FLAT = 0.5, 0.35
"""Below this share of the 90th percentile of grey, and of the 80th of contrast, a pixel may be
outside the field."""
_MOSTLY = 0.8
"""Share of such pixels in a row or column outside the field."""
_BORDER = 8
"""The field ends so many pixels from where its border was seen."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Of one picture.

    Attributes:
        pattern: its edges (uint8[SIDE, SIDE]), 128 where there is none.
        hashes: perceptual hashes (pHash, 64 bits each) of the whole, and of its ``PLACES`` parts of
            each size (uint64[1 + 18]).
    """

    pattern: NDArray[np.uint8]
    hashes: NDArray[np.uint64]

    @classmethod
    def of(cls, picture: NDArray[np.uint8]) -> Fingerprint:
        """The fingerprint of an 8-bit picture (uint8[H, W])."""
        small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        hashing = cv2.img_hash.PHash_create()  # type: ignore[attr-defined] # its stubs lag behind
        field = _field(small)
        parts = _parts(_pattern(small, field, _STRUCTURE))
        hashes = [hashing.compute(part)[0] for part in parts]
        return cls(_pattern(small, field, _EDGES), np.stack(hashes).view(np.uint64)[:, 0])


def _pattern(small: Floats, field: Floats, band: _Band) -> NDArray[np.uint8]:
    def mean(values: Floats, sigma: float) -> Floats:
        """Around each pixel, of the field alone: its border leaves no edge in the pattern."""
        weight = cv2.GaussianBlur(field, (0, 0), sigma) + 1e-3
        smoothed: Floats = cv2.GaussianBlur(values * field, (0, 0), sigma) / weight
        return smoothed

    edges = (small - mean(small, band.sigma)) * field
    contrast = np.sqrt(mean(edges * edges, band.around))
    scaled = 128 + band.gain * edges / (contrast + band.least)
    pattern: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return pattern


def _field(small: Floats) -> Floats:
    """1 in the rectangle of the collimated field, 0 outside: there a picture is dark and flat."""
    edges = small - cv2.GaussianBlur(small, (0, 0), _EDGES.sigma)
    contrast = np.sqrt(cv2.GaussianBlur(edges * edges, (0, 0), 2))
    flat = contrast < _FLAT * np.percentile(contrast, 80)
    outside = (small < _DARK * np.percentile(small, 90)) & flat
    rows = _within(outside.mean(axis=1))
    columns = _within(outside[rows].mean(axis=0))
    field = np.zeros_like(small)
    field[rows, columns] = 1
    return field


def _within(outside: NDArray[np.float64]) -> slice:
    """Rows or columns of the field, by the share of pixels that may be outside it."""
    inside = np.flatnonzero(outside < _MOSTLY)
    if len(inside) < SIDE // 4:
        return slice(0, SIDE)
    first, end = int(inside[0]), int(inside[-1]) + 1
    return slice(first + _BORDER if first else 0, end - _BORDER if end < SIDE else SIDE)


def _parts(pattern: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The whole, and its parts row by row, size by size."""
    parts = [pattern]
    for share in CROPS:
        side = round(SIDE * share)
        places = (0, (SIDE - side) // 2, SIDE - side)
        parts += [pattern[y : y + side, x : x + side] for y, x in product(places, places)]
    return parts
