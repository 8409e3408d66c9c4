"""The networks of a study: how large they are, and how long they take for a frame."""

from __future__ import annotations

from collections.abc import Iterable

from angioray.cluster.flops import forward_flop, parameters
from angioray.report.runs import ReportedRun, ReportedStudy
from angioray.report.tables import NOTHING, Row, Table
from angioray.study.executor import INFERENCE
from angioray.study.settings import StudySettings, settings_from_dict
from preprocess.console.words import counted

NAMES = {"view": "View classifier", "detector": "Stenosis detector"}


def networks_table(study: ReportedStudy) -> Table:
    """Weights, operations and time per frame of each kind of network."""
    settings = settings_from_dict(study.document["settings"])
    kinds: dict[tuple[str, int, str], list[ReportedRun]] = {}
    for run in study.runs:
        kinds.setdefault((run.task, run.size, run.system), []).append(run)
    return Table(
        name="networks",
        caption="The networks: weights, operations and time",
        columns=(
            *("Network", "Input (px)", "Weights (million)"),
            *("GFLOP per frame", "ms per frame", "Timed on"),
        ),
        rows=tuple(
            Row(
                (
                    system or NAMES[task],
                    f"{size} x {size}",
                    *_size(settings.of_system(system), task, size),
                    *_time(runs),
                )
            )
            for (task, size, system), runs in kinds.items()
        ),
        meanings={
            "Network": "all views and variants share one kind of detector; a system has its own",
            "Weights (million)": "numbers that a network has learned, frozen ones included",
            "GFLOP per frame": "operations, counted: a multiplication and an addition are two",
            "ms per frame, Timed on": "measured when a run is judged, mean of the runs: a warm "
            "network, in batches of at most eight frames that are in memory, from grey values to "
            "answers (boxes after non-maximum suppression). Other work may have shared the "
            "hardware. Runs that an earlier version finished have no time",
        },
    )


def _size(settings: StudySettings, task: str, size: int) -> tuple[str, str]:
    """Weights and operations; unknown where a package that the network needs is not here."""
    try:
        weights, flop = parameters(settings, task), forward_flop(settings, task, size)
    except (ImportError, RuntimeError, ValueError):
        return NOTHING, NOTHING
    return f"{weights / 1e6:.1f}", f"{flop / 1e9:.3g}"


def _time(runs: Iterable[ReportedRun]) -> tuple[str, str]:
    """Milliseconds per frame and what they were measured on, by the kinds of hardware."""
    measured: dict[str, list[float]] = {}
    for run in runs:
        timed = (run.result or {}).get(INFERENCE)
        if timed is None:
            continue
        with run.reading("result.json"):
            spent = 1000 * timed["seconds"] / timed["frames"]
        made_in = run.read("environment.json") or {}
        device = made_in.get("device", "unknown hardware")
        threads = made_in.get("threads")
        on = f"CPU, {counted(threads, 'thread')}" if device == "cpu" and threads else device
        measured.setdefault(str(on), []).append(spent)
    if not measured:
        return NOTHING, NOTHING
    means = [f"{sum(spent) / len(spent):.3g}" for spent in measured.values()]
    return "; ".join(means), "; ".join(measured)
