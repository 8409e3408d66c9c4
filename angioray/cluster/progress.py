"""The study on the screen: the plan before it starts, and one live table while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from angioray.cluster.capacity import GIGA
from angioray.cluster.lanes import run_lanes
from angioray.cluster.plan import Plan
from angioray.cluster.queue import Snapshot
from angioray.study.coverage import (
    describe_frames,
    describe_runs,
    describe_unused,
    judged_on,
    trained_on,
)
from angioray.study.matrix import Run
from angioray.study.run_folder import RunFolder
from angioray.study.selection import CohortIndex
from angioray.study.study import Study
from preprocess.console.progress import duration
from preprocess.console.tables import LiveTable, print_table, say

MOST_ROWS = 24
COLUMNS = ("running", "on", "step", "loss", "frames/s", "left")


def print_plan(study: Study, index: CohortIndex, runs: list[Run], plan: Plan) -> None:
    """The matrix with the frames of each run, what is done of it, what is left out, the lanes, and
    the expected time and disk.

    Raises:
        ValueError: a run has no frame to train on.
    """
    entries = {entry.name: entry for entry in plan.entries}
    ranks = {group.wide: group.ranks for group in plan.groups}
    rows = []
    for run in runs:
        if entry := entries.get(run.name):
            words = ("to do", str(ranks[entry.wide]), f"about {duration(entry.seconds)}")
        else:
            took = RunFolder.of(study.folder, run).result()["seconds"]
            words = ("finished", "", f"took {duration(took)}")
        sides = trained_on(study, index, run), judged_on(study, index, run)
        rows.append((run.name, *map(describe_frames, sides), *words))
    columns = ("run", "trains on", "is judged on", "state", "ranks", "time on one rank")
    print_table(columns, rows)
    print(*describe_unused(study, index, runs), *plan.notes, sep="\n")
    rates = sorted({plan.rates.of(run) / 1e12 for run in runs if run.name in entries})
    at = " to ".join(dict.fromkeys(f"{rate:.2f}" for rate in (*rates[:1], *rates[-1:])))
    print(
        f"{len(entries)} of {len(runs)} runs to do, about {duration(plan.makespan_s)}"
        + (f" at {at} TFLOP/s per process ({plan.rates.source})." if rates else ".")
    )
    free = "" if plan.free_bytes is None else f"; {plan.free_bytes / GIGA:.1f} GB are free"
    print(
        f"They need {plan.disk_bytes / GIGA:.1f} GB in {study.folder} at most{free}. "
        "Nothing was started."
    )


def carry_out(
    study: Study,
    index: CohortIndex,
    plan: Plan,
    digest: str,
    *,
    stuck_after_s: float,
    track: Callable[[Snapshot], None],
) -> dict[str, str]:
    """Run what is to do, show it and track it; the reasons of the runs that failed.

    Raises:
        ValueError: a run has no frame to train on, or runs are left that no lane could begin.
    """
    todo = {entry.name for entry in plan.entries}
    runs = [run for run in study.runs if run.name in todo]
    say(*describe_runs(study, index, runs), *describe_unused(study, index, runs), *plan.notes)
    with LiveTable(COLUMNS) as table:
        progress = StudyProgress(plan, table)

        def show(snapshot: Snapshot) -> None:
            progress.show(snapshot)
            track(snapshot)

        failed = run_lanes(study, plan, digest, show, stuck_after_s=stuck_after_s).failed
    for name, reason in failed.items():
        folder = RunFolder.of(study.folder, study.run(name))
        if folder.failure() != reason:  # its workers died before they could write why
            folder.fail(reason, "")
    return failed


class StudyProgress:
    """How far a study is, as its queue tells it, put into a live table."""

    def __init__(self, plan: Plan, table: LiveTable) -> None:
        """Each run's expected time weighs what is done against what is left."""
        self._seconds = {entry.name: entry.seconds for entry in plan.entries}
        self._table = table
        self._start: tuple[float, float] | None = None
        self._told: set[str] = set()
        self._losses = 0

    def show(self, snapshot: Snapshot) -> None:
        """Bring the screen up to date."""
        told = {f"{name} finished" for name in snapshot.finished}
        told |= {f"{name} failed: {reason}" for name, reason in snapshot.failed.items()}
        told |= {f"lane {lane} cannot work: {why}" for lane, why in snapshot.unfit.items()}
        news = [*snapshot.losses[self._losses :], *sorted(told - self._told)]
        self._told |= told
        self._losses = len(snapshot.losses)
        self._table.show(self._summary(snapshot), _rows(snapshot), news=news)

    def _summary(self, snapshot: Snapshot) -> str:
        if not (snapshot.running or snapshot.finished or snapshot.failed):
            return f"starting workers, {len(snapshot.waiting)} runs waiting"
        text = (
            f"{len(snapshot.finished)} done, {len(snapshot.running)} running, "
            f"{len(snapshot.waiting)} waiting, {len(snapshot.failed)} failed"
        )
        left = self._seconds_left(snapshot)
        return text if left is None else f"{text}, about {duration(left)} left"

    def _seconds_left(self, snapshot: Snapshot) -> float | None:
        """From the work done since the first step was seen; a resumed run's earlier steps aside."""
        ended = snapshot.finished.keys() | snapshot.failed.keys()
        done = sum(self._seconds[name] for name in ended) + sum(
            self._seconds[current.run] * current.done / current.steps
            for current in snapshot.running.values()
            if current.steps
        )
        if self._start is None and done:
            self._start = (time.monotonic(), done)
        if self._start is None or done <= self._start[1]:
            return None
        pace = (time.monotonic() - self._start[0]) / (done - self._start[1])
        return pace * (sum(self._seconds.values()) - done)


def _rows(snapshot: Snapshot) -> list[list[str]]:
    rows = []
    for _, current in sorted(snapshot.running.items())[:MOST_ROWS]:
        left, values = current.seconds_left, current.values
        rows.append(
            [
                current.run,
                current.node,
                f"{current.done}/{current.steps}" if current.steps else "loading",
                f"loss {values['loss']:.3f}" if values else "",
                f"{values['frames_per_s']:.0f} frames/s" if values else "",
                f"{duration(left)} left" if left is not None else "",
            ]
        )
    if more := len(snapshot.running) - len(rows):
        rows.append([f"and {more} more", "", "", "", "", ""])
    return rows
