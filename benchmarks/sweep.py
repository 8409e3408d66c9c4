"""How well a sweep's processes are used: Ray Tune with the gate of a sweep, and without it.

Trials sleep in place of training. All else is a sweep's own: searcher, scheduler, board, and the
trainable with its imports. Makespan is from the first step to the last, against the seconds that
all trials slept, shared evenly by the slots, which is the ideal.

    python benchmarks/sweep.py --out benchmarks/results/sweep.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))
os.environ["PYTHONPATH"] = str(ROOT)  # for the processes of Ray

import ray  # noqa: E402

from angioray.cluster.plan import LaneGroup  # noqa: E402
from angioray.study.settings import StudySettings  # noqa: E402
from preprocess.storage import open_storage  # noqa: E402
from tune.cost import TrialCost  # noqa: E402
from tune.search.candidates import Candidate, FirstTrials  # noqa: E402
from tune.search.launch import run_search  # noqa: E402
from tune.search.order import Order  # noqa: E402
from tune.search.settings import HalvingSettings  # noqa: E402
from tune.search.trainable import SCORE, STEPS, TrialTrainable  # noqa: E402
from tune.search.worker import TrialInputs  # noqa: E402
from tune.space.space_file import read_space  # noqa: E402
from tune.trials import BY_BASE  # noqa: E402

SPACE = "detector.focal_alpha: {low: 0.05, high: 0.95}\n"


class Sleeper(TrialTrainable):
    """Sleeps a second for each step, and notes when."""

    def setup(self, config: dict[str, Any], *, board: Any, inputs: Any, **resources: Any) -> None:
        self._board, self._inputs, self._waited = board, inputs, False
        self.reset_config(config)
        time.sleep(float(inputs.cohort))
        ray.get(board.join.remote())

    def step(self) -> dict[str, Any]:
        self._wait_for_the_others()
        rung = int(self.iteration)
        rungs = (0, *(float(step) for step in self._inputs.rungs))
        began = time.time()
        time.sleep((rungs[rung + 1] - rungs[rung]) * float(self._inputs.digest))
        with Path(self._inputs.trials).open("a") as log:
            log.write(json.dumps([os.getpid(), began, time.time()]) + "\n")
        alpha = self._trial.params["detector.focal_alpha"]
        return {
            STEPS: self._inputs.rungs[rung],
            SCORE: 1 - abs(alpha - 0.6),
            "seconds": 0.0,
            "reason": None,
            "diverged": False,
            "curve": "[]",
            "rates": "[]",
            "done": rung == len(self._inputs.rungs) - 1,
        }


class Free(TrialCost):
    """All cost the same."""

    def __call__(self, params: dict[str, Any]) -> float:
        return 1.0


@dataclass(frozen=True)
class Course:
    """How a sweep went: its makespan over the ideal, and how many processes ever worked."""

    over_ideal: float
    processes: int


def course(
    *, slots: int, samples: int, rungs: int, step_s: float, gated: bool, setup_s: float = 0.0
) -> Course:
    """Carry out a sweep of sleeping trials of nine steps."""
    folder = Path(tempfile.mkdtemp(prefix="angioray-sweep-"))
    try:
        (folder / "space.yaml").write_text(SPACE)
        space = read_space(folder / "space.yaml", StudySettings(tasks=("detector",)), "detector")
        halving = HalvingSettings(rungs=rungs)
        order = Order(settings=space.base, samples=samples, halving=halving)
        log = folder / "log"
        objective: Any = None
        run_search(
            order,
            FirstTrials(space, (Candidate(space.of_base(), BY_BASE),)),
            Free(space, objective),
            TrialInputs(str(log), str(setup_s), str(step_s), objective, space, halving.steps(9)),
            {},
            LaneGroup(slots, 1, 1.0, 0.0),
            open_storage(folder / "tune"),
            lambda standing: None,
            trains=Sleeper,
            gated=gated,
        )
        steps = [json.loads(line) for line in log.read_text().splitlines()]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    makespan = max(end for _, _, end in steps) - min(began for _, began, _ in steps)
    ideal = sum(end - began for _, began, end in steps) / slots
    return Course(makespan / ideal, len({pid for pid, *_ in steps}))


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    ray.init(address="local", num_cpus=5, include_dashboard=False, log_to_driver=False)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("20 trials of 7 s, 2 slots", dict(slots=2, samples=20, rungs=1, step_s=7 / 9)),
        ("30 trials with ASHA, 5 slots", dict(slots=5, samples=30, rungs=3, step_s=0.7)),
        (
            "the same, 15 s more for the start of a process",
            dict(slots=5, samples=30, rungs=3, step_s=0.7, setup_s=15.0),
        ),
    ]
    rows = []
    for name, case in cases:
        ours, peer = (course(**case, gated=gated) for gated in (True, False))
        for what, a, b, more_is_better in (
            ("makespan over the ideal", ours.over_ideal, peer.over_ideal, False),
            ("processes that worked", ours.processes, peer.processes, True),
        ):
            rows.append(
                {
                    "name": f"{name}: {what}",
                    "ours": round(a, 3),
                    "peer": round(b, 3),
                    "ratio": round(a / b, 3),
                    "unit": "times" if what.startswith("makespan") else "processes",
                    "higher_is_better": more_is_better,
                }
            )
            print(
                f"{rows[-1]['name']}: {rows[-1]['ours']} with the gate, {rows[-1]['peer']} without"
            )
    ray.shutdown()
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load in the last minutes": [round(load, 1) for load in os.getloadavg()],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    print(machine)


if __name__ == "__main__":
    main()
