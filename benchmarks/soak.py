"""Random kills of workers, nodes and drivers under a study, until enough of them have happened.

Each round is a whole study on a cluster of a head and two nodes on this machine. Kills come at
random moments; a killed driver is started again by the same command, a killed node replaced by
another. A round is sound if every run is there at the end, and the predictions of every run and
the numbers of the report are those of the undisturbed study, bit for bit. Finished runs that were
done again are counted.

    python benchmarks/soak.py --kills 100 --out benchmarks/results/soak.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ["RAY_AUTH_MODE"] = "disabled"  # the nodes speak over this machine's loopback alone

from ray.cluster_utils import Cluster

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))
KINDS = ("worker", "node", "driver")
QUIET_S = (4.0, 25.0)
"""Between two kills."""
STUDY_S = 1800.0
"""A study that takes longer hangs."""


def main() -> None:
    """Kill, compare and write the JSON anew after each round."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--kills", type=int, default=100, help="how many in all")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no round after these")
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    options = parser.parse_args()
    chance, began = random.Random(options.seed), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="angioray-soak-"))
    try:
        study = Disturbed.prepare(folder, chance)
        while (
            sum(study.kills.values()) < options.kills
            and time.monotonic() - began < 60 * options.minutes
        ):
            study.round()
            write(options.out, study)
            print(f"{dict(study.kills)} in {study.rounds} studies, sound {study.sound}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert study.sound == study.rounds, "a study ended otherwise than undisturbed"


@dataclass
class Disturbed:
    """A study, what it ends with undisturbed, and what was done to it so far."""

    folder: Path
    chance: random.Random
    undisturbed: dict[str, Any]
    rounds: int = 0
    sound: int = 0
    repeated: int = 0
    gave_up: int = 0
    kills: Counter[str] = field(default_factory=Counter)

    @classmethod
    def prepare(cls, folder: Path, chance: random.Random) -> Disturbed:
        """Write cohort and settings, and carry the study out in this process."""
        import torch
        import yaml

        from angioray.study.executor import Executor
        from angioray.study.settings import settings_from_dict
        from angioray.study.study import Study
        from angioray.training.step import World
        from tests.angioray.settings import TOY
        from tests.toy_cohort import write_toy_cohort

        cohort = write_toy_cohort(folder / "cohort")
        plain = json.loads(json.dumps(asdict(TOY)))
        plain["detector"] |= {"steps": 100, "batch_size": 8}
        plain |= {"checkpoint_every": 5}
        (folder / "toy.yaml").write_text(yaml.safe_dump(plain))
        torch.set_num_threads(1)  # as a lane has it
        study = Study.plan(cohort, folder / "undisturbed", settings_from_dict(plain))
        study.freeze(cohort)
        executor = Executor(study, cohort, World(torch.device("cpu")))
        for run in study.runs:
            executor.execute(run, lambda *_: None)
        return cls(folder, chance, outcome(folder / "undisturbed"))

    def round(self) -> None:
        """One study, killed at until it ends."""
        runs = self.folder / f"runs{self.rounds}"
        cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        command = self.command(runs, cluster.address)
        process, finished = start(command, self.folder), {}
        deadline = time.monotonic() + STUDY_S
        try:
            while True:
                pause = time.monotonic() + self.chance.uniform(*QUIET_S)
                while process.poll() is None and time.monotonic() < pause:
                    time.sleep(0.2)
                finished = self.checked(finished, runs)
                if process.poll() == 0 or time.monotonic() > deadline:
                    break
                if process.poll() is not None:  # it gave up; a person would ask again
                    self.gave_up += 1
                    process = start(command, self.folder)
                    continue
                process = self.kill(process, command, cluster, nodes)
        finally:
            process.kill()
            process.wait()
            cluster.shutdown()
        self.rounds += 1
        self.sound += outcome(runs) == self.undisturbed
        shutil.rmtree(runs, ignore_errors=True)

    def kill(self, process: Any, command: list[str], cluster: Any, nodes: list[Any]) -> Any:
        """One kill; the driver that runs afterwards."""
        kind = self.chance.choice(KINDS)
        if kind == "worker":
            workers = training_workers()
            if not workers:
                return process
            self.chance.choice(workers).kill()
        elif kind == "node":
            lost = nodes.pop(self.chance.randrange(len(nodes)))
            cluster.remove_node(lost, allow_graceful=False)
            nodes.append(cluster.add_node(num_cpus=1))
        else:
            process.kill()
            process.wait()
            process = start(command, self.folder)
        self.kills[kind] += 1
        return process

    def command(self, runs: Path, address: str) -> list[str]:
        """The study's, the same each time."""
        study = [str(self.folder / "cohort"), "--config", str(self.folder / "toy.yaml")]
        options = ["--all-folds", "--runs", str(runs), "--address", address]
        return [sys.executable, "-m", "angioray.cv", *study, *options]

    def checked(self, before: dict[str, int], runs: Path) -> dict[str, int]:
        """When each finished run was written; none may change."""
        now = {p.parent.name: p.stat().st_mtime_ns for p in runs.glob("*/result.json")}
        self.repeated += sum(now.get(name) != written for name, written in before.items())
        return now


def start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Begin or continue the study."""
    with (folder / "said.txt").open("ab") as said:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)


def training_workers() -> list[Any]:
    """The training processes of this program's own cluster."""
    import psutil

    mine = psutil.Process().children(recursive=True)
    return [process for process in mine if "TrainWorker" in _title(process)]


def _title(process: Any) -> str:
    import psutil

    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def outcome(runs: Path) -> dict[str, Any]:
    """What a study ends with: every run's predictions to the last bit, and the report's numbers."""
    command = [sys.executable, "-m", "angioray.report", str(runs)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    report = json.loads((runs / "report" / "report.json").read_text("utf-8"))
    predictions = {
        path.parent.name: (path.parent / "predictions.json").read_bytes()
        for path in runs.glob("*/result.json")
    }
    return {**predictions, "metrics": report["metrics"], "missing": report["missing"]}


def write(out: Path, study: Disturbed) -> None:
    """The JSON of all benchmarks."""
    values = {
        **{f"kills of a {kind}": (study.kills[kind], None) for kind in KINDS},
        "studies that ended bit for bit as undisturbed": (study.sound, study.rounds),
        "finished runs that were repeated": (study.repeated, 0),
        "drivers that ended by themselves before the study": (study.gave_up, 0),
    }
    rows = [
        {
            "name": name,
            "ours": ours,
            "peer": peer,
            "ratio": ours / peer if peer else None,
            "unit": "count",
            "higher_is_better": not name.startswith(("finished", "drivers")),
        }
        for name, (ours, peer) in values.items()
    ]
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
