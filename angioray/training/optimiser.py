"""Optimisers and learning rates, with the state that an exact resume needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import nn


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

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of a model's parameters; its learning rate is set before each step."""
        parameters = model.parameters()
        if self.name == "sgd":
            return torch.optim.SGD(
                parameters,
                self.learning_rate,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                fused=True,
            )
        kind = torch.optim.Adam if self.name == "adam" else torch.optim.AdamW
        return kind(parameters, self.learning_rate, weight_decay=self.weight_decay, fused=True)

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


class Plateau:
    """Multiplies the learning rate by a factor when the epoch's mean loss stops falling.

    As Keras and PyTorch define it: after more than ``patience`` epochs without a new best (better
    by a thousandth), the rate falls and the count starts anew. It watches the training loss: the
    validation fold is only ever judged on.
    """

    def __init__(self, *, factor: float, patience: int, steps_per_epoch: int) -> None:
        self._factor, self._patience, self._steps_per_epoch = factor, patience, steps_per_epoch
        self.scale = 1.0
        self._best: float | None = None
        self._bad_epochs = 0
        self._sum = 0.0

    def judges(self, step: int) -> bool:
        """Whether this step (0-based) is the last of an epoch: its losses are needed at once."""
        return (step + 1) % self._steps_per_epoch == 0

    def record(self, step: int, losses: Sequence[float]) -> None:
        """Take in the losses of the steps up to ``step`` (0-based) that are not recorded yet.

        They must not reach beyond an epoch's last step, which judges the epoch.
        """
        for loss in losses:  # one by one, so that it does not matter how they were told
            self._sum += loss
        if not self.judges(step):
            return
        mean, self._sum = self._sum / self._steps_per_epoch, 0.0
        if self._best is None or mean < self._best * (1 - 1e-3):
            self._best, self._bad_epochs = mean, 0
        else:
            self._bad_epochs += 1
        if self._bad_epochs > self._patience:
            self.scale, self._bad_epochs = self.scale * self._factor, 0

    def state(self) -> dict[str, Any]:
        """What a resume needs, as JSON."""
        return {
            "scale": self.scale,
            "best": self._best,
            "bad_epochs": self._bad_epochs,
            "sum": self._sum,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self.scale, self._best = state["scale"], state["best"]
        self._bad_epochs, self._sum = state["bad_epochs"], state["sum"]
