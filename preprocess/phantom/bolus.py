"""The passage of contrast: when it reaches and leaves each place of the tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Bolus:
    """A bolus of iodine on its way down a tree. Bounds are 0-based frame indices.

    From ``introducing_start`` its front travels so that it has filled the tree at
    ``optimal_start``; from ``vanishing_start`` clear blood follows.
    """

    introducing_start: int
    optimal_start: int
    vanishing_start: int
    frames: int
    reach_mm: float
    """Distance from the ostium to the end of the longest branch."""

    @classmethod
    def random(cls, frames: int, reach_mm: float, rng: np.random.Generator) -> Bolus:
        """Bounds in the proportions of an ordinary injection."""
        shares = np.array([0.14, 0.19, 0.40]) * rng.uniform(0.85, 1.15, 3)
        lengths = np.maximum(np.round(shares * frames).astype(int), (1, 2, 2))
        introducing, optimal, vanishing = np.cumsum(lengths).tolist()
        return cls(
            introducing_start=introducing,
            optimal_start=optimal,
            vanishing_start=min(vanishing, frames - 2),
            frames=frames,
            reach_mm=reach_mm,
        )

    def concentration(self, frame_index: int, arc_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of full contrast, 0 to 1, at distances from the ostium (float64[S])."""
        speed = self.reach_mm / (self.optimal_start - self.introducing_start)
        front = (frame_index - self.introducing_start + 0.6) * speed
        filled = _smooth((front - arc_mm) / (12 + 0.16 * arc_mm))
        wash = self.reach_mm / max(0.8 * (self.frames - self.vanishing_start), 2)
        tail = (frame_index - self.vanishing_start + 0.5) * wash
        cleared = _smooth((tail - 0.8 * arc_mm) / (0.45 * self.reach_mm))
        # Beside the catheter's tip clear blood from the aorta enters with the contrast.
        mixed = 0.45 + 0.55 * _smooth(arc_mm / 7)
        return mixed * filled * (1 - 0.93 * cleared)

    def injection(self, frame_index: int) -> float:
        """How much contrast leaves the catheter, 0 to 1."""
        start = (frame_index - self.introducing_start + 1.6) / 2
        end = (frame_index - self.vanishing_start + 2.5) / 3
        return float(np.clip(start, 0, 1) * (1 - np.clip(end, 0, 1)))

    def blush(self, frame_index: int) -> float:
        """How much contrast has passed into the muscle, 0 to 1."""
        return float(
            np.clip(
                (frame_index - self.optimal_start)
                / (self.vanishing_start - self.optimal_start + 4),
                0,
                1,
            )
        )


def _smooth(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.clip(x, 0, 1)
    smooth: NDArray[np.float64] = x * x * (3 - 2 * x)
    return smooth
