"""The sampler is a pure function of seed and step."""

import numpy as np
import torch

from angioray.training.sampler import batch_positions, step_generator


def test_every_epoch_takes_every_member_once() -> None:
    steps = [batch_positions(population=10, batch_size=4, seed=3, step=s) for s in range(5)]
    stream = np.concatenate(steps)  # 20 positions: two epochs, the third batch spans both
    assert sorted(stream[:10]) == sorted(stream[10:]) == list(range(10))
    assert not np.array_equal(stream[:10], stream[10:])


def test_a_step_is_the_same_whenever_it_is_asked_for() -> None:
    first = batch_positions(population=100, batch_size=8, seed=1, step=40)
    assert np.array_equal(first, batch_positions(population=100, batch_size=8, seed=1, step=40))
    assert not np.array_equal(first, batch_positions(population=100, batch_size=8, seed=2, step=40))


def test_a_batch_may_be_larger_than_the_population() -> None:
    batch = batch_positions(population=3, batch_size=8, seed=0, step=0)
    assert np.bincount(batch, minlength=3).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


def test_augmentation_numbers_depend_on_seed_and_step() -> None:
    draws = {
        (seed, step): float(torch.rand(1, generator=step_generator(seed=seed, step=step)))
        for seed in range(3)
        for step in range(3)
    }
    assert len(set(draws.values())) == 9
    again = torch.rand(1, generator=step_generator(seed=1, step=2))
    assert draws[1, 2] == float(again)
