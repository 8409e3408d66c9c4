"""A study on one machine: no other machine reaches it, and its files are its user's alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster.cluster_study import ToyStudy, training_workers
from tests.end_to_end.command_processes import Watch
from tests.end_to_end.run_folders import half_done
from tests.listening import addresses_of, is_loopback

pytestmark = pytest.mark.slow


def test_a_study_on_one_machine_is_its_users_alone_however_long_its_tmpdir(
    toy_study: ToyStudy,
    watch: Watch,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path.joinpath(*["node_local_scratch_of_a_batch_system"] * 3)
    temporary.mkdir(parents=True)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    study = toy_study.command(runs, "--lanes.lanes", 1, "--lanes.ranks", 2)
    umask = os.umask(0)
    try:
        with watch.running(tmp_path, *study) as command:
            command.wait_until(lambda: bool(half_done(runs, least_steps=10)))
            ranks = training_workers(command)
            addresses = addresses_of(command.descendants())
            ended = command.finish()
    finally:
        os.umask(umask)
    assert ended.code == 0, ended.err
    assert len(ranks) == 2
    assert addresses and all(map(is_loopback, addresses)), addresses
    token = tmp_path / "home" / ".ray" / "auth_token"
    assert [path.stat().st_mode & 0o777 for path in (token, token.parent)] == [0o600, 0o700]
    sessions = Path(f"/tmp/angioray-{os.getuid()}")
    assert sessions.stat().st_mode & 0o777 == 0o700
