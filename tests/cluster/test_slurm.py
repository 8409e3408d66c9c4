"""The script for Slurm under a stand-in for `srun`: a job of two nodes that reaches its limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster_study import RUNS, ToyStudy
from tests.end_to_end.command_processes import PATIENCE_S, REPOSITORY, environment, psutil
from tests.end_to_end.run_folders import half_done, predictions

SCRIPT = REPOSITORY / "cluster-slurm.sbatch"
SRUN = """#!/bin/bash
# One process for each node of the job, as Slurm would start them there.
while [[ $1 == -* ]]; do shift; done
tasks=()
trap 'kill "${tasks[@]}"' TERM
for ((SLURM_PROCID = 0; SLURM_PROCID < SLURM_JOB_NUM_NODES; SLURM_PROCID++)); do
  export SLURM_PROCID
  "$@" &
  tasks+=($!)
done
wait
wait
"""
SCONTROL = """#!/bin/bash
echo "$@" > "$SLURM_SUBMIT_DIR/requeued"
"""


def test_the_script_asks_for_what_a_cluster_must_not_be_without() -> None:
    said = SCRIPT.read_text()
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    options = [line.split()[1] for line in said.splitlines() if line.startswith("#SBATCH ")]
    assert {"--requeue", "--signal=B:USR1@120", "--ntasks-per-node=1"} <= set(options)
    before = said[: said.index("set -euo pipefail")].splitlines()
    assert all(line.startswith("#") for line in before), "Slurm reads no option after a command"
    assert "0.0.0.0" not in said and "--include-dashboard=false" in said


class Job:
    """A job of two nodes, both of which are this machine."""

    def __init__(self, folder: Path, study: ToyStudy) -> None:
        self.folder = folder
        self.id = str(os.getpid() % 9000 + 1000)
        self.sessions = Path(f"/tmp/angioray-{self.id}")
        (folder / ".venv").symlink_to(sys.prefix)
        for name, content in (("srun", SRUN), ("scontrol", SCONTROL)):
            path = folder / "slurm" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
            path.chmod(0o755)
        mine = f"{study.cohort} --config {study.settings} --all-folds --runs {folder / 'runs'}"
        lines = SCRIPT.read_text().splitlines()
        (place,) = [n for n, line in enumerate(lines) if line.startswith("STUDY=(")]
        lines[place] = f"STUDY=({mine})"
        (folder / "job.sbatch").write_text("\n".join(lines) + "\n")

    def start(self) -> subprocess.Popen[bytes]:
        """As Slurm starts the script on the first node; its output goes on in the same file."""
        given = {
            "HOME": str(self.folder),
            "PATH": f"{self.folder / 'slurm'}:{os.environ['PATH']}",
            "SLURM_JOB_ID": self.id,
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_SUBMIT_DIR": str(self.folder),
            "SLURM_CPUS_PER_TASK": "1",
            "SLURM_MEM_PER_NODE": "8192",
        }
        own = {k: v for k, v in environment().items() if not k.startswith("RAY_")}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                ["bash", str(self.folder / "job.sbatch")],
                env={**own, **given},
                cwd="/",
                stdout=log,
                stderr=log,
            )

    def processes(self) -> list[Any]:
        """All that the job has started and that still runs."""
        return [each for each in psutil.process_iter() if _environment(each, self.id)]

    def wait_until(self, condition: Callable[[], object], *, running: Any = None) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert running is None or running.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.2)

    def said(self) -> str:
        """Its log, and Ray's."""
        return "\n".join(path.read_text() for path in self.folder.glob("*log"))


def _environment(process: Any, job: str) -> bool:
    try:
        found: dict[str, str] = process.environ()
    except psutil.Error:
        return False
    return found.get("SLURM_JOB_ID") == job and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_a_job_that_reaches_its_limit_goes_on_as_if_nothing_had_been(
    toy_study: ToyStudy, runs: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path, toy_study)
    without = job.start()
    assert without.wait() == 1 and "There is no secret" in job.said()
    (tmp_path / ".ray").mkdir()
    token = tmp_path / ".ray" / "auth_token"
    token.write_text("a" * 64)
    token.chmod(0o644)
    try:
        first = job.start()
        job.wait_until(lambda: len(half_done(runs, least_steps=10)) == 2, running=first)
        assert token.stat().st_mode & 0o777 == 0o600
        assert job.sessions.stat().st_mode & 0o777 == 0o700
        first.send_signal(signal.SIGUSR1)
        job.wait_until((tmp_path / "requeued").exists, running=first)
        assert (tmp_path / "requeued").read_text() == f"requeue {job.id}\n"
        for process in job.processes():  # as Slurm does before it starts the job anew
            process.kill()
        first.wait()
        job.wait_until(lambda: not job.processes())

        assert job.start().wait(PATIENCE_S) == 0, job.said()
        assert not job.processes()
        assert not job.sessions.exists()
    finally:
        for process in job.processes():
            process.kill()
    assert "4 of 4 runs are finished" in job.said()
    assert "2 of 4 runs at once" in job.said()
    assert predictions(runs, RUNS) == toy_study.predictions
