"""Lanes without processes: whatever is wanted is reported, in a random order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tune.search.referee import Contest
from tune.trials import Trial


def let_report(
    contest: Contest,
    choose: random.Random,
    *,
    rungs: Sequence[int],
    score: Callable[[Trial, int], float],
    fails: tuple[int, int],
    most: int,
) -> None:
    """Let trials report until nothing is wanted, or so often; none beyond a rung without a verdict.

    Args:
        contest: whose trials.
        choose: who is next.
        rungs: the step of each.
        score: of a trial at a rung.
        fails: the trial that fails, and the rung on the way to which it does.
        most: reports.
    """
    for _ in range(most):
        if not (wanted := contest.wanted()):
            return
        number, rung = choose.choice(wanted)
        trial = contest.trials[number]
        assert rung == len(trial.curve)
        if (number, rung) == fails:
            contest.fail(number, "the loss is not finite", diverged=True)
            continue
        curve = [*trial.curve, (rungs[rung], score(trial, rung))]
        contest.report(number, curve, 1.0)
        contest.report(number, curve, 1.0)  # a worker that was lost says it again
