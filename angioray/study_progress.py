"""The study on the screen: the plan before it starts, and one live table while it runs."""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from angioray.cost import makespan, measured_rate, run_flop
from angioray.lanes import LanePlan
from angioray.queue import Snapshot
from angioray.run_folder import RunFolder
from angioray.selection import CohortIndex
from angioray.study import Run, Study
from preprocess.progress import LINE_EVERY_S, duration


def print_plan(study: Study, index: CohortIndex, runs: list[Run], plan: LanePlan) -> None:
    """The matrix, what is done of it, the lanes, and the expected time."""
    rate = measured_rate(study, index, gpus_per_lane=plan.gpus * plan.ranks, cpus=plan.cpus)
    seconds = {run: run_flop(study, index, run) / rate.flop_per_s for run in runs}
    finished = {run for run in runs if RunFolder.of(study.folder, run).finished}
    table = Table("run", "train", "validation", "state", "expected")
    for run in runs:
        fold = study.fold(run)
        state = "finished" if run in finished else "to do"
        sides = [f"{len(side)} sequences" for side in (fold.train, fold.validation)]
        table.add_row(run.name, *sides, state, duration(seconds[run]))
    console = Console()
    console.print(table)
    todo = [seconds[run] for run in runs if run not in finished]
    console.print(f"{plan.reason}.")
    console.print(
        f"{len(todo)} of {len(runs)} runs to do, about {duration(makespan(todo, plan.lanes))} "
        f"at {rate.flop_per_s / 1e12:.2f} TFLOP/s per run ({rate.source}). Nothing was started."
    )


class StudyProgress:
    """A live table on a terminal; in a file or a pipe, a line per finished run and now and then."""

    def __init__(self, flop: dict[str, float], plan: LanePlan) -> None:
        """``flop`` is the cost of each run to do; it weighs what is done against what is left."""
        self._flop = flop
        self._plan = plan
        console = Console(stderr=True)
        self._live = Live(console=console, auto_refresh=False) if sys.stderr.isatty() else None
        self._start: float | None = None
        self._at_start = 0.0
        self._said: set[str] = set()
        self._last_line = time.monotonic()

    def __enter__(self) -> StudyProgress:
        print(f"{self._plan.reason}.", file=sys.stderr, flush=True)
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Bring the screen up to date."""
        summary = self._summary(snapshot)
        if self._live:
            self._live.update(self._table(snapshot, summary), refresh=True)
            return
        ended = {**snapshot.failed, **{name: "finished" for name in snapshot.finished}}
        news = [name for name in ended if name not in self._said]
        for name in news:
            said = f"failed: {ended[name]}" if name in snapshot.failed else "finished"
            print(f"{name} {said}", file=sys.stderr, flush=True)
        self._said.update(news)
        if news or time.monotonic() - self._last_line > LINE_EVERY_S:
            self._last_line = time.monotonic()
            parts = [summary, *(" ".join(row) for row in _rows(snapshot))]
            print(" | ".join(parts), file=sys.stderr, flush=True)

    def _summary(self, snapshot: Snapshot) -> str:
        if not (snapshot.running or snapshot.finished or snapshot.failed):
            return f"starting workers, {len(snapshot.waiting)} runs waiting"
        counts = Counter(
            done=len(snapshot.finished),
            running=len(snapshot.running),
            waiting=len(snapshot.waiting),
            failed=len(snapshot.failed),
        )
        text = ", ".join(f"{count} {state}" for state, count in counts.items())
        left = self._seconds_left(snapshot)
        return text if left is None else f"{text}, about {duration(left)} left"

    def _seconds_left(self, snapshot: Snapshot) -> float | None:
        """From the work done since the first step was seen; a resumed run's earlier steps aside."""
        ended = [*snapshot.finished, *snapshot.failed]
        done = sum(self._flop[name] for name in ended) + sum(
            self._flop[current.run] * current.done / current.steps
            for current in snapshot.running.values()
            if current.steps
        )
        if self._start is None and done:
            self._start, self._at_start = time.monotonic(), done
        if self._start is None or done <= self._at_start:
            return None
        per_flop = (time.monotonic() - self._start) / (done - self._at_start)
        return per_flop * (sum(self._flop.values()) - done)

    def _table(self, snapshot: Snapshot, summary: str) -> Table:
        table = Table("running", "step", "loss", "frames/s", title=summary, title_justify="left")
        for row in _rows(snapshot):
            table.add_row(*row)
        return table


def _rows(snapshot: Snapshot) -> list[list[str]]:
    return [
        [
            current.run,
            f"{current.done}/{current.steps}" if current.steps else "loading",
            f"{current.values['loss']:.3f}" if current.values else "",
            f"{current.values['frames_per_s']:.0f}" if current.values else "",
        ]
        for _, current in sorted(snapshot.running.items())
    ]
