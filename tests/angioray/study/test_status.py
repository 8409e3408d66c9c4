"""What a study's folder tells by itself: the state of its runs, and curves for TensorBoard."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import google_crc32c
import pytest
import torch
from tensorboardX.proto.event_pb2 import Event

from angioray.study.executor import Executor
from angioray.study.run_folder import RunFolder
from angioray.study.status import RunStatus, print_status
from angioray.study.study import Study
from angioray.training.metrics_log import MetricsLog
from angioray.training.step import World
from angioray.training.tensorboard import EVENTS_FILE
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY


def events(folder: Path) -> list[Event]:
    """The records of an event file, each with both of its masked checksums right."""
    content, found = (folder / EVENTS_FILE).read_bytes(), []
    while content:
        size, check = struct.unpack("<QI", content[:12])
        body, body_check = content[12 : 12 + size], content[12 + size : 16 + size]
        assert check == masked(content[:8]) and struct.unpack("<I", body_check)[0] == masked(body)
        found.append(Event.FromString(body))
        content = content[16 + size :]
    return found


def masked(data: bytes) -> int:
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_tensorboard_gets_what_the_log_gets_and_no_step_twice(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    log = MetricsLog(folder.files, from_step=0)
    for step in (10, 20, 30):
        log.append({"step": step, "loss": step / 4})
    MetricsLog(folder.files, from_step=20).append({"step": 30, "loss": 1.0})
    first, *rest = events(tmp_path)
    assert first.file_version == "brain.Event:2"
    values = [(event.step, event.summary.value[0].tag) for event in rest]
    assert values == [(10, "loss"), (20, "loss"), (30, "loss")]
    assert [event.summary.value[0].simple_value for event in rest] == [2.5, 5.0, 1.0]


def test_each_run_is_told_by_what_lies_there(
    toy_cohort: Cohort,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("COLUMNS", "200")
    study = Study.plan(toy_cohort, tmp_path, TOY)
    study.freeze(toy_cohort)
    done, failed, stopped, running = study.runs[2:6]
    world = World(torch.device("cpu"))
    Executor(study, toy_cohort, world).execute(done, lambda *_: None)
    RunFolder.of(tmp_path, failed).fail("the loss is not finite\x1b[2J", "")
    MetricsLog(RunFolder.of(tmp_path, done).files, from_step=12)  # a line or two stay
    log = MetricsLog(RunFolder.of(tmp_path, stopped).files, from_step=0)
    log.append({"step": 10, "loss": 0.5, "frames_per_s": 7.0})
    with RunFolder.of(tmp_path, running).locked():
        found = {run.name: RunStatus.of(RunFolder.of(tmp_path, run)) for run in study.runs}
        print_status(str(tmp_path))
    assert found[study.runs[0].name].state == "waiting"
    assert [found[run.name].state for run in (done, failed, stopped, running)] == [
        *("done", "failed", "stopped", "running")
    ]
    assert (found[done.name].step, found[done.name].steps) == (12, 12)
    assert found[stopped.name].line["loss"] == 0.5
    said = capsys.readouterr().out
    silent = {run for run in study.runs if re.search(rf"{run.name} .*\d s", said)}
    assert silent == {failed, stopped}
    assert "1 done, 1 running, 2 waiting, 1 stopped, 1 failed" in said
    assert f"{failed.name} failed: the loss is not finite\N{REPLACEMENT CHARACTER}[2J" in said
