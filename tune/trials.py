"""A trial of a sweep: its settings, and its scores at the rungs that it reached."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from angioray.study.settings import StudySettings, settings_from_dict
from tune.space.parameters import Params
from tune.space.space import Space, learning_rate, plain, rate_changes, set_at

State = Literal["running", "finished", "stopped", "failed"]

BASE = 0
"""The trial of the settings as they are, which is never stopped: the best is compared with it."""
WORST = 0.0
"""The lowest score of both metrics; what a trial that diverged is counted as."""
BY_BASE = "paper's settings"
BY_SEARCH = "search"


@dataclass
class Trial:
    """One trial.

    Attributes:
        number: from 0, in the order of suggestion.
        params: its searched settings.
        origin: who chose them.
        curve: steps and scores at the rungs reached.
        seconds: spent on it so far.
        reason: why it failed.
        diverged: whether it failed because training diverged, as its settings make it.
        state: how it stands.
        rates: of a member of a population: its learning rates, each with the share of the steps
            from which it held; they may have been another member's.
        cost: of its steps, counted in operations, over those of the settings as they are.
    """

    number: int
    params: Params
    origin: str
    curve: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    reason: str | None = None
    diverged: bool = False
    state: State = "running"
    rates: list[tuple[float, float]] = field(default_factory=list)
    cost: float = 1.0

    @property
    def steps(self) -> int:
        """Up to the last rung that it reached."""
        return self.curve[-1][0] if self.curve else 0

    @property
    def score(self) -> float | None:
        """At the last rung that it reached."""
        return self.curve[-1][1] if self.curve else None

    def score_at(self, step: int) -> float | None:
        """The score at a rung, or None if it was not judged there."""
        return dict(self.curve).get(step)

    def rates_in_words(self, number: Callable[[float], str]) -> str:
        """Its learning rates, such as ``0.004; 0.005 from 33 %``; ``number`` writes one of them."""
        (_, first), *changes = self.rates
        then = [f"{number(rate)} from {100 * share:.0f} %" for share, rate in changes]
        return "; ".join([number(first), *then])

    def as_json(self) -> dict[str, Any]:
        """As the table of trials has it."""
        return {
            "number": self.number,
            "state": self.state,
            "params": self.params,
            "score": self.score,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "curve": [list(point) for point in self.curve],
            "origin": self.origin,
            "reason": self.reason,
            "diverged": self.diverged,
            "rates": [list(change) for change in self.rates],
            "cost": self.cost,
        }

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Trial:
        """From :meth:`as_json`.

        Raises:
            KeyError, TypeError, ValueError: it is not what that wrote.
        """
        if document["state"] not in get_args(State):
            raise ValueError(f"state {document['state']!r} of trial {document['number']}")
        if type(document["number"]) is not int or document["number"] < 0:  # it names a folder
            raise ValueError(f"a trial of the number {ascii(document['number'])[:80]}")
        return cls(
            number=document["number"],
            params=document["params"],
            origin=document["origin"],
            curve=[(int(step), float(score)) for step, score in document["curve"]],
            seconds=document["seconds"],
            reason=document["reason"],
            diverged=document.get("diverged", False),  # sweeps begun before it was told apart
            state=document["state"],
            rates=[(float(share), float(rate)) for share, rate in document["rates"]],
            cost=float(document.get("cost", 1.0)),  # older sweeps have not counted it
        )

    def settings(self, space: Space) -> StudySettings:
        """Its settings in full: the base's, those that were searched, its learning rates.

        Raises:
            ValueError: the settings refuse them.
        """
        settings = space.settings(self.params)
        if not self.rates:
            return settings
        (task,), document = settings.tasks, plain(settings)
        (_, first), *changes = self.rates
        set_at(document, learning_rate(task), first)
        set_at(document, rate_changes(task), changes)
        return settings_from_dict(document)

    def refuse_other_settings(self, given: Trial) -> None:
        """Refuse to go on with this trial as if it were another.

        Raises:
            ValueError: the search gives it other settings than it was begun with.
        """
        if json.dumps(self.params, sort_keys=True) != json.dumps(given.params, sort_keys=True):
            raise ValueError(
                f"Trial {self.number} was begun with {self.params}, and this search gives it "
                f"{given.params}: it was begun by another version, or its scores were changed. "
                "Continue with the version that began it, or start in another folder."
            )


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The finished trial of the highest score; of equals the first. None if none is finished."""
    finished = [trial for trial in trials if trial.state == "finished"]
    return max(finished, key=lambda trial: (trial.score or 0.0, -trial.number), default=None)
