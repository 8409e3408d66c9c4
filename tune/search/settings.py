"""The settings of a search. Neither Ray nor PyTorch is imported: a command starts at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from preprocess.console.settings import Count, Settings, bounds

Search = Literal["tpe", "random", "grid", "pbt"]


@dataclass(frozen=True, kw_only=True)
class HalvingSettings(Settings):
    """When hopeless trials are stopped (Ray Tune's ASHAScheduler)."""

    rungs: Count = 3
    """Times that a trial is judged, the last at its full budget; 1 stops none."""
    reduction: Annotated[float, bounds(above=1)] = 3.0
    """A trial goes on from a rung if it is among the best 1/reduction there; a rung lies at
    1/reduction of the steps of the next. Above 1."""

    def steps(self, budget: int) -> tuple[int, ...]:
        """The step of each rung, the last being the budget.

        Rounded up from the milestones of ASHAScheduler, so that it decides at these steps.
        """
        first = self.first(budget)
        between = (math.ceil(first * self.reduction**k) for k in range(self.rungs - 1))
        return tuple(sorted({*(min(step, budget) for step in between), budget}))

    def first(self, budget: int) -> int:
        """The step of the first rung: ASHAScheduler's grace period."""
        return max(1, math.floor(budget / self.reduction ** (self.rungs - 1)))


@dataclass(frozen=True, kw_only=True)
class PopulationSettings(Settings):
    """How a population trains, with `--search pbt` (Ray Tune's PopulationBasedTraining)."""

    intervals: Annotated[int, bounds(2)] = 5
    """Equal parts of the training, 2 or more. After each but the last the worst members take over
    weights and learning rate of the best."""
    share: Annotated[float, bounds(above=0, most=0.5)] = 0.25
    """Of the members, that is replaced each time; above 0 to 0.5."""
    factor: Annotated[float, bounds(above=1)] = 1.25
    """Whoever takes over multiplies or divides the learning rate by this; above 1."""

    def steps(self, budget: int) -> tuple[int, ...]:
        """The steps at which all are judged, the last being the budget."""
        parts = range(1, self.intervals + 1)
        return tuple(sorted({max(1, round(budget * part / self.intervals)) for part in parts}))
