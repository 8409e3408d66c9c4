"""What lies between runs: lanes beside one TorchTrainer per run, on the same runs, two at once.

The runs are the folds of one detector on a toy cohort: equal, and of about ten seconds on a core.
Overhead is the time from a run's last training step to its successor's first one on the same lane:
judging, writing, taking the next run, building its network. Makespan is from the first step to the
last result, against the runs' own seconds shared evenly by the lanes, which is the ideal.

    python benchmarks/lanes.py --out benchmarks/results/lanes.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))
LANES = 2


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--runs", type=int, default=20, help="of the lanes")
    parser.add_argument("--peer_runs", type=int, default=20, help="of one trainer each")
    parser.add_argument("--steps", type=int, default=120, help="of a run")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="angioray-lanes-"))
    try:
        measured = measure(folder, options.runs, options.peer_runs, options.steps)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write(options.out, *measured)


@dataclass(frozen=True)
class Course:
    """How a set of runs went.

    Attributes:
        start_s: from the order to the first training step.
        makespan_s: from there to the last result.
        run_s: each run's own seconds: loading, training, judging.
        between_s: from a last training step to the next first one on the same lane.
    """

    start_s: float
    makespan_s: float
    run_s: list[float]
    between_s: list[float]

    @property
    def ideal_s(self) -> float:
        """The runs' own seconds, shared evenly."""
        return sum(self.run_s) / LANES


def measure(folder: Path, runs: int, peer_runs: int, steps: int) -> tuple[Course, Course]:
    """The lanes, then the peer on a cluster that is already up for both."""
    from preprocess.console.cluster import start_ray
    from tests.angioray.settings import TOY
    from tests.toy_cohort import write_toy_cohort

    cohort = write_toy_cohort(folder / "cohort", patients=max(runs, peer_runs), views=("RCA",))
    detector = replace(TOY.detector, steps=steps, batch_size=8)
    settings = replace(
        TOY,
        folds=max(runs, peer_runs),
        tasks=("detector",),
        checkpoint_every=steps,
        detector=detector,
    )
    os.environ["PYTHONPATH"] = str(ROOT)
    start_ray(None)
    return (
        lanes(cohort, folder / "lanes", settings, runs),
        trainers(cohort, folder / "trainers", settings, peer_runs),
    )


def lanes(cohort: Any, folder: Path, settings: Any, count: int) -> Course:
    """All runs over two lanes."""
    study = frozen(cohort, folder, settings)
    began = time.time()
    carry_out(study, cohort, study.runs[:count], LANES)
    return course(folder, began, [run.name for run in study.runs[:count]])


def trainers(cohort: Any, folder: Path, settings: Any, count: int) -> Course:
    """Each run by a trainer of its own, two at once."""
    studies = [frozen(cohort, folder / str(i), settings) for i in range(count)]
    began = time.time()
    with ThreadPoolExecutor(LANES) as pool:
        done = [
            pool.submit(carry_out, study, cohort, [study.runs[i]], 1)
            for i, study in enumerate(studies)
        ]
        for each in done:
            each.result()
    names = [f"{i}/{study.runs[i].name}" for i, study in enumerate(studies)]
    return course(folder, began, names)


def frozen(cohort: Any, folder: Path, settings: Any) -> Any:
    """The study, in a folder of its own."""
    from angioray.study.study import Study

    study = Study.plan(cohort, folder, settings)
    study.freeze(cohort)
    return study


def carry_out(study: Any, cohort: Any, runs: Any, count: int) -> None:
    """Some runs of a study over so many lanes."""
    from angioray.cluster.flops import Rates
    from angioray.cluster.lanes import run_lanes
    from angioray.cluster.plan import LaneGroup, Plan
    from angioray.cluster.queue import QueuedRun

    entries = tuple(QueuedRun(run.name, run.frames_key, 10.0) for run in runs)
    plan = Plan((LaneGroup(count, 1, 1.0, 0.0),), entries, Rates({}, 1.0, "none"), 0.0, 0, 0, ())
    ended = run_lanes(study, plan, cohort.digest, lambda _: None, stuck_after_s=3600)
    assert len(ended.finished) == len(runs), ended.failed


def course(folder: Path, began: float, names: list[str]) -> Course:
    """From what the runs left: logged steps with their times, and results."""
    spans, run_s = [], []
    for name in names:
        result = folder / name / "result.json"
        run_s.append(json.loads(result.read_text())["seconds"])
        first, last = training_span(folder / name)
        spans.append((first, last, result.stat().st_mtime))
    spans.sort()
    free: list[float] = []
    between = []
    for first, last, _ in spans:
        if len(free) >= LANES:  # it followed the run that ended first
            between.append(first - free.pop(free.index(min(free))))
        free.append(last)
    start = spans[0][0]
    return Course(start - began, max(end for *_, end in spans) - start, run_s, between)


def training_span(run: Path) -> tuple[float, float]:
    """When a run's first step began and its last ended, by the clock of its event file."""
    from tensorboardX.proto.event_pb2 import Event

    content = (run / "events.out.tfevents").read_bytes()
    times: dict[int, float] = {}
    while content:
        size = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + size])
        if event.step:
            times.setdefault(event.step, event.wall_time)
        content = content[16 + size :]
    (first, at_first), *_, (last, at_last) = sorted(times.items())
    return at_first - (at_last - at_first) / (last - first) * first, at_last


def write(out: Path, ours: Course, peer: Course) -> None:
    """The JSON of all benchmarks, and the same as lines."""
    mean_s = statistics.mean(ours.run_s)
    values = [
        ("from the order to the first step", ours.start_s, peer.start_s, "s"),
        ("between two runs, median", *(statistics.median(c.between_s) for c in (ours, peer)), "s"),
        ("between two runs, worst", *(max(c.between_s) for c in (ours, peer)), "s"),
        ("makespan over the ideal", *(c.makespan_s / c.ideal_s for c in (ours, peer)), "times"),
    ]
    rows = [
        {
            "name": name,
            "ours": round(a, 3),
            "peer": round(b, 3),
            "ratio": round(a / b, 3),
            "unit": unit,
            "higher_is_better": False,
        }
        for name, a, b, unit in values
    ]
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "runs": [len(ours.run_s), len(peer.run_s)],
        "seconds of a run": [round(mean_s, 2), round(statistics.mean(peer.run_s), 2)],
        "load in the last minutes": [round(load, 1) for load in os.getloadavg()],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    for row in rows:
        print(f"{row['name']}: {row['ours']} against {row['peer']} {row['unit']}")
    print(machine)


if __name__ == "__main__":
    main()
