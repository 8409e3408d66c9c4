"""A study's runs in MLflow and in Weights & Biases."""

from __future__ import annotations

import socket
import sqlite3
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from angioray.cluster.queue import Current, Snapshot
from angioray.cluster.trackers import legal_name, without_password
from angioray.cluster.tracking import flat, tracked
from angioray.study.matrix import Run
from angioray.study.run_folder import Judgement, RunFolder
from angioray.study.study import Study
from angioray.training.metrics_log import MetricsLog
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY

FIRST, SECOND = "detector-LCA-B-64-fold0", "detector-RCA-B-64-fold1"
METRICS = {"recall@IoU0.20/score0.50/max1": 0.75, "AP@IoU0.50:0.95/max100": None, "loss": 0.5}


@pytest.fixture
def study(toy_cohort: Cohort, runs: Path) -> Study:
    """A frozen study that nothing has been done of."""
    made = Study.plan(toy_cohort, runs, TOY)
    made.freeze(toy_cohort)
    return made


@pytest.fixture(params=["database", "files"])
def store(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """MLflow on this machine: its database, and the file store of earlier versions."""
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    address = f"sqlite:///{tmp_path}/mlflow.db"
    if request.param == "files":
        address = f"file://{tmp_path}/mlruns"
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return address


def found(store: str) -> list[Any]:
    """All runs, in the order of their names."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return sorted(client.search_runs(experiments), key=lambda run: run.info.run_name)


def steps(store: str, run: Any, metric: str = "train/loss") -> list[int]:
    from mlflow import MlflowClient

    history = MlflowClient(tracking_uri=store).get_metric_history(run.info.run_id, metric)
    return [point.step for point in history]


def train(study: Study, name: str, at: Iterable[int], *, from_step: int = 0) -> RunFolder:
    folder = RunFolder.of(study.folder, study.run(name))
    log = MetricsLog(folder.files, from_step=from_step)
    for step in at:
        log.append({"step": step, "loss": 1 / step, "learning_rate": 0.01})
    return folder


def finish(study: Study, name: str) -> None:
    run: Run = study.run(name)
    RunFolder.of(study.folder, run).finish(run, Judgement([], [], METRICS, {}), 30, 1.5)


def snapshot(*running: str, finished: Iterable[str] = (), failed: Iterable[str] = ()) -> Snapshot:
    now = time.time()
    current = {lane: Current(name, "10.0.0.7", now, now) for lane, name in enumerate(running)}
    return Snapshot((), current, {name: {} for name in finished}, dict.fromkeys(failed, "no room"))


def test_a_run_is_logged_with_its_settings_history_and_metrics(study: Study, store: str) -> None:
    with tracked("mlflow", study, study.runs) as tell:
        train(study, FIRST, (10, 20, 30))
        tell(snapshot(FIRST))
        finish(study, FIRST)
        tell(snapshot(finished=[FIRST]))
    (run,) = found(store)
    assert run.info.run_name == FIRST and run.info.status == "FINISHED"
    assert steps(store, run) == steps(store, run, "train/learning_rate") == [10, 20, 30]
    assert run.data.metrics == {
        "train/loss": pytest.approx(1 / 30),
        "train/learning_rate": 0.01,
        "recall_at_IoU0.20/score0.50/max1": 0.75,
        "loss": 0.5,  # of the validation part; the view classifier's is called as in training
    }
    assert run.data.params["detector.optimiser.learning_rate"] == "0.01"
    assert run.data.params["folds"] == "2"
    group = run.data.tags.pop("group")
    assert group.startswith("runs-")
    seed = str(study.run(FIRST).seed)
    of_run = {"task": "detector", "view": "LCA", "variant": "B", "size": "64", "fold": "0"}
    # MLflow's own tags of the user, the host and the source are not there.
    assert run.data.tags == {**of_run, "seed": seed, "mlflow.runName": FIRST}


def test_a_resumed_run_goes_on_in_the_same_run(study: Study, store: str) -> None:
    with tracked("mlflow", study, study.runs) as tell:
        train(study, FIRST, (10, 20, 25))
        tell(snapshot(FIRST, SECOND))
    first, second = found(store)
    assert first.info.status == second.info.status == "KILLED", "the study was stopped"
    with tracked("mlflow", study, study.runs) as tell:
        # From the checkpoint at step 10 on.
        train(study, FIRST, (20, 25, 30), from_step=10)
        finish(study, FIRST)
        tell(snapshot(finished=[FIRST], failed=[SECOND]))
    again, failed = found(store)
    assert [again.info.run_id, failed.info.run_id] == [first.info.run_id, second.info.run_id]
    assert steps(store, again) == [10, 20, 25, 30]
    assert [again.info.status, failed.info.status] == ["FINISHED", "FAILED"]
    assert len({run.data.tags["group"] for run in (again, failed)}) == 1


@pytest.mark.parametrize("store", ["database"], indirect=True)
def test_what_was_finished_before_is_logged_once(study: Study, store: str) -> None:
    train(study, FIRST, range(1, 1200))  # more than one call of MLflow takes
    finish(study, FIRST)
    for _ in range(2):
        with tracked("mlflow", study, study.runs):
            pass
    (run,) = found(store)
    assert run.info.status == "FINISHED" and steps(store, run) == list(range(1, 1200))


@pytest.mark.parametrize("store", ["database"], indirect=True)
def test_a_tracker_that_fails_on_the_way_is_told_of_once_and_ends_nothing(
    study: Study, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tracked("mlflow", study, study.runs) as tell:
        with sqlite3.connect(tmp_path / "mlflow.db") as database:
            database.execute("ALTER TABLE runs RENAME TO away")
        for name in (FIRST, SECOND):
            train(study, name, (10, 20))
            finish(study, name)
        tell(snapshot(finished=[FIRST, SECOND]))
    said = capsys.readouterr().err
    assert said.count("MLflow could not be told how far the runs are") == 1
    assert "MLflow has not got everything. The same command again" in said
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("ALTER TABLE away RENAME TO runs")
    with tracked("mlflow", study, study.runs):
        pass
    assert [(run.info.run_name, steps(store, run)) for run in found(store)] == [
        (FIRST, [10, 20]),
        (SECOND, [10, 20]),
    ]
    assert "not got everything" not in capsys.readouterr().err


@pytest.mark.parametrize("store", ["database"], indirect=True)
def test_a_server_that_does_not_answer_is_refused_at_the_start(
    study: Study, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        address = f"http://nobody:secret@127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with (
            pytest.raises(
                ValueError, match=r"^MLflow cannot be used: .*MLFLOW_TRACKING_URI"
            ) as told,
            tracked("mlflow", study, study.runs),
        ):
            pass
    assert "secret" not in str(told.value)


def test_what_is_not_installed_is_refused(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    said = r"Weights & Biases is not installed here: `pip install 'angioray\[wandb\]'`"
    with pytest.raises(ValueError, match=said), tracked("wandb", study, study.runs):
        pass


def test_wandb_gets_the_same_offline(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_HOST", "radiology-7")  # else it is the host's, which may be short
    with tracked("wandb", study, study.runs) as tell:
        train(study, FIRST, (10, 20))
        tell(snapshot(FIRST, SECOND))
    with tracked("wandb", study, study.runs) as tell:
        train(study, FIRST, (20, 30), from_step=10)
        finish(study, FIRST)
        tell(snapshot(finished=[FIRST], failed=[SECOND]))
    parts = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(parts) == 4 and len({part.name for part in parts}) == 2  # two runs, twice
    written = b"".join(part.read_bytes() for part in parts)
    for name in (FIRST, SECOND, "recall@IoU0.20/score0.50/max1", "runs-", "train/loss"):
        assert name.encode() in written
    for private in ("radiology-7", str(tmp_path), str(Path.home())):
        assert private.encode() not in written


def test_wandb_without_a_key_is_refused(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    said = (
        "^Weights & Biases cannot be used: .* Run `wandb login`, set WANDB_MODE=offline, or leave"
    )
    with pytest.raises(ValueError, match=said), tracked("wandb", study, study.runs):
        pass


def test_only_the_last_part_of_a_path_is_sent() -> None:
    settings = {"folds": 5, "detector": {"weights": "/home/jane/best.pt", "view": "LAO/CRA"}}
    assert flat(settings) == {
        "folds": 5,
        "detector.weights": "best.pt",
        "detector.view": "LAO/CRA",
    }


def test_names_are_legal_and_addresses_without_a_password() -> None:
    assert legal_name("AP@IoU0.50:0.95/max100") == "AP_at_IoU0.50:0.95/max100"
    assert legal_name("recall (RCA+LCA) 50%") == "recall _RCA_LCA_ 50_"
    assert without_password("https://a:b@example.org/x") == "https://example.org/x"
