"""What a sweep costs beyond its trials, and what it finds where the settings are bad on purpose.

Overhead: trials of about ten seconds on two cores, from the first trial's first step to the end,
against the trials' own seconds shared evenly by the lanes. Search: the view classifier on a phantom
with a learning rate that is far too low; TPE and random draws with the same number of trials and
the same halving; the settings as they are and the best ones are then trained on the whole training
part of fold 0 and judged on its validation part, which no trial has seen. Repeat: the same search
once more.

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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))
LANES = 2
SPACE = """\
view.optimiser.learning_rate: {low: 1.0e-8, high: 1.0e-1, log: true}
view.optimiser.weight_decay: {choices: [0.0, 1.0e-4, 1.0e-3, 1.0e-2]}
view.frozen_epochs: {low: 0, high: 4}
view.augmentation.brightness: {low: 0.0, high: 0.4}
view.augmentation.contrast: {low: 0.0, high: 0.4}
"""
FAR_OFF = 1e-7
"""The learning rate that the search has to get away from."""


def main() -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--trials", type=int, default=20, help="of each sweep")
    parser.add_argument("--steps", type=int, default=120, help="of a trial of the overhead")
    parser.add_argument("--patients", type=int, default=40, help="of the phantom")
    parser.add_argument("--epochs", type=int, default=9, help="of a trial of the search")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="angioray-sweep-"))
    os.environ["PYTHONPATH"] = str(ROOT)
    try:
        from preprocess.console.cluster import start_ray

        start_ray(None)
        rows = overhead(folder, options.trials, options.steps)
        rows += search(folder, options.trials, options.patients, options.epochs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write(options.out, rows, options)


@dataclass(frozen=True)
class Swept:
    """A sweep that has ended.

    Attributes:
        sweep: it.
        trials: its trials.
        makespan_s: from the first trial's first step to the end.
        start_s: from the order to there.
    """

    sweep: Any
    trials: list[Any]
    makespan_s: float
    start_s: float

    @property
    def spent(self) -> float:
        """Steps, as a share of what all trials would have taken to the end."""
        budget = len(self.trials) * self.sweep.rungs[-1]
        return sum(trial.steps for trial in self.trials) / budget


def sweep(folder: Path, cohort: Any, **words: Any) -> Swept:
    """Carry one out on the cluster that is there."""
    from angioray.cluster.lane_settings import LaneSettings
    from preprocess.storage import open_storage
    from tune.search.fold_sweep import FoldSweep
    from tune.search.order import Order

    order = Order(lanes=LaneSettings(lanes=LANES), **words)
    planned = FoldSweep.plan(open_storage(folder), cohort, order, 0)
    started = time.time()
    begun: list[float] = []

    def shown(standing: Any) -> None:
        if not begun and any(current.done for current in standing.running.values()):
            begun.append(time.time())

    trials = planned.carry_out(lambda line: None, shown)
    first = begun[0] if begun else started
    return Swept(planned, trials, time.time() - first, first - started)


def overhead(folder: Path, trials: int, steps: int) -> list[dict[str, Any]]:
    """Equal trials without halving: the makespan against the trials' own seconds."""
    from tests.angioray.settings import TOY
    from tests.toy_cohort import write_toy_cohort
    from tune.search.settings import HalvingSettings

    cohort = write_toy_cohort(folder / "toy", patients=12, views=("RCA",))
    detector = replace(TOY.detector, steps=steps, batch_size=8)
    settings = replace(TOY, tasks=("detector",), checkpoint_every=steps, detector=detector)
    space = folder / "alike.yaml"
    space.write_text("detector.focal_alpha: {low: 0.2, high: 0.3}\n")
    swept = sweep(
        folder / "alike",
        cohort,
        settings=settings,
        view="RCA",
        space=space,
        search="random",
        samples=trials,
        halving=HalvingSettings(rungs=1),
    )
    seconds = [trial.seconds for trial in swept.trials]
    ideal = sum(seconds) / LANES
    print(f"{trials} trials of {sum(seconds) / trials:.1f} s: {swept.makespan_s:.1f} s, ideal "
          f"{ideal:.1f} s, start {swept.start_s:.1f} s", flush=True)  # fmt: skip
    name = f"{trials} trials of {sum(seconds) / trials:.0f} s, {LANES} at once, against the ideal"
    return [row(name, swept.makespan_s, ideal, "s", higher_is_better=False)]


