"""Scores as colours: dark is low and light is high, for colour-blind readers as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Canvas

_MAP = colormaps["viridis"]
_BANDS = 48

Colour = tuple[float, float, float, float]


@dataclass(frozen=True)
class ScoreColours:
    """The colour of every score from the lowest to the highest."""

    low: float
    high: float

    @classmethod
    def of(cls, scores: Sequence[float]) -> ScoreColours:
        """Colours that span these scores."""
        return cls(min(scores), max(scores))

    def position(self, score: float) -> float:
        """Where a score lies, from 0 to 1; in the middle if all are the same."""
        return 0.5 if self.low == self.high else (score - self.low) / (self.high - self.low)

    def __call__(self, score: float) -> Colour:
        red, green, blue, alpha = _MAP(self.position(score))
        return red, green, blue, alpha

    def bar(self, canvas: Canvas, axes: Axes, label: str) -> None:
        """A scale beside the axes."""
        spread = 0.5 if self.low == self.high else 0.0
        mapped = ScalarMappable(Normalize(self.low - spread, self.high + spread), _MAP)
        bar = canvas.colorbar(mapped, ax=axes, pad=0.015, aspect=28)
        bar.set_label(label)
        bar.ax.grid(visible=False)

    def band(self, axes: Axes, left: float, width: float) -> None:
        """A scale within the axes, from 0 to 1 upwards."""
        levels = np.linspace(0, 1, _BANDS + 1)
        middles = (levels[:-1] + levels[1:]) / 2
        # Bands meet without gaps when each is outlined in its own colour.
        style: dict[str, Any] = {"cmap": _MAP, "edgecolors": "face", "linewidth": 0.4}
        axes.pcolormesh([left, left + width], levels, middles[:, None], zorder=3, **style)
