"""What trials cost: ratios of operations by hand, and what a limit leaves of a space."""

from __future__ import annotations

from pathlib import Path

import pytest

from angioray.study.matrix import Run
from angioray.study.splits import Fold
from tests.angioray.settings import TOY
from tune.cost import TrialCost
from tune.objective import Objective
from tune.space.space_file import read_space

SPACE = """\
view.optimiser.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
view.frozen_epochs: {low: 0, high: 3}
view.sizes: {choices: {small: [32], large: [64], huge: [96]}}
"""
OBJECTIVE = Objective(TOY, Run(task="view", size=32, fold=0, seed=0), Fold((), ()), ())


def cost_of(folder: Path, most: float | None = None) -> TrialCost:
    (folder / "space.yaml").write_text(SPACE)
    return TrialCost(read_space(folder / "space.yaml", TOY, "view"), OBJECTIVE, most)


def test_the_cost_of_a_trial_by_hand(tmp_path: Path) -> None:
    cost = cost_of(tmp_path)
    base = cost.space.of_base()
    assert cost(base) == 1.0
    assert cost({**base, "view.optimiser.learning_rate": 1e-3}) == 1.0
    # Twice the side has four times the pixels.
    assert cost({**base, "view.sizes": "large"}) == 4.0
    # Three passes, of which one of three epochs lacks a third: 3 - 1/3. All three: 2.
    assert cost({**base, "view.frozen_epochs": 3}) == 0.75
    assert cost({**base, "view.frozen_epochs": 3, "view.sizes": "huge"}) == 6.75
    with pytest.raises(ValueError, match="frozen_epochs is -1"):
        cost({"view.frozen_epochs": -1})


def test_what_a_limit_allows(tmp_path: Path) -> None:
    cost = cost_of(tmp_path, 3.2)
    assert cost.allows({"view.sizes": "large", "view.frozen_epochs": 3})  # 4 x 0.75
    assert not cost.allows({"view.sizes": "large"})
    assert cost_of(tmp_path, 4).allows({"view.sizes": "large"})
    assert cost_of(tmp_path).allows({"view.sizes": "huge"}), "without a limit"


def test_what_a_limit_leaves_out_is_known_before_anything_runs(tmp_path: Path) -> None:
    assert cost_of(tmp_path).never_drawn() == []
    assert cost_of(tmp_path, 6.75).never_drawn() == []
    assert cost_of(tmp_path, 3.2).never_drawn() == [
        "view.sizes huge is never tried: it costs 6.75 times the base or more, and the limit is "
        "3.2."
    ]
    assert cost_of(tmp_path, 0.8).never_drawn() == [
        "view.frozen_epochs 0 is never tried: it costs 1.12 times the base or more, and the limit "
        "is 0.8.",
        "view.sizes large is never tried: it costs 3 times the base or more, and the limit is 0.8.",
        "view.sizes huge is never tried: it costs 6.75 times the base or more, and the limit is "
        "0.8.",
    ]
    with pytest.raises(ValueError, match=r"costs 0\.5 times the base or less: the cheapest costs"):
        cost_of(tmp_path, 0.5).never_drawn()
