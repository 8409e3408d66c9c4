"""What a sweep makes of what Ray Tune tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tune.search.callback import ProcessLostError, SweepCallback
from tune.trials import Trial


@dataclass
class Shown:
    """What a callback sees of a trial."""

    name: str
    config: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def following(recorded: dict[int, Trial], *, checked: bool = True) -> SweepCallback:
    return SweepCallback(None, recorded, 90, lambda standing: None, checked=checked)


def test_a_trial_that_ray_tune_gives_up_has_ray_tune_started_anew() -> None:
    callback = following({})
    callback.on_trial_error(0, [], Shown("003"))
    with pytest.raises(ProcessLostError, match="trial 003 lost its process"):
        callback.on_step_end(0, [])


def test_a_trial_with_other_settings_than_it_was_begun_with_stops_the_sweep() -> None:
    recorded = {3: Trial(3, {"detector.focal_alpha": 0.5}, "search")}
    given = {"trial": 3, "origin": "search", "cost": 1.0, "detector.focal_alpha": 0.6}
    callback = following(recorded)
    callback.on_trial_start(0, [], Shown("003", given))
    with pytest.raises(ValueError, match=r"Trial 3 was begun with .*0\.5.* gives it .*0\.6"):
        callback.on_step_end(0, [])


def test_results_say_nothing_of_the_machine_and_end_a_trial_as_it_ended() -> None:
    callback = following({})
    shown = Shown("001", {"trial": 1, "origin": "search", "cost": 2.5})
    callback.on_trial_start(0, [], shown)
    result = {"steps": 30, "score": 0.4, "seconds": 3.0, "reason": None, "diverged": False}
    result |= {"curve": "[[10, 0.2], [30, 0.4]]", "rates": "[]", "hostname": "ward7", "pid": 4}
    callback.on_trial_result(0, [], shown, result)
    assert "hostname" not in result and "pid" not in result
    callback.on_trial_complete(0, [], shown)
    (trial,) = callback._trials.values()
    assert (trial.state, trial.curve, trial.cost) == ("stopped", [(10, 0.2), (30, 0.4)], 2.5)
