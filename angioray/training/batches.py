"""The batches of a run: the frames of each step, and their changes, for each rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from angioray.extensions import part
from angioray.training.augmentation import Movement, Tone, draw_changes, move_images
from angioray.training.frames import FrameKey, FrameStore, sent
from angioray.training.sampler import batch_positions, step_generator
from angioray.training.settings import AugmentationSettings

ROUNDED_TO = 16
"""Folds differ by a few lesions: rounded up, their counts share a compiled step."""


@dataclass(frozen=True)
class Batch:
    """One rank's share of a step.

    Attributes:
        images: float[B, 1, S, S], normalised, changed, on the device.
        positions: int64[B] on the device, which of the run's frames they are.
        movement: how their pixels were moved, on the device; None if they were not.
    """

    images: Tensor
    positions: Tensor
    movement: Movement | None


@dataclass(frozen=True)
class Batches:
    """The frames that a run trains on, and how steps take them: a function of seed and step.

    Attributes:
        store: where the frames lie.
        keys: the run's frames.
        rows: int64[N], where each of them lies in the store.
        batch_size: frames of one step, over all ranks.
        augmentation: how frames are changed.
        seed: of the run.
    """

    store: FrameStore
    keys: Sequence[FrameKey]
    rows: NDArray[np.int64]
    batch_size: int
    augmentation: AugmentationSettings
    seed: int

    def take(self, step: int, *, rank: int, ranks: int, dtype: torch.dtype) -> Batch:
        """What one of the ranks trains on in a step, in float32 or what autocast would make of it.

        Nothing here waits for the device.
        """
        mine = slice(rank, None, ranks)
        positions = self._positions(step)[mine]
        self.store.read_ahead(step, lambda later: self.rows[self._positions(later)[mine]])
        tone, movement = draw_changes(self.augmentation, self.batch_size, seed=self.seed, step=step)
        if tone is not None:
            tone = Tone(tone.gain[mine], tone.shift[mine])
        device = self.store.device
        if movement is None:
            images = self.store.images(self.rows[positions], tone, dtype)
        else:
            images = self.store.images(self.rows[positions], tone)
            movement = Movement(
                sent(movement.scale[:, mine], device), sent(movement.shift[:, mine], device)
            )
            images = move_images(images, movement)
        for name in self.augmentation.extra:
            generator = step_generator(seed=self.seed, step=step)
            images = part("augmentations", name)(images, generator)
        return Batch(images, sent(torch.from_numpy(positions), device), movement)

    def keys_of(self, step: int) -> list[FrameKey]:
        """The frames of a step, over all ranks."""
        return [self.keys[position] for position in self._positions(step)]

    def most_in_a_batch(self, counts: NDArray[np.int64], steps: int, ranks: int = 1) -> int | None:
        """The greatest sum of a count of each frame over any rank's share of a batch, rounded up.

        It is the same for all ranks, so that they compile the same shapes.

        Args:
            counts: int64[N], of each frame as it is stored.
            steps: of the run.
            ranks: that share each batch.

        Returns:
            None if frames are moved: what a batch shows is then known too late.
        """
        if self.augmentation.moves:
            return None
        each = (counts[self._positions(step)] for step in range(steps))
        most = max(int(of[rank::ranks].sum()) for of in each for rank in range(ranks))
        return max(1, -(-most // ROUNDED_TO)) * ROUNDED_TO

    def _positions(self, step: int) -> NDArray[np.int64]:
        return batch_positions(
            population=len(self.keys), batch_size=self.batch_size, seed=self.seed, step=step
        )
