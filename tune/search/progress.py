"""A sweep on the screen: what its trials are doing, and the best of those that have ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from preprocess.console.progress import Pace, duration
from preprocess.console.tables import LiveTable
from tune.search.board import Progress
from tune.trials import BASE, Trial, best_of

MOST_RUNNING = 16
BEST_SHOWN = 5


@dataclass(frozen=True)
class Standing:
    """A sweep at one moment.

    Attributes:
        trials: all that have begun, by number.
        running: those that train.
        losses: what happened to processes on the way, in its order.
    """

    trials: tuple[Trial, ...]
    running: dict[int, Progress]
    losses: tuple[str, ...] = ()


class SweepProgress:
    """Shows a sweep from its start to its end."""

    def __init__(self, samples: int, rungs: tuple[int, ...], metric: str) -> None:
        """What there is to come.

        Args:
            samples: trials in all.
            rungs: steps at which they are judged.
            metric: the name of the score.
        """
        self._samples, self._rungs, self._metric = samples, rungs, metric
        columns = ("trial", "state", "step", "cost", metric, "loss", "frames/s", "settings")
        self._table = LiveTable(columns)
        self._told: set[str] = set()
        self._losses = 0
        self._pace = Pace()
        self._shown = False

    def __enter__(self) -> SweepProgress:
        self._table.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._table.__exit__(*exception)

    def show(self, standing: Standing) -> None:
        """Bring the screen up to date."""
        ended = [trial for trial in standing.trials if trial.state != "running"]
        told = {self._ending(trial): None for trial in ended}
        news = [] if not self._shown else [line for line in told if line not in self._told]
        news += standing.losses[self._losses :]
        self._losses = len(standing.losses)
        self._told |= told.keys()
        self._shown = True
        summary = self._summary(standing, ended)
        self._table.show(summary, self._running(standing), news=news, below=_best(standing.trials))

    def _ending(self, trial: Trial) -> str:
        if trial.state == "failed":
            return f"trial {trial.number:03d} failed: {trial.reason}"
        return (
            f"trial {trial.number:03d} {trial.state} at step {trial.steps}: "
            f"{self._metric} {trial.score or 0:.3f}, {in_words(trial)}"
        )

    def _summary(self, standing: Standing, ended: Sequence[Trial]) -> str:
        counts = [
            f"{sum(trial.state == state for trial in ended)} {state}"
            for state in ("finished", "stopped", "failed")
        ]
        text = f"{len(ended)} of {self._samples} trials ended ({', '.join(counts)})"
        if best := best_of(ended):
            text += f", best {best.score:.3f} by trial {best.number:03d}"
            base = next((t for t in ended if t.number == BASE), None)
            if base is not None and base.state == "finished":
                text += f", trial 000 {base.score:.3f}"
        left = self._seconds_left(standing, ended)
        return text if left is None else f"{text}, about {duration(left)} left"

    def _seconds_left(self, standing: Standing, ended: Sequence[Trial]) -> float | None:
        """From the pace of steps so far, and the steps that a trial has taken on the average."""
        done = sum(
            max(trial.steps, standing.running[trial.number].done)
            if trial.number in standing.running
            else trial.steps
            for trial in standing.trials
        )
        one = self._pace.seconds_left(done, done + 1)
        if one is None or not ended:
            return None
        # One whole trial is added: those that end first are those that are stopped.
        mean = (self._rungs[-1] + sum(trial.steps for trial in ended)) / (1 + len(ended))
        under_way = sum(max(t.steps, c.done) for t, c in self._at_work(standing))
        to_come = mean * (self._samples - len(ended)) - under_way
        return one * max(to_come, sum(self._to_next_rung(t, c) for t, c in self._at_work(standing)))

    def _at_work(self, standing: Standing) -> list[tuple[Trial, Progress]]:
        by_number = {trial.number: trial for trial in standing.trials}
        return [(by_number[number], current) for number, current in standing.running.items()]

    def _to_next_rung(self, trial: Trial, current: Progress) -> int:
        ahead = [rung for rung in self._rungs if rung > trial.steps] or [trial.steps]
        return max(0, ahead[0] - max(trial.steps, current.done))

    def _running(self, standing: Standing) -> list[list[str]]:
        rows = []
        by_number = {trial.number: trial for trial in standing.trials}
        for number, current in sorted(standing.running.items())[:MOST_RUNNING]:
            trial, values = by_number[number], current.values
            done = max(current.done, trial.steps)
            rows.append(
                [
                    f"{number:03d}",
                    "training" if done else "loading",
                    f"{done}/{self._rungs[-1]}",
                    f"{trial.cost:.2g} x",
                    "" if trial.score is None else f"{trial.score:.3f}",
                    f"loss {values['loss']:.3f}" if values else "",
                    f"{values['frames_per_s']:.0f} frames/s" if values else "",
                    in_words(trial),
                ]
            )
        return rows


def _best(trials: Sequence[Trial]) -> Iterator[Sequence[str]]:
    finished = [trial for trial in trials if trial.state == "finished"]
    finished.sort(key=lambda trial: (-(trial.score or 0), trial.number))
    for trial in finished[:BEST_SHOWN]:
        score, steps = f"{trial.score or 0:.3f}", str(trial.steps)
        cost = f"{trial.cost:.2g} x"
        yield f"{trial.number:03d}", trial.state, steps, cost, score, "", "", in_words(trial)


def in_words(trial: Trial) -> str:
    """A trial's settings in short: the last part of each name, four digits of each number."""
    if trial.rates:  # a population's members have nothing but learning rates
        return f"learning_rate {trial.rates_in_words(short)}"
    return ", ".join(f"{name.rpartition('.')[2]} {short(v)}" for name, v in trial.params.items())


def short(value: object) -> str:
    """A value as a person writes it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
