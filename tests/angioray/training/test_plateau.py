"""The plateau: PyTorch's rule on means over epochs, and the same after a resume."""

import json

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from angioray.training.optimiser import Plateau

HIGHEST = 1e-5


def plateau(
    *, patience: int = 2, factor: float = 0.2, threshold: float = 1e-4, steps_per_epoch: int = 1
) -> Plateau:
    return Plateau(
        learning_rate=HIGHEST,
        factor=factor,
        patience=patience,
        threshold=threshold,
        steps_per_epoch=steps_per_epoch,
    )


def test_scales_by_hand_however_losses_are_told() -> None:
    one_by_one, at_once = (plateau(patience=1, steps_per_epoch=2) for _ in range(2))
    scales = []
    losses = [4, 2, 3, 3, 5, 1, 1, 1, 1, 1, 1, 1]
    for step, loss in enumerate(losses):
        one_by_one.record(step, [loss])
        scales.append(one_by_one.scale)
    # Epoch means 3, 3, 3, 1, 1, 1: two bad epochs in a row, twice.
    assert scales == pytest.approx([1] * 5 + [0.2] * 6 + [0.04])
    for step in range(1, 12, 2):
        assert at_once.judges(step) and not at_once.judges(step - 1)
        at_once.record(step, losses[step - 1 : step + 1])
    assert at_once.state() == one_by_one.state()


@pytest.mark.parametrize("seed", range(8))
def test_random_losses_lower_the_rate_where_pytorch_lowers_it_also_after_a_resume(
    seed: int,
) -> None:
    draws = np.random.default_rng(seed)
    settings = {
        "factor": float(draws.uniform(0.05, 0.95)),
        "patience": int(draws.integers(0, 4)),
        "threshold": float(draws.choice([0.0, 1e-4, 1e-3, 0.1])),
    }
    # A fall that becomes slower, with noise of about the threshold.
    losses = (0.5 + np.exp(-np.arange(200) / 30)) * (1 + draws.normal(0, 1e-3, 200))
    optimiser = torch.optim.Adam([torch.zeros(())], lr=HIGHEST)
    scheduler = ReduceLROnPlateau(optimiser, **settings)
    ours = plateau(**settings)
    cuts = set()
    for epoch, loss in enumerate(losses.tolist()):
        scheduler.step(loss)
        ours.record(epoch, [loss])
        assert ours.scale == optimiser.param_groups[0]["lr"] / HIGHEST
        cuts.add(ours.scale)
        resumed = plateau(**settings)
        resumed.restore(json.loads(json.dumps(ours.state(), allow_nan=False)))
        assert resumed.state() == ours.state()
        ours = resumed
    assert len(cuts) > 1


def test_a_loss_that_falls_by_a_fiftieth_of_a_percent_is_no_plateau() -> None:
    falling = plateau()
    for epoch in range(30):
        falling.record(epoch, [0.9998**epoch])
    assert falling.scale == 1


@pytest.mark.parametrize(
    ("second", "scale"), [(0.99995, 0.5), (0.9999, 0.5), (0.99989, 1.0), (0.95, 1.0), (1.0, 0.5)]
)
def test_a_loss_has_fallen_if_it_fell_by_more_than_the_threshold(
    second: float, scale: float
) -> None:
    one = plateau(patience=0, factor=0.5)
    one.record(0, [1.0])
    one.record(1, [second])
    assert one.scale == scale


def test_nothing_is_recorded_yet_and_that_can_be_kept() -> None:
    fresh = plateau()
    fresh.restore(json.loads(json.dumps(fresh.state(), allow_nan=False)))
    fresh.record(0, [1e9])
    assert fresh.state()["best"] == 1e9
