"""The seeds that follow from one seed: each key has its own, and no two seeds share any."""

from __future__ import annotations

import numpy as np


def seed_of(seed: int, *key: int) -> int:
    """The seed of a part of what ``seed`` decides, 0 to 2^32 - 1.

    A sum would not do: seed 0 of fold 1 would be seed 1 of fold 0, and two studies that were to
    repeat each other would share runs.

    Args:
        seed: of the whole.
        key: which part.
    """
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0])
