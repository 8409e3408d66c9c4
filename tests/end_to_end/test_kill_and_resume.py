"""A study that is stopped, killed, robbed of a worker or given a damaged cine, and goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from angioray.report.runs import ReportedStudy
from angioray.study.selection import CohortIndex
from angioray.study.settings import StudySettings
from preprocess.cohort import Cohort
from tests.end_to_end.command_processes import Watch, run
from tests.end_to_end.road import Road
from tests.end_to_end.run_folders import half_done, history, predictions, results

pytestmark = pytest.mark.slow

TRAINING_WORKER = "TrainWorker"
"""In the title of a Ray process that trains."""
DETECTORS = [f"detector-{view}-B-64-fold{fold}" for view in ("LCA", "RCA") for fold in (0, 1)]
ALL = ["view-64-fold0", "view-64-fold1", *DETECTORS]


def test_stopped_and_killed_it_ends_as_if_undisturbed(
    prepared: Road, undisturbed: Path, watch: Watch, runs: Path, tmp_path: Path
) -> None:
    study = prepared.study(runs)
    with watch.running(tmp_path, *study) as first:
        first.wait_until((runs / "study.json").exists)
        second = run(*study, cwd=tmp_path)
        assert second.returncode == 2
        assert f"Another process is running the study in {runs}." in second.stderr
        assert "Traceback" not in second.stderr
        first.wait_until(lambda: bool(results(runs) and half_done(runs, least_steps=10)))
        stopped = first.interrupt()
    assert stopped.code == 130
    assert "stopped by you. The same command continues" in stopped.err
    assert "Traceback" not in stopped.err
    before = results(runs)
    assert 1 <= len(before) < len(ALL)

    with watch.running(tmp_path, *study) as again:
        again.wait_until(
            lambda: bool(results(runs).keys() - before.keys() and half_done(runs, least_steps=10))
        )
        interrupted = half_done(runs, least_steps=10)
        told = {name: history(runs / name, up_to=up_to) for name, up_to in interrupted.items()}
        assert again.kill().code == -9
    # Killed without a word, its workers may still have completed what they were at.
    kept = results(runs)
    assert {name: kept[name] for name in before} == before

    with watch.running(tmp_path, *study) as last:
        ended = last.finish()
    assert ended.code == 0, ended.err
    assert "6 of 6 runs are finished" in ended.out
    after = results(runs)
    assert sorted(after) == sorted(ALL)
    assert {name: after[name] for name in kept} == kept, "finished runs were not repeated"
    assert told and all(told.values())
    for name, lines in told.items():
        assert history(runs / name)[: len(lines)] == lines, "it resumed, not began anew"
    for name in ALL:
        assert [line["step"] for line in history(runs / name)] == [10, 20, 30]
    assert predictions(runs, ALL) == predictions(undisturbed, ALL)
    assert not (runs / ".lanes").exists()


def test_a_killed_worker_costs_no_run(
    prepared: Road, undisturbed: Path, watch: Watch, runs: Path, tmp_path: Path
) -> None:
    study = prepared.study(runs, "--tasks", "[detector]", "--lanes.lanes", 1)
    with watch.running(tmp_path, *study) as command:
        command.wait_until(lambda: bool(half_done(runs, least_steps=10)))
        workers = [
            process
            for process in command.descendants()
            if TRAINING_WORKER in " ".join(process.cmdline())
        ]
        assert len(workers) == 1, [process.cmdline() for process in command.descendants()]
        workers[0].kill()
        ended = command.finish()
    assert ended.code == 0, ended.err
    assert "4 of 4 runs are finished" in ended.out
    for name in DETECTORS:
        assert [line["step"] for line in history(runs / name)] == [10, 20, 30]
        assert not (runs / name / "failure.json").exists()
    assert predictions(runs, DETECTORS) == predictions(undisturbed, DETECTORS)


def test_a_damaged_cine_fails_only_the_runs_that_read_it(
    prepared: Road, undisturbed: Path, watch: Watch, runs: Path, tmp_path: Path
) -> None:
    cohort = tmp_path / "cohort"
    shutil.copytree(prepared.cohort, cohort)
    index = CohortIndex.of(Cohort.open(cohort), StudySettings().view_classes)
    sequence_id = next(s for s in sorted(index.boxed) if index.view_class[s] == "LCA")
    shard = cohort / "frames.zarr" / sequence_id / "c" / "0" / "0" / "0"
    sound = shard.read_bytes()
    middle = len(sound) // 2
    shard.write_bytes(sound[:middle] + bytes([sound[middle] ^ 0xFF]) + sound[middle + 1 :])
    study = (
        *("angioray.cv", cohort, "--config", prepared.settings, "--all-folds", "--runs", runs),
        *("--tasks", "[detector]", "--lanes.lanes", 1),
    )
    left, right = DETECTORS[:2], DETECTORS[2:]

    with watch.running(tmp_path, *study) as command:
        ended = command.finish()
    assert ended.code == 2
    assert "2 of 4 runs failed; the same command tries them again" in ended.err
    assert "Traceback" not in ended.err
    for name in left:
        reason = json.loads((runs / name / "failure.json").read_text())["reason"]
        assert sequence_id in reason and "damaged" in reason
        assert f"{name}: {reason}" in ended.err
    missing = {run.name: run.reason_missing for run in ReportedStudy.open(runs).missing}
    assert sorted(missing) == left
    assert all(sequence_id in reason for reason in missing.values())
    before = results(runs)
    assert sorted(before) == right

    shard.write_bytes(sound)
    with watch.running(tmp_path, *study) as command:
        ended = command.finish()
    assert ended.code == 0, ended.err
    assert "1 of 2 runs at once" in ended.err, "only the failed ones are done again"
    after = results(runs)
    assert {name: after[name] for name in right} == before
    assert not list(runs.glob("*/failure.json"))
    assert predictions(runs, DETECTORS) == predictions(undisturbed, DETECTORS)
