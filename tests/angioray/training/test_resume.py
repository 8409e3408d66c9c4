"""Ended at any step whatever, a run goes on to the same bits; failures are told in sentences."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from angioray.study.executor import Executor, reason_of
from angioray.study.study import Study
from angioray.training.batches import Batch, Batches
from angioray.training.step import World
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY

TAKE = Batches.take


class EndedError(Exception):
    """Stands for whatever ends a process."""


def execute(cohort: Cohort, folder: Path, name: str) -> Path:
    torch.set_num_threads(1)
    study = Study.plan(cohort, folder, TOY)
    study.freeze(cohort)
    world = World(torch.device("cpu"))
    Executor(study, cohort, world).execute(study.run(name), lambda *_: None)
    return folder / name


def ending_at(monkeypatch: pytest.MonkeyPatch, last: int | None) -> list[int]:
    """Batches raise when they are asked for that step; the steps that were begun."""
    begun: list[int] = []

    def taken(batches: Batches, step: int, **rest: Any) -> Batch:
        begun.append(step)
        if step == last:
            raise EndedError
        return TAKE(batches, step, **rest)

    monkeypatch.setattr(Batches, "take", taken)
    return begun


def outcome(run: Path) -> tuple[dict[str, torch.Tensor], bytes]:
    state = json.loads((run / "checkpoint" / "state.json").read_text())
    weights = load_file(run / "checkpoint" / state["files"]["weights"])
    return weights, (run / "predictions.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["view-32-fold0", "detector-RCA-B-64-fold1"])
def test_ended_at_any_step_it_goes_on_to_the_same_bits(
    toy_cohort: Cohort, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = ending_at(monkeypatch, None)
    weights, predictions = outcome(execute(toy_cohort, tmp_path / "undisturbed", name))
    steps = len(begun)
    assert begun == list(range(steps)) and steps >= 9
    for last in range(steps):
        runs = tmp_path / f"ended{last}"
        ending_at(monkeypatch, last)
        with pytest.raises(EndedError):
            execute(toy_cohort, runs, name)
        begun = ending_at(monkeypatch, None)
        found, found_predictions = outcome(execute(toy_cohort, runs, name))
        interval = TOY.checkpoint_every
        assert begun[0] == last // interval * interval, "it lost at most one interval"
        assert found_predictions == predictions
        assert weights.keys() == found.keys()
        assert all(torch.equal(weights[key], found[key]) for key in weights)


def test_a_gpu_without_room_is_said_with_what_to_do() -> None:
    said = reason_of(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore"))
    assert "too small for it (CUDA out of memory. Tried to allocate 2 GiB)" in said
    assert "`--lanes.gpus 1`" in said


def test_a_full_disk_is_said_with_its_file() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/runs/a/weights")
    assert reason_of(full) == "the disk is full (/runs/a/weights). Make room."
    assert reason_of(ValueError("no boxes")) == "ValueError: no boxes"
