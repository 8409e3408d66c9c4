"""The heart as a body: its shape, how it lies in the chest, how it beats.

Heart coordinates, in millimetres: x to the left and back (lateral wall), y up (anterior wall), z
from the plane of the valves (0) to the apex. Right ventricle and septum lie at negative x. An angle
around the axis runs from lateral (0) over anterior (90) and right (180) to inferior (270 degrees).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.phantom.carm import Floats

LENGTH_MM = 85.0
RADIUS_MM = 38.0
AXIS = np.array([0.60, -0.50, -0.62])
"""From base to apex in the patient: to the left, to the front, down."""
RADIAL_SHORTENING = 0.13
AXIAL_SHORTENING = 0.12
TWIST_DEG = 9.0


def surface_mm(angle_deg: float, depth: float, lift_mm: float = 0.0) -> NDArray[np.float64]:
    """A point of the outer surface (float64[3]).

    ``depth`` runs from 0 at the valves to 1 at the apex and may be a little negative; ``lift_mm``
    is the height above the surface, negative in the muscle.
    """
    from_right = (angle_deg - 190 + 180) % 360 - 180
    ventricle = 0.62 * np.exp(-((from_right / 58) ** 2)) * (1 - np.clip(depth, 0, 1)) ** 0.8
    taper = np.sqrt(max(1 - max(depth, 0) ** 2.3, 0.0))
    radius = RADIUS_MM * taper * (1 + ventricle) + lift_mm
    angle = np.radians(angle_deg)
    return np.array([radius * np.cos(angle), radius * np.sin(angle), LENGTH_MM * depth])


@dataclass(frozen=True, kw_only=True)
class Beat:
    """How one patient's heart moves during one cine."""

    rate_bpm: float
    phase_at_start: float
    """0 to 1; 0 is end-diastole."""
    strength: float
    """1 is a normal contraction."""
    breath_mm: float
    """How far breathing carries the heart in one breath."""
    breath_phase: float

    def contraction(self, time_s: float) -> float:
        """0 at end-diastole, ``strength`` at end-systole."""
        phase = (time_s * self.rate_bpm / 60 + self.phase_at_start) % 1
        systole = np.sin(np.pi * (phase / 0.64) ** 0.85) ** 2 if phase < 0.64 else 0.0
        filling = 0.10 * np.exp(-(((phase - 0.72) / 0.1) ** 2))
        return float(self.strength * min(systole + filling, 1.0))

    def breath(self, time_s: float) -> float:
        """Displacement towards the feet (mm)."""
        return float(self.breath_mm * np.sin(2 * np.pi * (time_s / 4.2 + self.breath_phase)))


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How the heart lies in the chest: ``rotation`` (float64[3, 3]), ``origin_mm``, ``scale``."""

    rotation: NDArray[np.float64]
    origin_mm: NDArray[np.float64]
    scale: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Pose:
        """A heart of ordinary size and direction."""
        axis = AXIS + rng.normal(0, 0.07, 3)
        axis /= np.linalg.norm(axis)
        up = np.array([0, 0, 1.0]) - axis[2] * axis
        up /= np.linalg.norm(up)
        lateral = np.cross(up, axis)
        roll = np.radians(rng.normal(0, 6))
        across = np.cos(roll) * lateral + np.sin(roll) * up
        rotation = np.column_stack([across, np.cross(axis, across), axis])
        scale = rng.uniform(0.92, 1.1)
        return cls(rotation=rotation, origin_mm=-rotation[:, 2] * 38 * scale, scale=scale)

    def place(self, points_mm: Floats, contraction: float) -> Floats:
        """Heart coordinates of the relaxed heart to the patient's, at a contraction.

        The wall moves inwards, the base towards the apex, and base and apex turn against each
        other. The aortic root, above the base, takes part by half.

        Args:
            points_mm: float32[3, N].
            contraction: 0 to about 1.
        """
        x, y, z = points_mm
        share = np.float32(contraction) * np.clip(
            np.float32(0.75) + z / np.float32(40), np.float32(0.45), np.float32(1)
        )
        shrink = 1 - np.float32(RADIAL_SHORTENING) * share
        turn = np.float32(np.radians(TWIST_DEG)) * share * (z / np.float32(LENGTH_MM) - 0.4)
        moved_x = shrink * (x - turn * y)
        moved_y = shrink * (y + turn * x)
        moved_z = z + np.float32(AXIAL_SHORTENING) * share * (np.float32(LENGTH_MM) - z)
        scale = self.scale * self.rotation
        return np.stack(
            [
                moved_x * np.float32(i)
                + moved_y * np.float32(j)
                + moved_z * np.float32(k)
                + np.float32(o)
                for (i, j, k), o in zip(scale, self.origin_mm, strict=True)
            ]
        )
