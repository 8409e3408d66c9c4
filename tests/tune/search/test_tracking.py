"""Trials of a sweep by Ray Tune in MLflow."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining

from preprocess.console.cluster import start_ray
from tune.search.tracking import tune_callbacks

METRIC = "AP_at_IoU0.20"
"""As MLflow takes it."""


class Toy(tune.Trainable):
    """Four rungs; the trial at 0.2 fails at its third, until a file is there."""

    def setup(self, config: dict[str, Any]) -> None:
        self.rung = 0

    def step(self) -> dict[str, Any]:
        self.rung += 1
        if self.config["lr"] == 0.2 and self.rung == 3 and not Path(self.config["mended"]).exists():
            raise RuntimeError("diverged")
        score = self.rung * self.config["lr"]
        return {"steps": 10 * self.rung, "AP@IoU0.20": score, "done": self.rung == 4}

    def save_checkpoint(self, folder: str) -> None:
        Path(folder, "rung").write_text(str(self.rung))

    def load_checkpoint(self, folder: str) -> None:
        self.rung = int(Path(folder, "rung").read_text())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with MLflow's database."""
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


@pytest.fixture
def local_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster of this machine."""
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "0")
    start_ray(None)
    yield
    ray.shutdown()


def sweep(place: Path, name: str, **options: Any) -> tune.Tuner:
    return tune.Tuner(
        Toy,
        param_space={"lr": tune.grid_search([0.1, 0.2]), "mended": str(place / "mended")},
        tune_config=tune.TuneConfig(**options),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(place),
            callbacks=tune_callbacks("mlflow", place / name, step="steps"),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
            verbose=0,
        ),
    )


def found(name: str) -> list[tuple[Any, list[int]]]:
    """The runs in the order of their learning rates, and the steps that each has."""
    from mlflow import MlflowClient

    client = MlflowClient()
    (group,) = client.search_experiments(filter_string=f"name LIKE '{name}-%'")
    runs = client.search_runs([group.experiment_id])
    return [
        (run, [point.step for point in client.get_metric_history(run.info.run_id, METRIC)])
        for run in sorted(runs, key=lambda run: run.data.params["lr"])
    ]


def test_trials_are_runs_of_one_group_without_hosts_and_paths(place: Path) -> None:
    well, failed = (
        Trial("toy", config={"lr": lr, "weights": "/home/jane/best.pt"}, stub=True)
        for lr in (0.1, 0.2)
    )
    (callback,) = tune_callbacks("mlflow", place / "sweep", step="steps")
    # Tune pickles it with the sweep, before and while it is at work.
    callback = pickle.loads(pickle.dumps(callback))
    callback.setup()
    of_tune = {"pid": 7, "hostname": "radiology-7", "training_iteration": 1, "done": False}
    for trial in (well, failed):
        callback.on_trial_start(1, [], trial)
        for steps in (10, 20):
            result = {"steps": steps, "AP@IoU0.20": steps / 100, **of_tune}
            callback.on_trial_result(1, [], trial, result)
    callback.on_trial_complete(2, [], well)
    callback.on_trial_error(2, [], failed)
    assert pickle.loads(pickle.dumps(callback))
    callback.on_experiment_end([])
    (first, its_steps), (second, until) = found("sweep")
    assert [first.info.status, second.info.status] == ["FINISHED", "FAILED"]
    assert its_steps == until == [10, 20]
    assert first.data.metrics == {METRIC: 0.2}
    assert first.data.params == {"lr": "0.1", "weights": "best.pt"}
    assert first.data.tags["group"] == second.data.tags["group"]
    assert set(first.data.tags) == {"group", "trial", "mlflow.runName"}


def test_nothing_is_tracked_where_nothing_is_named(place: Path) -> None:
    assert tune_callbacks(None, place / "sweep") == []


@pytest.mark.slow
def test_a_restored_trial_goes_on_in_its_run_and_settings_may_change(
    place: Path, local_ray: None
) -> None:
    sweep(place, "sweep").fit()
    (well, its_steps), (failed, until) = found("sweep")
    assert [well.info.status, failed.info.status] == ["FINISHED", "FAILED"]
    assert its_steps == [10, 20, 30, 40] and until == [10, 20]

    (place / "mended").touch()
    tune.Tuner.restore(str(place / "sweep"), Toy, resume_errored=True).fit()
    (same, unchanged), (again, steps) = found("sweep")
    assert [same.info.run_id, again.info.run_id] == [well.info.run_id, failed.info.run_id]
    assert again.info.status == "FINISHED" and steps == unchanged == [10, 20, 30, 40]

    # Ray's own callback for MLflow ends a sweep where a trial gets other settings on the way.
    population = PopulationBasedTraining(
        time_attr="steps",
        perturbation_interval=10,
        hyperparam_mutations={"lr": [0.1, 0.3]},
        quantile_fraction=0.5,
        synch=True,
    )
    sweep(place, "population", scheduler=population, metric="AP@IoU0.20", mode="max").fit()
    assert [run.info.status for run, _ in found("population")] == ["FINISHED"] * 2
