"""Ellipsoids that rays cross: chest, lungs, heart and the domes of the diaphragm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.phantom.carm import Floats


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """``centre_mm`` and half axes; ``rotation`` holds the axes' directions as columns."""

    centre_mm: tuple[float, float, float]
    half_axes_mm: tuple[float, float, float]
    rotation: NDArray[np.float64] | None = None

    def crossed(self, source_mm: Floats, directions: Floats) -> tuple[Floats, Floats]:
        """Where each ray enters and leaves (float32[N] each, mm from the source).

        A ray that misses enters and leaves at the same place.
        """
        rotation = np.eye(3) if self.rotation is None else self.rotation
        squeeze = (rotation / np.array(self.half_axes_mm)).T.astype(np.float32)
        offset = squeeze @ (source_mm - np.array(self.centre_mm, dtype=np.float32))
        # einsum, because BLAS rounds differently from one thread count to another.
        along = np.einsum("ij,jn->in", squeeze, directions)
        a = (along**2).sum(axis=0)
        b = (along * offset[:, None]).sum(axis=0)
        root = np.sqrt(np.maximum(b * b - a * (offset @ offset - 1), 0))
        return (-b - root) / a, (-b + root) / a


def length_mm(span: tuple[Floats, Floats]) -> Floats:
    """How far rays run inside a body (float32[N])."""
    return span[1] - span[0]


def shared_mm(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> Floats:
    """How far rays run inside both of two bodies (float32[N])."""
    shared: Floats = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])
    return np.maximum(shared, np.float32(0))
