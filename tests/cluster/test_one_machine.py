"""A study on one machine: no other machine reaches it, and its files are its user's alone."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster_study import ToyStudy, training_workers
from tests.end_to_end.command_processes import Watch, psutil
from tests.end_to_end.run_folders import half_done

pytestmark = pytest.mark.slow


def listening(processes: set[Any]) -> set[str]:
    """The addresses at which these processes take connections."""
    connections = [each for process in processes for each in process.net_connections("inet")]
    return {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


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
            addresses = listening(command.descendants())
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
