"""What the operator brought in: the guiding catheter, and the contrast that spills at its tip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocess.phantom.bones import MIDLINE_MM
from preprocess.phantom.carm import CArm, Floats
from preprocess.phantom.curve import Array, smooth_curve
from preprocess.phantom.tube import Cloud, Tube

BORE = 0.66
WALL_PER_MM = 0.19
STEP_MM = 0.35
FOLLOWS_MM = 38.0
"""The heart carries the tip along; its pull fades over this length of the catheter."""
SPILL_POINTS = 2600
REACH_PX = 128
"""The table and the heart never carry the catheter farther than this."""

_SHAPES = {
    # The last bends before the ostium, relative to it: Judkins left and right.
    "LCA": ((-34.0, 2.0, 46.0), (-27.0, 2.0, 13.0), (-15.0, 3.0, -3.0), (-5.0, 1.0, -2.0)),
    "RCA": ((4.0, 14.0, 52.0), (6.0, 14.0, 20.0), (5.0, 9.0, 4.0), (2.0, 3.0, 0.0)),
}


@dataclass(frozen=True, kw_only=True)
class Catheter:
    """A catheter that runs up the descending aorta, over the arch and down to the ostium.

    ``pull`` (float32[S]) is how far each cross-section follows the ostium, 0 to 1.
    """

    wall: Cloud
    lumen: Cloud
    pull: Floats

    def seen_by(self, carm: CArm, moved_mm: Floats) -> Catheter:
        """Only those points that may come into view; ``moved_mm`` (float32[3]) shifts them all."""
        seen = []
        for cloud in (self.wall, self.lumen):
            columns, rows, _ = carm.project(cloud.points_mm + moved_mm[:, None])
            distance = np.maximum(np.abs(columns - carm.middle_px), np.abs(rows - carm.middle_px))
            seen.append(cloud.part(distance < carm.middle_px + REACH_PX))
        return Catheter(wall=seen[0], lumen=seen[1], pull=self.pull)


def insert(artery: str, ostium_mm: Array, rng: np.random.Generator) -> Catheter:
    """A catheter of 5 to 7 French whose tip lies in the ostium (float64[3], patient's mm)."""
    radius = rng.uniform(0.85, 1.12)
    aorta = np.array(
        [
            (MIDLINE_MM + 16, 46, -190),
            (MIDLINE_MM + 15, 45, -90),
            (MIDLINE_MM + 16, 44, 10),
            (MIDLINE_MM + 14, 40, 70),
            (MIDLINE_MM + 2, 20, 104),
            (MIDLINE_MM - 14, -6, 98),
        ]
    ) + rng.normal(0, 4, (6, 3))
    bends = ostium_mm + np.array(_SHAPES[artery]) + rng.normal(0, 2, (4, 3))
    centres = smooth_curve(np.vstack([aorta, bends, ostium_mm]), STEP_MM)
    radii = np.full(len(centres), radius)
    to_tip = (len(centres) - 1 - np.arange(len(centres))) * STEP_MM
    pull = np.exp(-((to_tip / FOLLOWS_MM) ** 2)).astype(np.float32)
    wall = Tube(centres_mm=centres, radii_mm=radii, bore=BORE).fill(rng, points_per_mm2=14)
    lumen = Tube(centres_mm=centres, radii_mm=radii * BORE).fill(rng, points_per_mm2=18)
    return Catheter(wall=wall, lumen=lumen, pull=pull)


@dataclass(frozen=True, kw_only=True)
class Spill:
    """Contrast that flows back into the aortic root while it is injected.

    Blobs leave the ostium one after another, swell, and thin out along ``drift_mm``.
    """

    offsets: Floats
    ages: Floats
    drift_mm: Floats
    volume_mm3: float

    @classmethod
    def random(cls, artery: str, rng: np.random.Generator) -> Spill:
        """A spill of any size; small ones are the rule."""
        clumps = rng.normal(0, 0.55, (3, 26))[:, rng.integers(0, 26, SPILL_POINTS)]
        aside = 7.0 if artery == "RCA" else -8.0
        drift = np.array([aside, 6.0, 6.0]) + rng.normal(0, 4, 3)
        return cls(
            offsets=(clumps + rng.normal(0, 0.5, clumps.shape)).astype(np.float32),
            ages=rng.uniform(0, 1, SPILL_POINTS).astype(np.float32),
            drift_mm=drift.astype(np.float32),
            volume_mm3=float(rng.gamma(1.6, 190)),
        )

    def cloud(self, ostium_mm: Floats, time_s: float, strength: float) -> tuple[Floats, Floats]:
        """Points (float32[3, N]) and volumes (float32[N]) at a moment of the injection."""
        age = (self.ages + np.float32(time_s * 1.7)) % 1
        spread = np.float32(1.2) + np.float32(8.5) * age
        points = ostium_mm[:, None] + self.drift_mm[:, None] * age * 1.6 + self.offsets * spread
        fade = (1 - age) ** 2
        volumes = np.float32(strength * self.volume_mm3 * 3 / SPILL_POINTS) * fade
        return points.astype(np.float32), volumes.astype(np.float32)
