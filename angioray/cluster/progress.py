"""The study on the screen: the plan before it starts, and one live table while it runs."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable

from angioray.cluster.capacity import GIGA
from angioray.cluster.lanes import run_lanes
from angioray.cluster.plan import Plan
from angioray.cluster.queue import Snapshot
from angioray.cluster.schedule import makespan
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
from angioray.training.loop import LOG_EVERY
from preprocess.console.progress import duration
from preprocess.console.tables import LiveTable, print_table, say

MOST_ROWS = 24
LATEST = 10
"""Looks at the queue, half a second apart, that say how many lanes work."""
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
        f"{len(entries)} of {len(runs)} runs to do"
        + (
            f", about {duration(plan.makespan_s)} of training alone (starting, loading and judging "
            f"come on top) at {at} TFLOP/s per process ({plan.rates.source})."
            if rates
            else "."
        )
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
        """What is seen of runs corrects the times that the plan expects of the others."""
        self._entries = {entry.name: entry for entry in plan.entries}
        self._table = table
        self._began: dict[str, float] = {}
        self._share: dict[str, float] = {}
        self._whole_s: dict[str, float] = {}
        # A lane that goes from one run to the next has none for a moment.
        self._working: deque[int] = deque(maxlen=LATEST)
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
        """Until the last run ends on the lanes that work now; None until a run has a pace.

        A run takes as many times its expected seconds as the runs of its kind that were seen, from
        their start to their end: frames are read and networks judged as well. For a kind that was
        not seen the others speak. Kinds differ in how near they come to what the hardware can do:
        where the others are faster than the plan expects, their geometric mean with it is taken.
        """
        now = time.time()  # the queue's clock, which is on this machine
        for name in snapshot.finished.keys() & self._began.keys():
            self._whole_s[name] = (now - self._began[name]) / self._share[name]
        going = {current.run: current for current in snapshot.running.values()}
        self._began = {name: self._began.get(name, now) for name in going}
        passed = {name: now - began for name, began in self._began.items()}
        left: dict[str, float] = {}
        for name, current in going.items():
            # What a resumed run did before takes none of this time.
            earlier = max(0.0, (current.pace.first or 0) - LOG_EVERY)
            self._share[name] = 1 - earlier / max(current.steps, 1)
            if current.seconds_left is not None:
                left[name] = max(0.0, current.seconds_left - (now - current.heard))
                self._whole_s[name] = (passed[name] + left[name]) / self._share[name]
        self._working.append(len(going))
        if not self._whole_s:
            return None
        slower = self._times_slower()
        unseen = max(slower[None], slower[None] ** 0.5)
        expected = {
            name: entry.seconds * slower.get((entry.frames, entry.wide), unseen)
            for name, entry in self._entries.items()
        }
        under_way = (left.get(name, max(0.0, expected[name] - passed[name])) for name in going)
        to_come = (expected[name] for name in snapshot.waiting)
        return makespan([*under_way, *to_come], max(*self._working, 1))

    def _times_slower(self) -> dict[Hashable, float]:
        """By kind of run, how many times as long it takes as the plan expects; None is of all."""
        took: defaultdict[Hashable, float] = defaultdict(float)
        planned: defaultdict[Hashable, float] = defaultdict(float)
        for name, seconds in self._whole_s.items():
            entry = self._entries[name]
            for kind in ((entry.frames, entry.wide), None):
                took[kind] += seconds
                planned[kind] += entry.seconds
        return {kind: took[kind] / planned[kind] for kind in took}


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
