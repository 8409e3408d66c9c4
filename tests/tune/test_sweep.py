"""The command for real: a sweep on local Ray, killed, stopped, robbed of a worker, and resumed."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ray.tune import ExperimentAnalysis

from angioray.study.executor import Executor
from angioray.study.run_folder import RunFolder, alone_in
from angioray.study.settings import settings_from_dict
from angioray.training.step import World
from preprocess.cohort import Cohort
from preprocess.storage import open_storage
from tests.end_to_end.command_processes import Running, Watch, psutil, run
from tests.tune.toy_sweep import ACTOR, SAMPLES, ToySweep, ended, half_done, trials
from tune.objective import Objective

pytestmark = pytest.mark.slow


def workers(command: Running) -> list[Any]:
    return [p for p in command.descendants() if ACTOR in " ".join(p.cmdline())]


def a_worker(command: Running) -> Any:
    """One of its processes that train, as soon as there is one; Ray renames them as they work."""
    found: list[Any] = []
    command.wait_until(lambda: bool(found.extend(workers(command)) or found))
    return found[0]


def test_a_sweep_ends_with_its_files_and_says_who_saw_what(toy_sweep: ToySweep) -> None:
    out, said = toy_sweep.out, toy_sweep.said[0]
    table = trials(out)
    assert [row["number"] for row in table] == list(range(SAMPLES))
    assert table[0]["origin"] == "paper's settings" and table[0]["state"] == "finished"
    assert {"stopped", "finished"} <= {row["state"] for row in table}
    assert all(row["steps"] in (10, 30, 90) for row in table if row["state"] != "failed")
    for row in table:
        assert row["score"] == (row["curve"][-1][1] if row["curve"] else None)
    with (out / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["number"]) for row in rows] == list(range(SAMPLES))
    assert table[1]["origin"] == "proposed anchors"
    assert rows[1]["detector.anchors"] == "proposed"

    document = json.loads((out / "sweep.json").read_text())
    assert document["rungs"] == [10, 30, 90] and document["metric"] == "AP@IoU0.20"
    assert document["seen"]["outer"] == {
        "patients": 6,
        "sequences": 6,
        "patients_also_inside": 0,
    }
    sets = {each["name"]: each["best_possible_recall"]["0.2"] for each in document["anchor_sets"]}
    assert sets.keys() == {"small", "large", "proposed"} and sets["proposed"] >= sets["small"]
    (experiment,) = (out / "tune").iterdir()
    known = ExperimentAnalysis(str(experiment)).trials
    assert {str(trial) for trial in known} == {f"{n:03d}" for n in range(SAMPLES)}
    by_tune = {int(str(trial)): trial.last_result for trial in known}
    assert [by_tune[row["number"]]["score"] for row in table] == [
        row["score"] or 0 for row in table
    ]
    assert list((experiment / "001").glob("events.out.tfevents*")), "TensorBoard reads them"
    assert "6 sequences of 6 patients, was seen by none." in said.stdout
    assert f"Next: python -m angioray.cv {toy_sweep.cohort} --config" in said.stdout
    recall = said.stderr.index("Best possible recall of")
    assert recall < said.stderr.index("trials at once"), "before any resource is asked for"
    assert "6 of 6 trials ended" in said.stderr and "Traceback" not in said.stderr
    assert "2 of 6 trials at once" in said.stderr or "1 of 6 trials at once" in said.stderr

    (best,) = (row for row in table if row["number"] == best_number(table))
    settings = yaml.safe_load((out / "best.yaml").read_text())
    assert settings["detector"]["focal_alpha"] == best["params"]["detector.focal_alpha"]
    assert settings["tasks"] == ["detector"] and settings["detector"]["variants"] == ["B"]
    plan = run(
        *("angioray.cv", toy_sweep.cohort, "--config", out / "best.yaml", "--plan"),
        cwd=toy_sweep.folder,
    )
    assert plan.returncode == 0, plan.stderr
    assert "2 of 2 runs to do" in plan.stdout, "fold 0 of each view"


def best_number(table: list[dict[str, Any]]) -> int:
    finished = [row for row in table if row["state"] == "finished"]
    best = max(finished, key=lambda row: (row["score"], -row["number"]))
    return int(best["number"])


def test_killed_and_stopped_it_goes_on(toy_sweep: ToySweep, watch: Watch, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    command = toy_sweep.command(out)
    with alone_in(out, what="sweep"):
        second = run(*command, cwd=tmp_path)
        assert second.returncode == 2
        assert f"Another process is running the sweep in {out}." in second.stderr
    with watch.running(tmp_path, *command) as first:
        # Before the other process is set up: the gate opens all the same.
        a_worker(first).kill()
        first.wait_until(lambda: bool(half_done(out)))
        a_worker(first).kill()
        first.wait_until(lambda: bool(ended(out)))
        stopped = first.interrupt()
    assert stopped.code == 130
    assert "stopped by you. The same command with --resume continues" in stopped.err
    assert "lost its process, and goes on in another" in stopped.err
    assert "Traceback" not in stopped.err
    before = ended(out)
    assert before and len(before) < SAMPLES

    without = run(*command, cwd=tmp_path)
    assert without.returncode == 2 and "the same command with --resume" in without.stderr

    with watch.running(tmp_path, *command, "--resume") as again:
        again.wait_until(lambda: len(ended(out)) > len(before) and bool(half_done(out)))
        assert again.kill().code == -9
    killed = curves(out)
    assert before.items() <= ended(out).items()
    with watch.running(tmp_path, *command, "--resume", "--samples", SAMPLES + 1) as last:
        assert last.finish().code == 0, last.ended().err
    table = trials(out)
    assert before.items() <= ended(out).items() and len(ended(out)) == len(table) == SAMPLES + 1
    for row in table:
        known = killed.get(row["number"], [])
        assert row["curve"][: len(known)] == known, "no score was lost, nor made again otherwise"
    assert len({json.dumps(row["params"], sort_keys=True) for row in table}) == SAMPLES + 1
    assert (out / "best.yaml").is_file() and "--resume" not in last.ended().err

    over = run(*command, "--resume", "--samples", SAMPLES + 1, cwd=tmp_path)
    assert over.returncode == 0 and "Next: python -m angioray.cv" in over.stdout
    other = run(*command, "--resume", "--search-seed", 1, cwd=tmp_path)
    assert other.returncode == 2 and "seed was 0 and is now 1" in other.stderr


def test_an_exact_sweep_is_the_same_on_one_process_as_on_two_with_a_kill_between(
    toy_sweep: ToySweep, watch: Watch, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    few = ("--exact", "--samples", 3)
    tracked = ("--lanes.lanes", 1, "--track", "mlflow")
    said = run(*toy_sweep.command(one, *few, *tracked), cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    command = toy_sweep.command(two, *few)
    with watch.running(tmp_path, *command) as first:
        first.wait_until(lambda: bool(ended(two)) and bool(half_done(two)))
        assert first.kill().code == -9
    with watch.running(tmp_path, *command, "--resume") as again:
        assert again.finish().code == 0, again.ended().err
    assert trials(one) == trials(two)
    assert {row["state"] for row in trials(one)} <= {"finished", "failed"}, "none was stopped"

    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        ends = dict(database.execute("select name, status from runs").fetchall())
    states = {"finished": "FINISHED", "failed": "FAILED"}
    assert ends == {f"{row['number']:03d}": states[row["state"]] for row in trials(one)}


def test_a_lost_node_costs_no_trial(
    cluster: Any, toy_sweep: ToySweep, watch: Watch, tmp_path: Path
) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    out = tmp_path / "sweep"
    trial = RunFolder(open_storage(out / "trials") / "000")
    command = toy_sweep.command(out, "--address", cluster.address)
    with watch.running(tmp_path, *command) as sweep:
        sweep.wait_until(lambda: "000" in half_done(out))
        # At its next rung the trial's process waits for the lock.
        with trial.locked():
            sweep.wait_until(lambda: bool(waiting_for(out / "trials" / "000")))
            (worker,) = waiting_for(out / "trials" / "000")
            raylet = " ".join(worker.parent().cmdline())
            (lost,) = (node for node in nodes if node.raylet_socket_name in raylet)
            cluster.remove_node(lost, allow_graceful=False)
            sweep.wait_until(lambda: "trial 000 lost its process" in sweep.ended().err)
        end = sweep.finish()
    assert end.code == 0, end.err
    assert "trial 000 lost its process, and goes on in another" in end.err
    assert len(ended(out)) == SAMPLES
    assert trials(out)[0]["curve"] == trials(toy_sweep.out)[0]["curve"], "exact to the bit"


def test_a_process_that_stands_still_is_ended_and_its_trial_goes_on(
    toy_sweep: ToySweep, watch: Watch, tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    command = toy_sweep.command(out, "--lanes.stuck_after_s", 20)
    with watch.running(tmp_path, *command) as sweep:
        sweep.wait_until(lambda: "000" in half_done(out))
        a_worker(sweep).suspend()
        end = sweep.finish()
    assert end.code == 0, end.err
    assert "was stuck, without progress for" in end.err
    assert len(ended(out)) == SAMPLES
    assert trials(out)[0]["curve"] == trials(toy_sweep.out)[0]["curve"]


def curves(out: Path) -> dict[int, Any]:
    """The scores of each trial so far, by its number."""
    files = (json.loads(path.read_text()) for path in out.glob("trials/*/trial.json"))
    return {document["number"]: document["curve"] for document in files}


def waiting_for(folder: Path) -> list[Any]:
    """The workers among this process's descendants that have a file of a locked folder open."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            open_in = {Path(file.path).parent for file in process.open_files()}
            if folder in open_in and ACTOR in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_nested_sweeps_judge_each_fold_by_what_none_has_seen(
    toy_sweep: ToySweep, toy_cohort: Cohort, tmp_path: Path
) -> None:
    (tmp_path / "view.yaml").write_text(
        "view.optimiser.learning_rate: {low: 1.0e-5, high: 1.0e-1, log: true}\n"
    )
    words = (toy_cohort.folder, "--config", toy_sweep.folder / "toy.yaml")
    said = run(
        *("tune.sweep", *words, "--task", "view", "--space", tmp_path / "view.yaml"),
        *("--samples", 3, "--nested", "--lanes.lanes", 1, "--out", tmp_path / "nested"),
        cwd=tmp_path,
    )
    assert said.returncode == 0, said.stderr
    document = json.loads((tmp_path / "nested" / "nested.json").read_text())
    assert [fold["fold"] for fold in document["folds"]] == [0, 1]
    for fold in document["folds"]:
        result = tmp_path / "nested" / "base" / f"view-32-fold{fold['fold']}" / "result.json"
        assert json.loads(result.read_text())["metrics"]["accuracy"] == fold["base"]
        assert (tmp_path / "nested" / f"fold{fold['fold']}" / "best.yaml").is_file()
    values = [fold["base"] for fold in document["folds"]]
    assert document["base"]["mean"] == pytest.approx(sum(values) / 2)
    assert "its validation part was seen once" in said.stdout
    report = run("angioray.report", tmp_path / "nested" / "base", cwd=tmp_path)
    assert report.returncode == 0, report.stderr


