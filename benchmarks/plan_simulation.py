"""Studies of 50 to 5000 runs on 1 to 512 GPUs in virtual time, against the lower bound.

The planner decides and the real queue hands out the runs; only the training is left out. A study
here is the published one, repeated: of ten runs one is a view classifier at 512, one at 224, and
eight are detectors that may be spread over the GPUs of a node. The lower bound is the larger of
total work / GPUs and the longest run; a study whose longest run is spread can end before it.

    python benchmarks/plan_simulation.py --out benchmarks/results/plan_simulation.json
"""

from __future__ import annotations

import argparse
import heapq
import json
import platform
from collections.abc import Sequence
from pathlib import Path

from angioray.cluster.queue import QueuedRun, RunQueue
from angioray.cluster.schedule import (
    LANE_START_S,
    Piece,
    Schedule,
    best_schedule,
    lower_bound,
    on_ranks,
)

RUNS = (50, 100, 200, 500, 1000, 2000, 5000)
GPUS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
PER_NODE = 8
PUBLISHED_S = (("view-512", 320.0, 1), ("view-224", 62.0, 1), *[("detector", 175.0, 8)] * 8)
"""Expected seconds of each ten runs, at the rate that the planner assumes for a GPU."""


def main() -> None:
    """Simulate, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--lane_start_s", type=float, default=LANE_START_S, help="of every lane")
    options = parser.parse_args()
    rows = []
    print("runs \\ GPUs" + "".join(f"{gpus:>8}" for gpus in GPUS))
    for runs in RUNS:
        ratios = []
        for gpus in GPUS:
            pieces = published(runs)
            bound = lower_bound([piece.seconds for piece in pieces], gpus)
            ours = simulate(pieces, gpus, options.lane_start_s)
            ratios.append(ours / bound)
            rows.append(
                {
                    "name": f"{runs} runs on {gpus} GPUs, makespan against the lower bound",
                    "ours": round(ours, 1),
                    "peer": round(bound, 1),
                    "ratio": round(ours / bound, 3),
                    "unit": "s",
                    "higher_is_better": False,
                }
            )
        print(f"{runs:>11}" + "".join(f"{ratio:>8.3f}" for ratio in ratios))
    machine = {"processor": platform.processor() or platform.machine(), "device": "simulated"}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


def published(runs: int) -> list[Piece]:
    """The published study's runs, repeated."""
    kinds = [PUBLISHED_S[i % len(PUBLISHED_S)] for i in range(runs)]
    return [Piece(f"{kind}-{i}", seconds, most) for i, (kind, seconds, most) in enumerate(kinds)]


def simulate(pieces: Sequence[Piece], gpus: int, lane_start_s: float) -> float:
    """When the last run ends, in virtual seconds after the first lane has started."""
    schedule = best_schedule(pieces, _nodes(gpus), lane_start_s=lane_start_s)
    queue, seconds = _queue(pieces, schedule)
    narrow = min(gpus, len(schedule.narrow))
    free = gpus - narrow
    events = [(0.0, lane, "", False) for lane in range(narrow)]
    end, lanes = 0.0, narrow
    while events or (schedule.wide and free >= schedule.ranks):
        while schedule.wide and free >= schedule.ranks:  # a wide lane forms as soon as it can
            free -= schedule.ranks
            heapq.heappush(events, (end + (lane_start_s if narrow else 0.0), lanes, "", True))
            lanes += 1
        now, lane, run, wide = heapq.heappop(events)
        if run:
            end = max(end, now)
            queue.finish(lane, run, {})
        if (taken := queue.take(lane, wide=wide)) is not None:
            heapq.heappush(events, (now + seconds[taken], lane, taken, wide))
        elif not wide:
            free += 1
    return end


def _nodes(gpus: int) -> list[int]:
    """The GPUs of each node."""
    return [PER_NODE] * (gpus // PER_NODE) or [gpus]


def _queue(pieces: Sequence[Piece], schedule: Schedule) -> tuple[RunQueue, dict[str, float]]:
    by_name = {piece.name: piece for piece in pieces}
    wide = set(schedule.wide)
    seconds = {
        name: on_ranks(piece.seconds, schedule.ranks) if name in wide else piece.seconds
        for name, piece in by_name.items()
    }
    entries = [
        QueuedRun(name, name.rpartition("-")[0], by_name[name].seconds, name in wide)
        for name in (*schedule.narrow, *schedule.wide)
    ]
    return RunQueue(entries), seconds


if __name__ == "__main__":
    main()
