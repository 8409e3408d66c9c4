"""The settings of training. Nothing here imports PyTorch, so that a command starts at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from preprocess.console.settings import (
    CountOrZero,
    NotNegative,
    Positive,
    Proportion,
    Settings,
    bounds,
)

Precision = Literal["auto", "bf16", "fp32"]


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings(Settings):
    """How much a training frame may change, drawn anew each time it is used.

    The paper changes brightness and contrast (section 3.2); the geometric ones are ours and off
    unless set.
    """

    brightness: Proportion = 0.2
    """Greatest shift of brightness, as a share of the grey range, 0 to 1."""
    contrast: Proportion = 0.2
    """Greatest relative change of contrast around the frame's mean, 0 to 1."""
    zoom: Annotated[float, bounds(0, below=1)] = 0.0
    """Greatest relative change of size, 0 to below 1."""
    shift: Proportion = 0.0
    """Greatest shift along each axis, as a share of the frame's side, 0 to 1."""
    flip: Proportion = 0.0
    """Probability of mirroring left and right, 0 to 1."""
    extra: tuple[str, ...] = ()
    """Changes of grey levels that installed packages bring (`angioray.augmentations`)."""

    @property
    def moves(self) -> bool:
        """Whether frames, and boxes with them, change their place."""
        return bool(self.zoom or self.shift or self.flip)


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings(Settings):
    """How weights follow gradients."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    """The rule."""
    learning_rate: Positive = 8e-4
    """At its highest, per step; above 0."""
    momentum: Annotated[float, bounds(0, below=1)] = 0.9
    """Of SGD, 0 to below 1."""
    weight_decay: NotNegative = 4e-4
    """L2 penalty (decoupled in AdamW), 0 or more."""
    warmup_steps: CountOrZero = 0
    """Steps in which the rate rises linearly from 0."""
    decay: Literal["none", "cosine"] = "none"
    """After the warm-up: stay, or fall to 0 along half a cosine."""
    gradient_norm: Positive | None = None
    """Gradients are scaled down to this norm where they exceed it; above 0."""
    changes: tuple[tuple[Annotated[float, bounds(above=0, below=1)], Positive], ...] = ()
    """Other values of `learning_rate`, each after the share of the steps (above 0 to below 1) from
    which it holds, in their order; `tune.sweep --search pbt` finds such courses."""

    def conflicts(self) -> Iterator[str]:
        """Changes out of their order."""
        shares = [share for share, _ in self.changes]
        if any(earlier >= later for earlier, later in pairwise(shares)):
            yield f"changes has the shares {shares}; each must be greater than the one before"

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of step ``step`` (0-based) of ``steps``."""
        highest = self.learning_rate
        for share, other in self.changes:
            if step >= round(share * steps):
                highest = other
        return highest * self.factor(step, steps)

    def factor(self, step: int, steps: int) -> float:
        """The share of the highest rate that step ``step`` (0-based) of ``steps`` uses."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.decay == "none":
            return 1.0
        done = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * done))
