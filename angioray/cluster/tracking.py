"""Runs and trials in MLflow or Weights & Biases.

The process that starts a study logs them, from what it finds in their folders. So no lane waits for
a tracking server or needs its password, and whatever a server missed is still there to be logged.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from angioray.cluster.queue import Snapshot
from angioray.cluster.trackers import TRACKERS, Outcome, Track, Tracker, without_password
from angioray.study.matrix import Run
from angioray.study.run_folder import RunFolder
from angioray.study.study import Study
from angioray.training.metrics_log import MetricsLog
from preprocess.console.tables import say
from preprocess.storage import Storage

TRACKING_FILE = "tracking.json"
LOOK_EVERY_S = 5.0
LAST_LOOK_S = 60.0
"""How long the end of a study waits for a tracking server."""


@dataclass(frozen=True)
class Tracked:
    """A run or a trial, as a tracker is told of it.

    Attributes:
        name: of the run, unique in its group.
        tags: what runs are filtered by.
        params: its settings, flat.
        lines: its history so far, one line for each logged ``step``.
        metrics: of the finished run; None where undefined.
    """

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    lines: Callable[[], Iterable[Mapping[str, float]]]
    metrics: Callable[[], Mapping[str, float | None]]


class Tracking:
    """Keeps a tracker up to date with the runs of one folder, from a thread of its own.

    The ids of runs are kept in ``tracking.json`` in that folder, so that whoever continues a run
    continues it in the tracker.
    """

    def __init__(self, track: Track, folder: Storage) -> None:
        """Begin.

        Args:
            track: the tracker.
            folder: of the study or the sweep, whose runs are one group.

        Raises:
            ValueError: the tracker is not installed, or does not answer.
        """
        self._folder = folder
        self._notes: dict[str, Any] = folder.read_json(TRACKING_FILE) or {}
        # Another study may have a folder of the same name, and the same server.
        self._group = self._notes.setdefault("group", f"{folder.name}-{uuid.uuid4().hex[:4]}")
        self._kept: dict[str, Any] = self._notes.setdefault(track, {"ids": {}, "finished": []})
        self._tracker = open_tracker(track, self._group)
        self._runs: dict[str, tuple[Tracked, Outcome | None]] = {}
        self._logged: dict[str, int] = {}
        """The last logged step of each run that is under way in the tracker."""
        self._told: dict[str, Outcome] = dict.fromkeys(self._kept["finished"], "finished")
        self._warned = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def follow(self, run: Tracked, outcome: Outcome | None = None) -> None:
        """A run is under way, or has ended so."""
        self._runs[run.name] = (run, outcome)

    def close(self) -> None:
        """Log what is left; runs without an end were stopped. Say where all of it is."""
        if self._over.is_set():
            return
        for run, outcome in list(self._runs.values()):
            self.follow(run, outcome or "stopped")
        self._over.set()
        self._thread.join(LAST_LOOK_S)
        if any(self._told.get(name) != outcome for name, (_, outcome) in self._runs.items()):
            say(
                f"{self._tracker.product} has not got everything. The same command again brings "
                "it up to date."
            )
        if self._runs:
            product = self._tracker.product
            say(f"The runs are in {product}, group {self._group}. {self._tracker.where}")

    def _follow(self) -> None:
        over = False
        while not over:
            over = self._over.wait(LOOK_EVERY_S)
            for name, (run, outcome) in list(self._runs.items()):
                if name in self._told and self._told[name] == outcome:
                    continue
                try:
                    self._bring_up_to_date(run, outcome)
                except Exception as problem:  # noqa: BLE001 - tracking must not end a study
                    self._logged.pop(name, None)  # what has arrived is asked for the next time
                    self._warn(problem)

    def _bring_up_to_date(self, run: Tracked, outcome: Outcome | None) -> None:
        ids = self._kept["ids"]
        if run.name not in self._logged:
            tags = {"group": self._group, **run.tags}
            known = ids.get(run.name)
            ids[run.name], step = self._tracker.begin(run.name, run.params, tags, known)
            self._logged[run.name] = step
            self._write_notes()
        new = [line for line in run.lines() if line["step"] > self._logged[run.name]]
        if new:
            self._tracker.log(ids[run.name], new)
            self._logged[run.name] = int(new[-1]["step"])
        if outcome is not None:
            metrics = run.metrics() if outcome == "finished" else {}
            known_metrics = {name: value for name, value in metrics.items() if value is not None}
            self._tracker.end(ids[run.name], outcome, known_metrics)
            del self._logged[run.name]
            self._told[run.name] = outcome
            if outcome == "finished":
                self._kept["finished"].append(run.name)
                self._write_notes()

    def _write_notes(self) -> None:
        self._folder.write_json(TRACKING_FILE, self._notes)

    def _warn(self, problem: Exception) -> None:
        if not self._warned:
            self._warned = True
            say(
                f"{self._tracker.product} could not be told how far the runs are "
                f"({one_line(problem)}). They go on, and it is tried again."
            )


def open_tracker(track: Track, group: str) -> Tracker:
    """The tracker of that name, for the runs of one group.

    Raises:
        ValueError: it is not installed, or does not answer.
    """
    kind = TRACKERS[track]
    if find_spec(track) is None:
        raise ValueError(
            f"{kind.product} is not installed here: `pip install 'angioray[{track}]'`, or leave "
            "`--track` out."
        )
    try:
        return kind(group)
    except Exception as problem:
        raise ValueError(
            f"{kind.product} cannot be used: {one_line(problem)}. {kind.remedy}, or leave "
            "`--track` out."
        ) from problem


@contextmanager
def tracked(
    track: Track | None, study: Study, runs: Iterable[Run]
) -> Iterator[Callable[[Snapshot], None]]:
    """Track a study; gives what must be called with the state of its queue.

    Args:
        track: the tracker; nothing is tracked if None.
        study: whose runs.
        runs: those that are wanted. What is finished already is logged as well.

    Raises:
        ValueError: the tracker is not installed, or does not answer.
    """
    if track is None:
        yield lambda _: None
        return
    tracking = Tracking(track, study.folder)

    ended: dict[str, Outcome] = {}

    def follow(name: str, outcome: Outcome | None = None) -> None:
        if outcome is None or ended.get(name) != outcome:
            tracking.follow(_tracked(study, study.run(name)), outcome)
        if outcome is not None:
            ended[name] = outcome

    def see(snapshot: Snapshot) -> None:
        for current in snapshot.running.values():
            follow(current.run)
        for name in snapshot.failed:
            follow(name, "failed")
        for name in snapshot.finished:
            follow(name, "finished")

    try:
        for run in runs:
            if RunFolder.of(study.folder, run).finished:
                follow(run.name, "finished")
        yield see
    finally:
        tracking.close()


def _tracked(study: Study, run: Run) -> Tracked:
    folder = RunFolder.of(study.folder, run)
    facts = {name: str(value) for name, value in run.as_json().items() if value != ""}
    return Tracked(
        run.name,
        facts,
        flat({"run": run.as_json(), **asdict(study.settings)}),
        lambda: map(_of_training, MetricsLog.lines(folder.files)),
        lambda: folder.result()["metrics"],
    )


def _of_training(line: Mapping[str, float]) -> dict[str, float]:
    """A line of a run's history; a loss and a metric may have the same name."""
    return {name if name == "step" else f"train/{name}": line[name] for name in line}


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names; of a path its last part, for the rest may name a person."""
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{name}.")
        else:
            is_path = isinstance(value, str) and Path(value).is_absolute()
            values[f"{prefix}{name}"] = Path(value).name if is_path else value
    return values


def one_line(problem: Exception) -> str:
    """What went wrong, without a password that an address may hold."""
    text = next(iter(str(problem).splitlines()), "") or type(problem).__name__
    return without_password(text).rstrip(".")
