"""The C-arm: where it stands, and where a point of the patient lands on its detector.

Patient coordinates are DICOM's, in millimetres from the isocentre: x to the patient's left, y to
the back, z to the head. Angles follow (0018,1510) and (0018,1511): positive is LAO and cranial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.phantom.settings import FRAME_SIZE_PX

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class CArm:
    """A cone beam from a point source onto a flat detector that faces it."""

    primary_deg: float
    """Positioner primary angle: LAO positive, RAO negative."""
    secondary_deg: float
    """Positioner secondary angle: cranial positive, caudal negative."""
    source_detector_mm: float = 1040.0
    source_isocentre_mm: float = 765.0
    pixel_mm: float = 0.35
    """Pixel pitch at the detector, (0018,1164)."""

    @property
    def px_per_mm(self) -> float:
        """Pixels per millimetre for what lies at the isocentre."""
        return self.source_detector_mm / self.source_isocentre_mm / self.pixel_mm

    @property
    def middle_px(self) -> float:
        """Column and row of the middle of the frame, which the central ray meets."""
        return (FRAME_SIZE_PX - 1) / 2

    def axes(self) -> NDArray[np.float64]:
        """Unit vectors to image right, image top and the detector (float64[3, 3], one a row)."""
        a, b = np.radians([self.primary_deg, self.secondary_deg])
        return np.array(
            [
                [np.cos(a), np.sin(a), 0],
                [-np.sin(b) * np.sin(a), np.sin(b) * np.cos(a), np.cos(b)],
                [np.cos(b) * np.sin(a), -np.cos(b) * np.cos(a), np.sin(b)],
            ]
        )

    def project(self, points_mm: Floats) -> tuple[Floats, Floats, Floats]:
        """Where points land: columns (px), rows (px), magnification, each float32[N].

        ``points_mm`` is float32[3, N].
        """
        # Not a matrix product: BLAS may round differently from one thread count to another.
        x, y, z = points_mm
        right, top, ahead = (
            x * np.float32(i) + y * np.float32(j) + z * np.float32(k) for i, j, k in self.axes()
        )
        magnification = np.float32(self.source_detector_mm) / (
            np.float32(self.source_isocentre_mm) + ahead
        )
        scale = magnification / np.float32(self.pixel_mm)
        centre = np.float32(self.middle_px)
        return centre + right * scale, centre - top * scale, magnification

    def rays(self, columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """The source (float32[3]) and unit directions of the rays to pixels (float32[3, N])."""
        right, top, ahead = self.axes()
        centre = self.middle_px
        directions = (
            right[:, None] * ((columns - centre) * self.pixel_mm)
            - top[:, None] * ((rows - centre) * self.pixel_mm)
            + ahead[:, None] * self.source_detector_mm
        )
        directions /= np.sqrt((directions**2).sum(axis=0))
        source = -ahead * self.source_isocentre_mm
        return source.astype(np.float32), directions.astype(np.float32)
