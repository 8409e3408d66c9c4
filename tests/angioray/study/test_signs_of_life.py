"""Signs of life of a process that takes no step: it reads frames, judges, or waits for a lock."""

import os
import threading
from pathlib import Path

import pytest
import torch

from angioray.study import run_folder
from angioray.study.executor import TASKS, Executor
from angioray.study.run_folder import RunFolder
from angioray.study.selection import CohortIndex
from angioray.study.study import Study
from angioray.training.step import World
from tests.angioray.settings import TOY
from tests.angioray.training.toy_runs import RUNS
from tests.toy_cohort import write_toy_cohort


@pytest.mark.parametrize("name", RUNS)
def test_reading_and_judging_give_signs_of_life(tmp_path: Path, name: str) -> None:
    # Of a cohort that no other process has read, which would have it over with at once.
    cohort = write_toy_cohort(tmp_path / "cohort", seed=os.getpid())
    study = Study.plan(cohort, tmp_path / "runs", TOY)
    run = study.run(name)
    steps: list[int] = []
    signs: list[int] = []  # the steps that were told of before each
    world = World(torch.device("cpu"))
    executor = Executor(study, cohort, world, alive=lambda: signs.append(len(steps)))
    executor.execute(run, lambda done, *_: steps.append(done))
    index = CohortIndex.of(cohort, TOY.view_classes)
    read = {sequence_id for sequence_id, _ in TASKS[run.task].frames(study, index, run)}
    before, after = signs.count(0), signs.count(len(steps))
    assert before == len(read), "one for each sequence that is read"
    assert after >= 1 and before + after == len(signs)


def test_who_waits_for_a_lock_gives_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "BEAT_S", 0.01)
    alive, entered = threading.Event(), threading.Event()

    def wait_for_it() -> None:
        with RunFolder(tmp_path).locked(alive.set):
            entered.set()

    with RunFolder(tmp_path).locked():
        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        assert alive.wait(10) and not entered.is_set()
    waiting.join(10)
    assert entered.is_set()
    alive.clear()
    assert not alive.wait(0.05), "who has the lock waits no more"
