"""The settings of training. Nothing here imports PyTorch, so that a command starts at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Precision = Literal["auto", "bf16", "fp32"]


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """How much a training frame may change, drawn anew each time it is used.

    The paper changes brightness and contrast (section 3.2); the geometric ones are ours and off
    unless set.
    """

    brightness: float = 0.2
    """Greatest shift of brightness, as a share of the grey range, 0 to 1."""
    contrast: float = 0.2
    """Greatest relative change of contrast around the frame's mean, 0 to 1."""
    zoom: float = 0.0
    """Greatest relative change of size, 0 to below 1."""
    shift: float = 0.0
    """Greatest shift along each axis, as a share of the frame's side, 0 to 1."""
    flip: float = 0.0
    """Probability of mirroring left and right, 0 to 1."""
    extra: tuple[str, ...] = ()
    """Changes of grey levels that installed packages bring (`angioray.augmentations`)."""

    @property
    def moves(self) -> bool:
        """Whether frames, and boxes with them, change their place."""
        return bool(self.zoom or self.shift or self.flip)

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}, expected 0 to {most}"
            for name, most, fits in (
                ("brightness", "1", 0 <= self.brightness <= 1),
                ("contrast", "1", 0 <= self.contrast <= 1),
                ("zoom", "below 1", 0 <= self.zoom < 1),
                ("shift", "1", 0 <= self.shift <= 1),
                ("flip", "1", 0 <= self.flip <= 1),
            )
            if not fits
        ]
        if problems:
            raise ValueError(f"The augmentation cannot work: {'; '.join(problems)}.")


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """How weights follow gradients."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    """The rule."""
    learning_rate: float = 8e-4
    """At its highest, per step."""
    momentum: float = 0.9
    """Of SGD, 0 to 1."""
    weight_decay: float = 4e-4
    """L2 penalty (decoupled in AdamW)."""
    warmup_steps: int = 0
    """Steps in which the rate rises linearly from 0."""
    decay: Literal["none", "cosine"] = "none"
    """After the warm-up: stay, or fall to 0 along half a cosine."""
    gradient_norm: float | None = None
    """Gradients are scaled down to this norm where they exceed it."""
    changes: tuple[tuple[float, float], ...] = ()
    """Other values of `learning_rate`, each with the share of the steps from which it holds, in
    their order; `tune.sweep --search pbt` finds such courses."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}, expected {expected}"
            for name, expected, fits in (
                ("learning_rate", "more than 0", self.learning_rate > 0),
                ("momentum", "0 to below 1", 0 <= self.momentum < 1),
                ("weight_decay", "0 or more", self.weight_decay >= 0),
                ("warmup_steps", "0 or more", self.warmup_steps >= 0),
                ("gradient_norm", "more than 0", (self.gradient_norm or 1) > 0),
                (
                    "changes",
                    "pairs of a rising share, above 0 to below 1, and a rate of more than 0",
                    all(rate > 0 for _, rate in self.changes)
                    and all(a < b for a, b in pairwise([0.0, *(s for s, _ in self.changes), 1.0])),
                ),
            )
            if not fits
        ]
        if problems:
            raise ValueError(f"The optimiser cannot work: {'; '.join(problems)}.")

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
