"""The whole road by its commands: a hospital's files in, a report out, and nobody named in it."""

from __future__ import annotations

import json
import re
from itertools import chain

import pytest
from mlflow import MlflowClient

from angioray.cluster.trackers import legal_name
from angioray.training.metrics_log import MetricsLog
from preprocess.storage import open_storage
from tests.end_to_end.road import Road, files, identifiers

RUNS = {
    *("view-64-fold0", "view-64-fold1"),
    *("detector-LCA-B-64-fold0", "detector-LCA-B-64-fold1"),
    *("detector-RCA-B-64-fold0", "detector-RCA-B-64-fold1"),
}
RUN_FILES = {
    *("settings.yaml", "environment.json", "metrics.jsonl", "predictions.json"),
    *(
        "events.out.tfevents",
        "evaluated_images.json",
        "result.json",
        "state.json",
        "weights-000030.safetensors",
    ),
}


@pytest.mark.parametrize(
    ("command", "following"),
    [
        ("phantom", "python -m preprocess ingest"),
        ("ingest", "python -m preprocess propagate"),
        ("propagate", "python -m preprocess summary"),
        ("summary", "python -m preprocess review"),
        ("cv", "python -m angioray.report"),
    ],
)
def test_each_command_names_the_next(road: Road, command: str, following: str) -> None:
    assert f"Next: {following}" in road.said[command].stdout


def test_everything_named_is_there(road: Road) -> None:
    written = [
        *(road.archive / name for name in ("dicom", "labels/sequences.csv", "labels/rois")),
        *(road.archive / name for name in ("truth/truth.json", "phantom.key")),
        *(road.cohort / name for name in ("frames.zarr", "annotations.json", "manifest.csv")),
        *(road.cohort / f"summary.{kind}" for kind in ("html", "json", "csv")),
        *(road.runs / "report" / f"report.{kind}" for kind in ("html", "json", "md")),
    ]
    assert [path for path in written if not path.exists()] == []
    assert str(road.runs / "report" / "report.html") in road.said["report"].stdout


def test_each_run_folder_holds_what_a_finished_run_holds(road: Road) -> None:
    found = {path.parent.name for path in road.runs.glob("*/result.json")}
    assert found == RUNS
    for name in RUNS:
        names = {path.name for path in files(road.runs / name)} - {".lock"}
        more = {"severity.json", "healthy_images.json"} if name.startswith("detector") else set()
        assert names == RUN_FILES | more, name


def test_the_report_covers_every_run(road: Road) -> None:
    report = json.loads((road.runs / "report" / "report.json").read_text())
    assert report["missing"] == []
    assert report["study"]["runs"] == {
        **{"planned": 6, "finished": 6},
        **{"failed": 0, "unfinished": 0},
    }
    by_group: dict[tuple[str, str, str, int], dict[str, list[float | None]]] = {}
    for entry in report["metrics"]:
        group = (entry["task"], entry["view"], entry["variant"], entry["size"])
        by_group.setdefault(group, {})[entry["metric"]] = entry["folds"]
    assert set(by_group) == {
        ("view", "", "", 64),
        ("detector", "LCA", "B", 64),
        ("detector", "RCA", "B", 64),
    }
    assert {"accuracy", "f1_macro", "cross_entropy"} <= set(by_group["view", "", "", 64])
    for view in ("LCA", "RCA"):
        metrics = by_group["detector", view, "B", 64]
        assert {"recall@IoU0.20/score0.50/max5", "AP@IoU0.20"} <= set(metrics)
    for metrics in by_group.values():
        assert {len(folds) for folds in metrics.values()} == {2}
    # The report's numbers are the runs' own.
    for fold, accuracy in enumerate(by_group["view", "", "", 64]["accuracy"]):
        result = json.loads((road.runs / f"view-64-fold{fold}" / "result.json").read_text())
        assert result["metrics"]["accuracy"] == pytest.approx(accuracy)


def test_mlflow_has_every_run(road: Road) -> None:
    client = MlflowClient(tracking_uri=f"sqlite:///{road.tracked}")
    (group,) = client.search_experiments(filter_string="name LIKE 'runs-%'")
    runs = client.search_runs([group.experiment_id])
    assert {run.info.run_name for run in runs} == RUNS
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        history = client.get_metric_history(run.info.run_id, "train/loss")
        logged = MetricsLog.lines(open_storage(road.runs / run.info.run_name))
        assert [point.step for point in history] == [line["step"] for line in logged]
        result = json.loads((road.runs / run.info.run_name / "result.json").read_text())
        metrics = {legal_name(name): value for name, value in result["metrics"].items()}
        assert metrics.items() - run.data.metrics.items() <= {(name, None) for name in metrics}
    assert f"mlflow ui --backend-store-uri 'sqlite:///{road.tracked}'" in road.said["cv"].stderr


def test_what_is_private_is_for_its_owner_alone(road: Road) -> None:
    private = road.folder / "cohort.private.jsonl"
    assert private.stat().st_mode & 0o077 == 0
    assert not private.is_relative_to(road.cohort)


def test_nobody_is_named_in_any_byte(road: Road) -> None:
    found = sorted({name.encode() for name in identifiers(road.archive)})
    assert len(found) > 50
    # Whole words only: seven digits may well occur within the sixteen of a number.
    alternatives = b"|".join(re.escape(name) for name in found)
    pattern = re.compile(rb"(?<![0-9A-Za-z])(?:" + alternatives + rb")(?![0-9A-Za-z])")
    one = files(road.archive / "labels" / "rois")[0]
    assert pattern.search(one.name.encode()), "the search finds what is there"

    for path in chain(files(road.cohort), files(road.runs), [road.tracked]):
        name = str(path.relative_to(road.folder)).encode()
        assert not pattern.search(name), name
        content = path.read_bytes()
        # Substrings first: it is the words' boundaries that make a search slow.
        if any(identifier in content for identifier in found):
            assert not pattern.search(content), f"{name!r} holds an identifier"
    for command, said in road.said.items():
        words = (said.stdout + said.stderr).encode()
        assert not pattern.search(words), f"{command} says {pattern.search(words)}"
