"""One searched setting: a range or choices, and the condition under which it matters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

Label = str | int | float | bool | None
Params = dict[str, Any]
"""Searched settings by dotted name: a number of a range, or the label of a choice."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False
    """Even in the logarithm."""
    step: float | None = None
    """Only ``low`` plus multiples of it."""
    points: int | None = None
    """How many of them a grid has."""
    whole: bool = False
    """Whole numbers alone, as the setting wants them."""

    @property
    def has_grid(self) -> bool:
        """Whether it says how dense a grid is."""
        return self.points is not None or self.step is not None

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """Ask a sampler for one of them."""
        if self.whole:
            step = int(self.step or 1)
            return trial.suggest_int(name, int(self.low), int(self.high), step=step, log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def holds(self, value: object) -> bool:
        """Whether a value is one of them."""
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-9

    def grid(self) -> list[float]:
        """``points`` of them, evenly spaced; or every step."""
        if self.points is None and self.step is not None:
            count = int((self.high - self.low) / self.step + 1e-9) + 1
            values = [self.low + i * self.step for i in range(count)]
        else:
            assert self.points is not None, "the space file was checked"
            shares = [i / (self.points - 1) for i in range(self.points)]
            values = [self._at(share) for share in shares]
        return list(dict.fromkeys(round(v) for v in values)) if self.whole else values

    def _at(self, share: float) -> float:
        if not self.log:
            return self.low + share * (self.high - self.low)
        return math.exp(math.log(self.low) + share * math.log(self.high / self.low))

    def edges(self) -> list[Label]:
        """Its two ends."""
        return [round(end) if self.whole else end for end in (self.low, self.high)]

    def value(self, of: Any) -> Any:
        """What the setting becomes: the number itself."""
        return of


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Some values, each under a label; a plain number or word is its own label."""

    values: Mapping[Label, Any]
    has_grid = True

    def suggest(self, trial: optuna.Trial, name: str) -> Label:
        """Ask a sampler for a label."""
        return trial.suggest_categorical(name, list(self.values))

    def holds(self, value: object) -> bool:
        """Whether a label is one of them."""
        return value in self.values

    def grid(self) -> list[Label]:
        """Every label."""
        return list(self.values)

    def edges(self) -> list[Label]:
        """Every label: choices have no order."""
        return list(self.values)

    def value(self, of: Any) -> Any:
        """What stands under a label; a base's own value may be none of them."""
        return self.values.get(of, of)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A searched setting.

    Attributes:
        name: dotted, such as ``detector.optimiser.learning_rate``.
        domain: what it may be.
        when: labels of other parameters under which it matters; otherwise it stays as it is.
    """

    name: str
    domain: Range | Choices
    when: Mapping[str, tuple[Label, ...]] = field(default_factory=dict)

    def at(self, value: Label) -> Params:
        """It with this value, and what its condition wants beside it."""
        return {**{name: labels[0] for name, labels in self.when.items()}, self.name: value}

    def active(self, others: Params) -> bool:
        """Whether it matters beside these."""
        return all(name in others and others[name] in labels for name, labels in self.when.items())


def read_number(value: Any) -> float | None:
    """A finite number, also one that YAML takes for a word, such as 1e-3; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
