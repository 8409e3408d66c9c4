"""Asynchronous successive halving, decided in simulated time.

Asynchronous halving (Li et al. 2020, arXiv:1810.05934) holds a trial against those that happened to
report before it, so that two sweeps with the same seed part ways at the first trial that took a
moment longer. Here the order is computed: equal lanes take trials in turn, a step takes as long as
its operations, and every verdict is a function of the scores alone, in whatever order they come in.
The rule is that of Ray Tune's AsyncHyperBandScheduler, which lets every trial pass that equals the
cutoff; here no more than 1/reduction do.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

WORST = 0.0
"""Of both metrics; what a trial that diverged is counted as."""
BASE = 0
"""The trial of the base's settings, which is never stopped: the best must be held against it."""

Outcome = Literal["finished", "stopped", "diverged", "failed"]
"""One that diverged failed for its settings; any other failure says nothing of them."""


class Course:
    """The course of a sweep over equal lanes in virtual time, as far as scores are known.

    Attributes:
        outcomes: how each trial that has ended did so.
        passed: how many rungs each trial was let pass.
    """

    def __init__(
        self,
        rungs: tuple[int, ...],
        reduction: float,
        lanes: int,
        *,
        begin: Callable[[int], float | None],
        end: Callable[[int, Outcome], None],
    ) -> None:
        """Lay it out; :meth:`settle` starts it.

        Args:
            rungs: steps at which a trial is judged, ascending.
            reduction: of each rung.
            lanes: trials at once.
            begin: told the number of a trial that starts, says the virtual time of its steps; None
                if there is no further trial.
            end: told of each trial that ends, before another takes its lane.
        """
        self.outcomes: dict[int, Outcome] = {}
        self.passed: dict[int, int] = {}
        self._rungs, self._reduction = rungs, reduction
        self._begin, self._end = begin, end
        self._scores: dict[tuple[int, int], float] = {}
        self._failed: dict[int, int] = {}
        self._diverged: set[int] = set()
        self._recorded: list[list[float]] = [[] for _ in rungs]
        self._let_pass = [0 for _ in rungs]
        self._due: list[tuple[float, int, int]] = []
        self._started: dict[int, tuple[float, float]] = {}
        self._idle = lanes

    @property
    def over(self) -> bool:
        """Whether all trials have ended."""
        return not self._due and not self._idle

    def wanted(self) -> list[tuple[int, int]]:
        """Trials and rungs whose scores are missing, in the order in which they will be asked."""
        return [(t, rung) for _, t, rung in sorted(self._due) if (t, rung) not in self._scores]

    def learn(
        self,
        trial: int,
        scores: Mapping[int, float],
        failed_at: int | None = None,
        *,
        diverged: bool = False,
    ) -> None:
        """Take in scores by rung; the rung on the way to which the trial failed, and how.

        A score that is known already changes nothing.
        """
        for rung, score in scores.items():
            self._scores.setdefault((trial, rung), score)
        if failed_at is not None:
            self._failed.setdefault(trial, failed_at)
            if diverged:
                self._diverged.add(trial)
            self._scores.setdefault((trial, failed_at), WORST)

    def settle(self) -> None:
        """Go on to the first report that is not known yet."""
        while self._idle:
            self._idle -= 1
            self._start(0.0)
        while self._due and self._due[0][1:] in self._scores:
            time, trial, rung = heapq.heappop(self._due)
            score = self._scores[trial, rung]
            goes_on = self._passes(trial, rung, score)
            outcome = self._outcome(trial, rung)
            if outcome != "failed":  # others are not held against an accident
                self._recorded[rung].append(score)
            if goes_on:
                self._let_pass[rung] += 1
                self.passed[trial] = rung + 1
                self._expect(trial, rung + 1)
                continue
            self.outcomes[trial] = outcome
            self._end(trial, outcome)
            self._start(time)

    def _passes(self, trial: int, rung: int, score: float) -> bool:
        if rung == len(self._rungs) - 1 or self._failed.get(trial) == rung:
            return False
        earlier = self._recorded[rung]
        if trial == BASE or not earlier:
            return True
        cutoff = float(np.percentile(earlier, (1 - 1 / self._reduction) * 100))
        if score == cutoff:
            # Many are equal where it is too early to tell them apart: the first ones pass.
            return self._let_pass[rung] < (len(earlier) + 1) / self._reduction
        return score > cutoff

    def _outcome(self, trial: int, rung: int) -> Outcome:
        if self._failed.get(trial) == rung:
            return "diverged" if trial in self._diverged else "failed"
        return "finished" if rung == len(self._rungs) - 1 else "stopped"

    def _start(self, time: float) -> None:
        trial = len(self._started)
        if (step_time := self._begin(trial)) is not None:
            self._started[trial] = (time, step_time)
            self._expect(trial, 0)

    def _expect(self, trial: int, rung: int) -> None:
        start, step_time = self._started[trial]
        heapq.heappush(self._due, (start + step_time * self._rungs[rung], trial, rung))
