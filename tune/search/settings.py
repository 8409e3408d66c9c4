"""The settings of a search. Neither Ray nor PyTorch is imported: a command starts at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Search = Literal["tpe", "random", "grid", "pbt"]


@dataclass(frozen=True, kw_only=True)
class HalvingSettings:
    """When hopeless trials are stopped."""

    rungs: int = 3
    """Times that a trial is judged, the last at its full budget; 1 stops none."""
    reduction: float = 3.0
    """A trial goes on from a rung if it is among the best 1/reduction there; a rung lies at
    1/reduction of the steps of the next."""

    def __post_init__(self) -> None:
        if self.rungs < 1 or self.reduction <= 1:
            raise ValueError(
                f"Halving cannot work with {self.rungs} rungs and a reduction of "
                f"{self.reduction:g}; expected 1 rung or more, and a reduction above 1."
            )

    def steps(self, budget: int) -> tuple[int, ...]:
        """The step of each rung, the last being the budget."""
        exponents = range(self.rungs)
        return tuple(sorted({max(1, round(budget / self.reduction**k)) for k in exponents}))


@dataclass(frozen=True, kw_only=True)
class PopulationSettings:
    """How a population trains, with `--search pbt`."""

    intervals: int = 5
    """Equal parts of the training. At the end of each but the last the worst members take over
    weights and learning rate of the best."""
    share: float = 0.25
    """Of the members, that is replaced each time."""
    factor: float = 1.25
    """Whoever takes over multiplies or divides the learning rate by this."""

    def __post_init__(self) -> None:
        if self.intervals < 2 or not 0 < self.share <= 0.5 or self.factor <= 1:
            raise ValueError(
                f"A population cannot train with {self.intervals} intervals, a share of "
                f"{self.share:g} and a factor of {self.factor:g}; expected 2 intervals or more, a "
                "share above 0 and up to 0.5, and a factor above 1."
            )

    def steps(self, budget: int) -> tuple[int, ...]:
        """The steps at which all are judged, the last being the budget."""
        parts = range(1, self.intervals + 1)
        return tuple(sorted({max(1, round(budget * part / self.intervals)) for part in parts}))
