"""Cohort and runs in an object store: killed, and taken up on a machine that was never here."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moto.core.authorization import enable_iam_authentication

from angioray.cv import cv
from angioray.report.__main__ import report
from angioray.report.writing import write_report
from angioray.study.status import print_status
from preprocess.console.command_line import run as run_command
from preprocess.storage import open_storage
from tests.cluster.cluster_study import RUNS, ToyStudy
from tests.end_to_end.command_processes import Watch
from tests.s3_server import S3

pytestmark = pytest.mark.slow


def finished(s3: S3) -> dict[str, bytes]:
    """The result of every finished run."""
    names = [key for key in s3.keys("runs") if key.endswith("/result.json")]
    return {name.partition("/")[0]: s3.get(f"runs/{name}") for name in names}


def half_done(s3: S3) -> dict[str, int]:
    """Runs with a checkpoint of 10 steps or more and no result, and the steps in it."""
    names = [key for key in s3.keys("runs") if key.endswith("/checkpoint/state.json")]
    steps = {n.partition("/")[0]: json.loads(s3.get(f"runs/{n}"))["step"] for n in names}
    return {n: steps[n] for n in steps.keys() - finished(s3).keys() if steps[n] >= 10}


def history(s3: S3, name: str) -> list[dict[str, float]]:
    """The lines of a run's ``metrics.jsonl``; they hold timings of their own."""
    return [json.loads(line) for line in s3.get(f"runs/{name}/metrics.jsonl").splitlines()]


def test_killed_and_taken_up_elsewhere_it_ends_as_on_a_disk(
    toy_study: ToyStudy, watch: Watch, s3: S3, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort, runs = s3.upload(toy_study.cohort, "cohort"), s3.uri("runs")
    study = replace(toy_study, cohort=cohort).command(runs, "--lanes.lanes", 2)
    with watch.running(tmp_path, *study) as first:
        first.wait_until(lambda: "study.json" in s3.keys("runs"))
        with pytest.raises(BlockingIOError, match=r"process \d+ on "):
            open_storage(runs).locked(wait=False).__enter__()
        told: dict[str, list[dict[str, float]]] = {}

        def one_is_through() -> bool:
            for name, step in half_done(s3).items():
                told[name] = history(s3, name)[: step // 10]
            return bool(finished(s3)) and any(told.values())

        first.wait_until(one_is_through)
        assert first.kill().code == -9
    kept = finished(s3)
    assert 1 <= len(kept) < len(RUNS)
    print_status(runs)
    assert f"{len(kept)} done, " in capsys.readouterr().out

    shutil.rmtree(s3.cache)
    with watch.running(tmp_path, *study) as again:
        ended = again.finish()
    assert ended.code == 0, ended.err
    assert f"4 of 4 runs are finished in {runs}." in ended.out
    after = finished(s3)
    assert sorted(after) == RUNS
    assert {name: after[name] for name in kept} == kept, "finished runs were not repeated"
    for name, lines in told.items():
        assert history(s3, name)[: len(lines)] == lines, "it resumed, not began anew"
    found = {name: s3.get(f"runs/{name}/predictions.json") for name in RUNS}
    assert found == toy_study.predictions
    for name in RUNS:
        assert len(s3.keys(f"runs/{name}/checkpoint")) == 2, "state and the last weights alone"
    assert [k for k in s3.keys("runs") if any(w in k for w in ("lock", ".lanes", ".seen"))] == []

    page = write_report(runs)
    assert page.read_bytes() == s3.get("runs/report/report.html")
    there = json.loads(s3.get("runs/report/report.json"))
    assert there["study"]["runs"]["finished"] == len(RUNS)
    # The same results on a disk, beside the same cohort on a disk.
    for key in s3.keys("runs"):
        path = tmp_path / "runs" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            s3.get(f"runs/{key}").replace(cohort.encode(), str(toy_study.cohort).encode())
        )
    write_report(tmp_path / "runs")
    here = json.loads((tmp_path / "runs" / "report" / "report.json").read_bytes())
    assert there["metrics"] == here["metrics"]
    assert there["metrics"]


def test_what_is_wrong_with_a_store_is_a_sentence(
    s3: S3, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = s3.uri("nothing")
    commands: list[tuple[Any, list[str], str]] = [
        (cv, ["s3://no-such/cohort"], "There is no bucket for s3://no-such"),
        (cv, [nothing], f"{nothing} is no cohort"),
        (report, [nothing], f"{nothing} is no runs folder"),
        (cv, ["--status", nothing], f"{nothing} holds no study"),
    ]
    for command, argv, expected in commands:
        with pytest.raises(SystemExit):
            run_command(command, prog="angioray", argv=argv)
        said = capsys.readouterr().err
        assert said.startswith(f"angioray: {expected}")
        assert said.count("\n") == 1
    with enable_iam_authentication(), pytest.raises(SystemExit):
        run_command(cv, prog="angioray", argv=["--status", nothing])
    assert "there are no credentials here, or they have no right" in capsys.readouterr().err
