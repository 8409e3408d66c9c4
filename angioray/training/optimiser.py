"""The optimiser, and the plateau that lowers its rate, with the state for an exact resume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

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
    """Lowers the learning rate when the epoch's mean loss stops falling, by PyTorch's own rule.

    The scheduler is :class:`torch.optim.lr_scheduler.ReduceLROnPlateau`. It watches the training
    loss: the validation fold is only ever judged on.
    """

    def __init__(
        self,
        *,
        learning_rate: float,
        factor: float,
        patience: int,
        threshold: float,
        steps_per_epoch: int,
    ) -> None:
        """Begin with the first epoch.

        Args:
            learning_rate: before any plateau. PyTorch ignores cuts of less than 1e-8 of it.
            factor: what the rate is multiplied by, above 0 to below 1.
            patience: epochs without a new best that are put up with first.
            threshold: share of the best loss by which a new best must be lower.
            steps_per_epoch: whose losses are averaged.
        """
        self._highest, self._steps_per_epoch = learning_rate, steps_per_epoch
        # Steps set the rate of the real optimiser, which may warm up and decay as well.
        self._rate = torch.optim.SGD([torch.zeros(())], lr=learning_rate)
        self._scheduler = ReduceLROnPlateau(
            self._rate, factor=factor, patience=patience, threshold=threshold
        )
        self._sum = 0.0

    @property
    def scale(self) -> float:
        """The share of the learning rate that is left."""
        return float(self._rate.param_groups[0]["lr"]) / self._highest

    def judges(self, step: int) -> bool:
        """Whether this step (0-based) is the last of an epoch: its losses are needed at once."""
        return (step + 1) % self._steps_per_epoch == 0

    def record(self, step: int, losses: Sequence[float]) -> None:
        """Take in the losses of the steps up to ``step`` (0-based) that are not recorded yet.

        They must not reach beyond an epoch's last step, which judges the epoch.
        """
        for loss in losses:  # one by one, so that it does not matter how they were told
            self._sum += loss
        if self.judges(step):
            self._scheduler.step(self._sum / self._steps_per_epoch)
            self._sum = 0.0

    def state(self) -> dict[str, Any]:
        """What a resume needs, as JSON."""
        best = self._scheduler.best
        return {
            "learning_rate": self._rate.param_groups[0]["lr"],
            "best": best if math.isfinite(best) else None,
            "bad_epochs": self._scheduler.num_bad_epochs,
            "sum": self._sum,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self._rate.param_groups[0]["lr"] = state["learning_rate"]
        best = math.inf if state["best"] is None else state["best"]
        self._scheduler.load_state_dict({"best": best, "num_bad_epochs": state["bad_epochs"]})
        self._sum = state["sum"]
