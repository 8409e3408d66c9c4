"""The state of a study, read from its folder alone."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from angioray.study.run_folder import RunFolder
from angioray.study.study import Study
from angioray.training.checkpoint import read_state
from angioray.training.metrics_log import MetricsLog
from preprocess.console.progress import duration
from preprocess.console.tables import plain, print_table
from preprocess.storage import LOCK

State = Literal["running", "failed", "stopped", "waiting", "done"]
ASKED_AT_ONCE = 16


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands.

    Attributes:
        name: of the run.
        state: running, failed for now, stopped on the way, waiting, or done.
        step: the last one that was logged or kept.
        steps: of the whole run; 0 until its first checkpoint.
        line: the last one of its metrics.
        quiet_s: since it last wrote anything; None if it never has.
        reason: why it failed.
    """

    name: str
    state: State
    step: int
    steps: int
    line: dict[str, float]
    quiet_s: float | None
    reason: str = ""

    @classmethod
    def of(cls, folder: RunFolder) -> RunStatus:
        """Read it from the run's folder."""
        lines = list(MetricsLog.lines(folder.files))
        line = lines[-1] if lines else {}
        state = read_state(folder.checkpoint) or {"step": 0, "steps": 0}
        step = max(int(state["step"]), int(line.get("step", 0)))
        word: State = "done"
        if not folder.finished:
            if folder.files.is_locked():
                word = "running"
            elif folder.failure():
                word = "failed"
            else:
                word = "stopped" if step else "waiting"
        return cls(
            folder.name,
            word,
            step,
            int(state.get("steps", 0)),
            line,
            _quiet_s(folder),
            folder.failure() or "",
        )


def print_status(runs: str, folds: str | None = None) -> None:
    """Show how far a study is, without Ray, from any machine that sees its folder.

    Args:
        runs: the study's runs folder, also in an object store.
        folds: to show, such as ``0,1``; all of them if None.

    Raises:
        ValueError: there is no study, or no such fold.
    """
    study = Study.open(runs)
    wanted = study.runs if folds is None else study.runs_of_folds(folds)
    folders = [RunFolder.of(study.folder, run) for run in wanted]
    with ThreadPoolExecutor(ASKED_AT_ONCE) as threads:  # a store takes its time for each question
        found = list(threads.map(RunStatus.of, folders))
    rows = [
        (
            run.name,
            run.state,
            f"{run.step}/{run.steps}" if run.steps else str(run.step or ""),
            f"{run.line['loss']:.3f}" if run.line else "",
            f"{run.line['frames_per_s']:.0f}" if run.line else "",
            duration(run.quiet_s) if run.quiet_s is not None and run.state != "done" else "",
        )
        for run in found
    ]
    print_table(("run", "state", "step", "loss", "frames/s", "silent for"), rows)
    for run in found:
        if run.state == "failed":
            print(plain(f"{run.name} failed: {run.reason}"))
    counts = Counter(run.state for run in found)
    words: tuple[State, ...] = ("done", "running", "waiting", "stopped", "failed")
    print(", ".join(f"{counts[word]} {word}" for word in words))
    if counts["running"]:
        print(f"Next: python -m angioray.report {runs}, also while it runs")
    elif counts["done"] == len(found):
        print(f"Next: python -m angioray.report {runs}")
    else:
        print("Nobody is working on it. Next: the same `python -m angioray.cv` command again")


def _quiet_s(folder: RunFolder) -> float | None:
    written = folder.files.files().items()
    times = [when for name, when in written if not name.startswith(LOCK)]
    return max(0.0, folder.files.now() - max(times)) if times else None
