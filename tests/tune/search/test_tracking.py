"""Trials of a sweep by Ray Tune in MLflow."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from ray.tune.experiment import Trial

from tune.search.tracking import tune_callbacks

METRIC = "AP_at_IoU0.20"
"""As MLflow takes it."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with MLflow's database."""
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


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
