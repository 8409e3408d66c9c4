"""The optimiser, and the plateau that lowers its rate, with the state for an exact resume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from angioray.training.settings import OptimiserSettings


def build_optimiser(settings: OptimiserSettings, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a model's parameters; its learning rate is set before each step."""
    parameters = model.parameters()
    if settings.name == "sgd":
        return torch.optim.SGD(
            parameters,
            settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            fused=True,
        )
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return kind(parameters, settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


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
