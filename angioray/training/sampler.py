"""The frames of each step, as a pure function of seed and step."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray


def batch_positions(*, population: int, batch_size: int, seed: int, step: int) -> NDArray[np.int64]:
    """The members of one batch, as positions below ``population`` (int64[batch_size]).

    Batches follow one another through epochs, each epoch a fresh permutation of all members; a
    batch may end one epoch and begin the next.
    """
    first = step * batch_size
    index = np.arange(first, first + batch_size)
    epochs = index // population
    order = {epoch: _permutation(population, seed, int(epoch)) for epoch in np.unique(epochs)}
    members = [order[epoch][i % population] for epoch, i in zip(epochs, index, strict=True)]
    return np.array(members, dtype=np.int64)


def step_generator(*, seed: int, step: int) -> torch.Generator:
    """A generator for a step's augmentation, the same whenever and wherever the step is taken."""
    state = np.random.SeedSequence([seed, step, 1]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


@lru_cache(maxsize=4)
def _permutation(population: int, seed: int, epoch: int) -> NDArray[np.int64]:
    # Each step of an epoch asks for it again.
    return np.random.default_rng([seed, epoch, 0]).permutation(population)
