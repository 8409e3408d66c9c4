"""Our own training step over frames that are already tensors, without cohort or study."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from angioray.training.batches import Batches
from angioray.training.frame_placement import Residence
from angioray.training.frames import FrameStore, mean_grey
from angioray.training.settings import AugmentationSettings, OptimiserSettings
from angioray.training.step import World

Losses = Callable[[Tensor, Tensor], dict[str, Tensor]]


def store_of(pixels: Tensor, device: torch.device) -> FrameStore:
    """A store of uint8[N, 1, S, S] as one cine of N frames."""
    return FrameStore(
        pixels.to(device),
        mean_grey(pixels),
        {("", i): i for i in range(len(pixels))},
        {"": (1.0, 1.0)},
        device,
        Residence("device" if device.type == "cuda" else "host", "made for a benchmark"),
    )


class TensorTask:
    """A training task (``angioray.training.step``) over a store and a target for each frame."""

    plateau = None

    def __init__(
        self,
        model: nn.Module,
        store: FrameStore,
        targets: Tensor,
        *,
        batch_size: int,
        steps: int,
        augmentation: AugmentationSettings,
        optimiser: OptimiserSettings,
        losses: Losses,
        seed: int = 0,
    ) -> None:
        self.model, self.optimiser, self.losses, self.steps = model, optimiser, losses, steps
        keys = list(store.rows)
        self.batches = Batches(store, keys, store.rows_of(keys), batch_size, augmentation, seed)
        self._targets = targets.to(store.device)

    def enter(self, step: int) -> None:
        """Which layers train was set before."""

    def batch(self, step: int, world: World, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The step's frames and targets."""
        batch = self.batches.take(step, rank=0, ranks=1, dtype=dtype)
        return batch.images, self._targets.index_select(0, batch.positions)
