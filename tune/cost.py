"""What a trial costs: its counted operations, in those of a trial with the base's settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from angioray.cluster.flops import frame_flop
from angioray.study.settings import StudySettings
from tune.objective import Objective
from tune.space.parameters import Params
from tune.space.space import Space


@dataclass(frozen=True)
class TrialCost:
    """The cost of a trial in trials of the base, and which trials a limit allows.

    Operations are counted on networks without weights, so a cost is the same on every machine. All
    trials have the same number of steps and of frames in a step (no space may hold them), so the
    cost of a frame is that of a step, and of the whole trial.

    Attributes:
        space: what is searched.
        objective: what trials are measured on.
        most: the greatest cost of a trial that is tried; None for no limit.
    """

    space: Space
    objective: Objective
    most: float | None = None

    def __call__(self, params: Params) -> float:
        """The cost of a trial with these settings, to three digits.

        Raises:
            ValueError: the settings refuse them.
        """
        key = json.dumps(params, sort_keys=True)
        if key not in self._counted:
            ratio = self._flop(self.space.settings(params)) / self._base_flop
            self._counted[key] = float(f"{ratio:.3g}")
        return self._counted[key]

    def allows(self, params: Params) -> bool:
        """Whether a trial with these settings is within the limit."""
        return self.most is None or self(params) <= self.most

    def never_drawn(self) -> list[str]:
        """What of the space is over the limit whatever stands beside it: a sentence for each.

        Raises:
            ValueError: all of the space is.
        """
        if self.most is None:
            return []
        # Each setting makes a network cheaper or dearer, whatever the others are: the cheapest
        # trial has the cheapest of each.
        cheapest = self.space.of_base()
        for parameter in self.space:
            ends = ({**cheapest, **parameter.at(end)} for end in parameter.domain.edges())
            cheapest = min((cheapest, *ends), key=self)
        if not self.allows(cheapest):
            raise ValueError(
                f"No trial of the space costs {self.most:g} times the base or less: the cheapest "
                f"costs {self(cheapest):g} times as much. Give a higher limit, or search cheaper "
                "values."
            )
        least = {
            f"{parameter.name} {end}": self({**cheapest, **parameter.at(end)})
            for parameter in self.space
            for end in parameter.domain.edges()
        }
        return [
            f"{value} is never tried: it costs {cost:g} times the base or more, and the limit is "
            f"{self.most:g}."
            for value, cost in least.items()
            if cost > self.most
        ]

    @cached_property
    def _counted(self) -> dict[str, float]:
        """Kept, for a table that is drawn a few times a second asks for all of its trials."""
        return {}

    @cached_property
    def _base_flop(self) -> float:
        return self._flop(self.space.base)

    def _flop(self, settings: StudySettings) -> float:
        return frame_flop(settings, self.objective.run_of(settings))
