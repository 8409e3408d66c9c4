"""`ray up` for real: three hosts over ssh, a study as a job, and one of them loses its power."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from preprocess.cohort import Cohort
from tests.cluster.cluster_study import RUNS, SETTINGS, ToyStudy, undisturbed
from tests.end_to_end.command_processes import PATIENCE_S, REPOSITORY, psutil, run
from tests.end_to_end.run_folders import half_done, predictions

pytestmark = pytest.mark.slow

HOSTS = Path(__file__).with_name("hosts.sh")
COUNT = 3
HEAD = "10.77.0.11"
THERE = "/tmp/home"
"""Root's home on each host."""


@dataclass(frozen=True)
class Lab:
    """The hosts, and the machine in their network that commands them."""

    folder: Path

    @property
    def shared(self) -> Path:
        """What all hosts see under the same path."""
        return self.folder / "shared"

    def hosts(self, *words: object) -> None:
        """``hosts.sh`` with the lab's folder as its second word."""
        first, *rest = map(str, words)
        command = ["bash", str(HOSTS), first, str(self.folder), *rest]
        # Not captured: what runs on in the hosts would hold the pipe.
        with (self.folder / "hosts.log").open("a") as log:
            subprocess.run(command, stdout=log, stderr=log, check=True)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in the hosts' network, by somebody with a home of their own."""
        home = self.folder / "launcher"
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        environment |= {
            "HOME": str(home),
            "RAY_TMPDIR": str(home / "tmp"),
            "RAY_AUTH_MODE": "token",
            "RAY_UP_enable_autoscaler_v2": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        inside = ["ip", "netns", "exec", "angioray-lab", *words]
        return subprocess.run(
            inside, env=environment, cwd=REPOSITORY, capture_output=True, text=True
        )

    def ray(self, *words: str) -> str:
        """``ray WORDS``, which must succeed; what it said."""
        said = self.command(str(Path(sys.executable).with_name("ray")), *words)
        assert said.returncode == 0, f"{words}\n{said.stdout}\n{said.stderr}"
        return said.stdout

    def is_at_work(self, n: int, runs: Path) -> bool:
        """Whether a process of a host has a run's lock."""
        host = psutil.Process(int((self.folder / f"n{n}.pid").read_text()))
        for process in host.children(recursive=True):
            with suppress(psutil.Error):
                for file in map(Path, (each.path for each in process.open_files())):
                    if file.name == ".lock" and file.parent.name in half_done(runs, least_steps=1):
                        return True
        return False

    def wait_for_work(self, runs: Path, logs: Callable[[], str]) -> int:
        """The first host other than the head that has a run."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for n in range(2, COUNT + 1):
                if self.is_at_work(n, runs):
                    return n
            time.sleep(0.2)
        raise AssertionError(f"no host but the head had work:\n{logs()}")

    def cluster_file(self) -> Path:
        """The project's file, with these hosts in it, and the environment linked, not installed."""
        found = yaml.safe_load((REPOSITORY / "cluster-onprem.yaml").read_text())
        workers = [f"10.77.0.1{n}" for n in range(2, COUNT + 1)]
        found["provider"] |= {"head_ip": HEAD, "worker_ips": workers}
        found["auth"] = {"ssh_user": "root", "ssh_private_key": str(self.folder / "id")}
        found["file_mounts"] = {
            target.replace("/home/angioray", THERE): str(REPOSITORY / source)
            for target, source in found["file_mounts"].items()
        } | {f"{THERE}/.ray/auth_token": str(self.folder / "launcher" / ".ray" / "auth_token")}
        found["setup_commands"] = [
            f"ln -sfn {sys.prefix} ~/angioray/.venv",
            "grep -q bashrc ~/.bash_profile 2>/dev/null || echo '. ~/.bashrc' >> ~/.bash_profile",
        ]
        found["initialization_commands"].insert(0, "touch ~/.bashrc && echo >> ~/.bashrc")
        for key in ("head_start_ray_commands", "worker_start_ray_commands"):
            small = " --num-cpus=1 --object-store-memory=150000000"
            found[key] = [f"{c}{small}" if "ray start" in c else c for c in found[key]]
        path = self.folder / "cluster.yaml"
        path.write_text(yaml.safe_dump(found))
        return path


@pytest.fixture
def toy_study(toy_cohort: Cohort, tmp_path: Path) -> ToyStudy:
    """Long enough that the head's lane cannot end it before the other hosts' lanes have started."""
    detector = replace(SETTINGS.detector, steps=300)
    return undisturbed(toy_cohort, tmp_path, replace(SETTINGS, detector=detector))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Three hosts that answer on ssh; gone afterwards."""
    if not Path("/proc/self/ns/net").exists():
        pytest.skip("hosts are made of Linux namespaces, and this is no Linux")
    if Path(sys.prefix).is_relative_to("/tmp"):
        pytest.skip("hosts have a /tmp of their own, and this environment lies in the machine's")
    lacking = subprocess.run(["bash", str(HOSTS), "need"], capture_output=True, text=True)
    if lacking.stdout.strip():
        pytest.skip(f"no hosts can be made here: {lacking.stdout.strip()}")
    with tempfile.TemporaryDirectory(prefix="angioray-lab-") as folder:
        made = Lab(Path(folder))
        try:
            made.hosts("up", COUNT)
            yield made
        finally:
            made.hosts("down")


def test_a_study_survives_a_host_that_loses_its_power(lab: Lab, toy_study: ToyStudy) -> None:
    lab.ray("get-auth-token", "--generate")
    file = str(lab.cluster_file())
    subprocess.run(["cp", "-r", str(toy_study.cohort), str(lab.shared / "cohort")], check=True)
    (lab.shared / "toy.yaml").write_text(toy_study.settings.read_text())
    wait_until(lambda: all(answers(lab, n) for n in range(1, COUNT + 1)))
    lab.ray("up", "-y", "--no-config-cache", file)
    wait_until(lambda: alive(lab, file) == COUNT)
    sessions = "stat -c 'mode %a' /tmp/angioray-root && ls /tmp/angioray-root/ray"
    said = lab.ray("exec", "--no-config-cache", file, sessions)
    assert "mode 700" in said and "session_latest" in said
    assert lab.command("curl", "-sf", f"http://{HEAD}:8265/api/version").returncode != 0, (
        "the dashboard is for the head alone"
    )

    runs = lab.shared / "runs"
    study = f"{lab.shared}/cohort --config {lab.shared}/toy.yaml --all-folds --runs {runs}"
    job = f"cd ~/angioray && python -m angioray.cv {study} --address auto"
    submit = "ray job submit --address http://127.0.0.1:8265 --submission-id study --no-wait"
    lab.ray("exec", "--no-config-cache", file, f'{submit} -- bash -lc "{job}"')
    lab.hosts("kill", lab.wait_for_work(runs, lambda: job_logs(lab, file)))
    wait_until(lambda: ended(lab, file))
    assert "Job 'study' succeeded" in job_status(lab, file), job_logs(lab, file)
    assert predictions(runs, RUNS) == toy_study.predictions
    said = run("angioray.report", runs, cwd=lab.shared)
    assert said.returncode == 0, said.stderr
    report = json.loads((runs / "report" / "report.json").read_text())
    assert report["missing"] == []
    lab.ray("down", "-y", file)


def wait_until(condition: object) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.2)


def answers(lab: Lab, n: int) -> bool:
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    key = ["-i", str(lab.folder / "id"), "-o", "BatchMode=yes"]
    return lab.command("ssh", *options, *key, f"root@10.77.0.1{n}", "true").returncode == 0


def alive(lab: Lab, file: str) -> int:
    return lab.ray("exec", "--no-config-cache", file, "ray list nodes --format json").count(
        '"state": "ALIVE"'
    )


def ended(lab: Lab, file: str) -> bool:
    said = job_status(lab, file)
    return "Job 'study' succeeded" in said or "Job 'study' failed" in said


def job_status(lab: Lab, file: str) -> str:
    asked = "ray job status --address http://127.0.0.1:8265 study"
    return lab.ray("exec", "--no-config-cache", file, asked)


def job_logs(lab: Lab, file: str) -> str:
    asked = "ray job logs --address http://127.0.0.1:8265 study"
    return lab.ray("exec", "--no-config-cache", file, asked)
