"""Population based training: the worst members take over from the best.

Jaderberg et al. 2017 (arXiv:1711.09846), of the learning rate, which may change under way. All
members are judged at the same steps and none goes on before all are, so that the course is a
function of the seed and the scores, whoever trains what where. What comes out is a course of
learning rates, which a study can follow from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from angioray.study.settings import StudySettings, Task
from tune.search.halving import BASE
from tune.search.samplers import Sampler
from tune.search.search import settings_of
from tune.search.settings import PopulationSettings
from tune.space.parameters import Range
from tune.space.space import Space, learning_rate
from tune.trials import BY_BASE, BY_SEARCH, Trial


class Population:
    """A population under way; to a referee the same as a :class:`tune.search.search.SearchRun`.

    Attributes:
        trials: the members, by number.
    """

    def __init__(
        self,
        space: Space,
        sampler: Sampler,
        *,
        rungs: tuple[int, ...],
        settings: PopulationSettings,
        seed: int,
        samples: int,
        recorded: Mapping[int, Trial],
        inherit: Callable[[Trial, int, int], None],
    ) -> None:
        """Begin, and go on as far as recorded members reach.

        Args:
            space: the learning rate's, alone.
            sampler: of where members begin; the first begins with the base's rate.
            rungs: steps at which members are judged.
            settings: how they take over.
            seed: of who takes over from whom.
            samples: members.
            recorded: what an earlier attempt has left.
            inherit: gives a member the weights of another, by its number, as they are at a rung,
                unless it has them already.

        Raises:
            ValueError: a recorded member began with another rate than this search gives it.
        """
        self.trials: dict[int, Trial] = {}
        self._space, self._rungs, self._settings, self._seed = space, rungs, settings, seed
        self._inherit, self._rung = inherit, 0
        (self._rate,) = space
        for number in range(samples):
            chosen = space.of_base() if number == BASE else sampler.suggest(number)
            assert chosen is not None
            origin = BY_BASE if number == BASE else BY_SEARCH
            trial = Trial(number, chosen, origin, rates=[(0.0, chosen[self._rate.name])])
            self.trials[number] = trial
            if number in recorded:
                trial.take_up(recorded[number])
        self._settle()

    @property
    def over(self) -> bool:
        """Whether every member has ended."""
        return all(trial.state != "running" for trial in self.trials.values())

    def wanted(self) -> list[tuple[int, int]]:
        """Members and the rung that all are to reach next."""
        return [(trial.number, self._rung) for trial in self._behind()]

    def report(self, number: int, curve: Sequence[tuple[int, float]], seconds: float) -> None:
        """Take in a member's scores so far; telling it twice changes nothing."""
        trial = self.trials[number]
        if len(curve) > len(trial.curve):
            trial.curve, trial.seconds = list(curve), seconds
        self._settle()

    def fail(self, number: int, reason: str, *, diverged: bool = False) -> None:
        """Take in that a member failed; the others go on without it."""
        trial = self.trials[number]
        if trial.state == "running" and len(trial.curve) < len(self._rungs):
            trial.reason, trial.diverged = reason, diverged
            self._settle()

    def settings(self, number: int) -> StudySettings:
        """The settings of a member, with all learning rates that its weights have seen."""
        return settings_of(self.trials[number], self._space)

    def _alive(self) -> list[Trial]:
        return [trial for trial in self.trials.values() if trial.state == "running"]

    def _behind(self) -> list[Trial]:
        return [trial for trial in self._alive() if len(trial.curve) <= self._rung]

    def _settle(self) -> None:
        """Go on to the first score that is not known yet."""
        while True:
            for trial in self._behind():
                if trial.reason is not None:
                    trial.state = "failed"
            if self._behind() or not self._alive():
                return
            if self._rung == len(self._rungs) - 1:
                for trial in self._alive():
                    trial.state = "finished"
                return
            self._take_over()
            self._rung += 1

    def _take_over(self) -> None:
        ranked = sorted(self._alive(), key=lambda trial: (-self._score(trial), trial.number))
        count = max(1, int(len(ranked) * self._settings.share))
        draws = np.random.default_rng((self._seed, self._rung))
        parents = ranked[:count]
        # The base's settings stay: they are what the best must be held against.
        others = [trial for trial in ranked[count:] if trial.number != BASE]
        for trial in others[max(0, len(others) - count) :]:
            parent = parents[int(draws.integers(count))]
            up = bool(draws.integers(2))
            if self._score(trial) == self._score(parent):
                continue
            factor = self._settings.factor if up else 1 / self._settings.factor
            changed = (self._rungs[self._rung] / self._rungs[-1], parent.rates[-1][1] * factor)
            heir = replace(trial, rates=[*parent.rates, changed])
            self._inherit(heir, parent.number, self._rung)
            trial.rates = heir.rates

    def _score(self, trial: Trial) -> float:
        return trial.curve[self._rung][1]


def learning_rate_alone(space: Space, task: Task, *, given: bool) -> Space:
    """What a population varies of a space.

    Args:
        space: as its file has it.
        task: whose settings.
        given: whether somebody wrote it for this search; then it must hold nothing else.

    Raises:
        ValueError: it has no range of learning rates, or something beside it.
    """
    name = learning_rate(task)
    rates = [p for p in space if p.name == name and isinstance(p.domain, Range) and not p.when]
    others = [parameter.name for parameter in space if parameter.name != name]
    if not rates or (given and others):
        beside = f" and holds {', '.join(others)} beside it" if given and others else ""
        raise ValueError(
            "A population changes learning rates while it trains, and nothing else: expected a "
            f"space with a range {{low, high, log: true}} for {name} alone. This one "
            f"{'has that' if rates else 'has none'}{beside}. Search the others with tpe first."
        )
    return replace(space, parameters=(rates[0],))