def test_a_population_killed_on_the_way_ends_with_a_course_that_a_study_can_follow(
    toy_sweep: ToySweep, toy_cohort: Cohort, watch: Watch, tmp_path: Path
) -> None:
    (tmp_path / "rate.yaml").write_text(
        "detector.optimiser.learning_rate: {low: 1.0e-4, high: 1.0, log: true}\n"
    )
    words = (toy_cohort.folder, "--config", toy_sweep.folder / "toy.yaml")
    what = (
        "--detector-view",
        "RCA",
        "--space",
        tmp_path / "rate.yaml",
        "--search",
        "pbt",
        "--samples",
        5,
    )
    command = (
        *("tune.sweep", *words, *what, "--population.intervals", 3),
        *("--population.share", 0.4),
    )
    whole, out = tmp_path / "whole", tmp_path / "killed"
    said = run(*command, "--out", whole, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "5 finished" in said.stderr and (whole / "report.html").is_file()

    def took_over_twice() -> bool:
        paths = out.glob("trials/*/trial.json")
        return any(json.loads(path.read_text())["rates"][-1][0] > 0.5 for path in paths)

    with watch.running(tmp_path, *command, "--out", out) as first:
        first.wait_until(took_over_twice)
        assert first.kill().code == -9
    with watch.running(tmp_path, *command, "--out", out, "--resume", "--lanes.lanes", 1) as again:
        assert again.finish().code == 0, again.ended().err
    table = trials(out)
    assert table == trials(whole)
    assert [row["state"] for row in table] == ["finished"] * 5
    assert [step for step, _ in table[0]["curve"]] == [30, 60, 90]
    fewer = run(*command, "--out", out, "--resume", "--samples", 6, cwd=tmp_path)
    assert fewer.returncode == 2 and "samples was 5 and is now 6" in fewer.stderr

    # The courses are what Ray Tune's own log of who took over says, line by line.
    (log,) = (whole / "tune").glob("*/pbt_global.txt")
    name = "detector.optimiser.learning_rate"
    courses = [[[0.0, row["params"][name]]] for row in table]
    for line in log.read_text().splitlines():
        heir, parent, *steps, _, new = json.loads(line)
        heir, parent = (int(tag.partition("_")[0]) for tag in (heir, parent))
        if heir != 0:  # the settings as they are take over from nobody
            courses[heir] = [*courses[parent], [max(steps) / 3, new[name]]]
    assert [row["rates"] for row in table] == courses
    assert max(len(course) for course in courses) > 1 and len(courses[0]) == 1

    # What a member ends with is what its course of learning rates gives from the start.
    heir = next(row for row in table if len(row["rates"]) > 1)
    settings = settings_from_dict(yaml.safe_load((toy_sweep.folder / "toy.yaml").read_text()))
    (_, rate), *changes = heir["rates"]
    rule = replace(
        settings.detector.optimiser,
        learning_rate=rate,
        changes=tuple((share, then) for share, then in changes),
    )
    objective = Objective.of(
        toy_cohort,
        replace(settings, detector=replace(settings.detector, optimiser=rule)),
        task="detector",
        view="RCA",
    )
    study = objective.study(objective.base, tmp_path / "alone", str(toy_cohort.folder))
    torch.set_num_threads(1)  # as a lane has it
    executor = Executor(study, toy_cohort, World(torch.device("cpu")))
    found = executor.execute(study.runs[0], lambda *_: None)
    assert round(found[objective.metric] or 0.0, 6) == heir["score"]
    weights = "weights-000090.safetensors"
    alone = tmp_path / "alone" / study.runs[0].name / "checkpoint" / weights
    member = out / "trials" / f"{heir['number']:03d}" / "checkpoint" / weights
    assert alone.read_bytes() == member.read_bytes()