def search(folder: Path, trials: int, patients: int, epochs: int) -> list[dict[str, Any]]:
    """TPE and random draws side by side, and TPE a second time."""
    from angioray.study.settings import StudySettings, ViewTraining

    cohort = phantom(folder / "phantom", patients)
    space = folder / "space.yaml"
    space.write_text(SPACE)
    view = ViewTraining(
        sizes=(64,),
        split_unit="patient",
        backbone="resnet18",
        weights="none",
        epochs=epochs,
        frozen_epochs=0,
        frames_per_sequence=4,
        batch_size=16,
    )
    optimiser = replace(view.optimiser, name="adamw", learning_rate=FAR_OFF)
    settings = StudySettings(
        tasks=("view",), view=replace(view, optimiser=optimiser), checkpoint_every=50
    )
    words = {"settings": settings, "task": "view", "space": space, "samples": trials}
    rows = []
    for kind in ("tpe", "random"):
        swept = sweep(folder / kind, cohort, search=kind, **words)
        base, best = judged(folder / f"{kind}-judged", swept, cohort)
        say = f"{kind}: spent {swept.spent:.0%}, fold 0 as they are {base:.3f}, best {best:.3f}"
        print(say, flush=True)
        rows += [
            row(f"accuracy on fold 0, best of {kind}", best, base, "accuracy"),
            row(f"steps of {kind} with halving", swept.spent, 1.0, "budgets", False),
        ]
        if kind == "tpe":
            again = sweep(folder / "again", cohort, search=kind, **words)
            same = sum(
                one.params == other.params and one.curve == other.curve
                for one, other in zip(swept.trials, again.trials, strict=True)
            )
            print(f"the same search again: {same} of {trials} trials are the same", flush=True)
            rows.append(row("trials that a second search repeats", same, trials, "trials"))
    return rows


def phantom(folder: Path, patients: int) -> Any:
    """A cohort of synthetic arteries, made by the commands."""
    from tests.end_to_end.command_processes import run

    cohort = folder / "cohort"
    size = ("--patients", patients, "--sequences", 2 * patients)
    frames = ("--frames_min", 8, "--frames_max", 10)
    labels = ("--labels", folder / "labels" / "sequences.csv")
    key = ("--rois", folder / "labels" / "rois", "--key", folder / "phantom.key")
    folder.parent.mkdir(parents=True, exist_ok=True)
    for words in (
        ("phantom", folder, *size, *frames),
        ("ingest", folder / "dicom", *labels, *key, "--out", cohort),
    ):
        said = run("preprocess", *words, cwd=folder.parent)
        assert said.returncode == 0, said.stderr
    from preprocess.cohort import Cohort

    return Cohort.open(cohort)


def judged(folder: Path, swept: Swept, cohort: Any) -> tuple[float, float]:
    """Base and best, trained on the training part of fold 0, on its validation part."""
    from preprocess.storage import open_storage
    from tune.nested import judge_folds

    out = open_storage(folder)
    (fold,) = judge_folds(out, [swept.sweep], [swept.trials], swept.sweep.group, print)
    return float(fold.base or 0.0), float(fold.best or 0.0)


def row(
    name: str, ours: float, peer: float, unit: str, higher_is_better: bool = True
) -> dict[str, Any]:
    """A row as every benchmark of the project writes it."""
    return {
        "name": name,
        "ours": round(ours, 3),
        "peer": round(peer, 3),
        "ratio": round(ours / peer, 3) if peer else None,
        "unit": unit,
        "higher_is_better": higher_is_better,
    }


def write(out: Path, rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """The JSON of all benchmarks."""
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "options": {k: v for k, v in vars(options).items() if k != "out"},
        "load in the last minutes": [round(load, 1) for load in os.getloadavg()],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    for each in rows:
        print(f"{each['name']}: {each['ours']} against {each['peer']} {each['unit']}")
    print(f"Wrote {out}.")


if __name__ == "__main__":
    main()
