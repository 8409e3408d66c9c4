"""The files for Kubernetes and Docker: what a cluster must not lack, and what an image has."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.command_processes import REPOSITORY


@pytest.fixture(scope="module")
def kubernetes() -> dict[str, Any]:
    """The documents of the file, by their kind."""
    found = yaml.safe_load_all((REPOSITORY / "cluster-kubernetes.yaml").read_text())
    return {document["kind"]: document for document in found}


@pytest.fixture(scope="module")
def pods(kubernetes: dict[str, Any]) -> dict[str, Any]:
    """The specifications of the three kinds of pods."""
    job = kubernetes["RayJob"]["spec"]
    cluster = job["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    return {
        "submitter": job["submitterPodTemplate"]["spec"],
        "head": cluster["headGroupSpec"]["template"]["spec"],
        "worker": workers["template"]["spec"],
    }


def dockerfile() -> list[list[str]]:
    """Its instructions, each as words."""
    text = (REPOSITORY / "Dockerfile").read_text()
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [shlex.split(line) for line in lines if line.strip() and not line.startswith("#")]


def test_the_workers_come_when_runs_wait_and_go(kubernetes: dict[str, Any]) -> None:
    cluster = kubernetes["RayJob"]["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert workers["minReplicas"] == workers["replicas"] == 0 < workers["maxReplicas"]
    assert "--lanes.grow 8" in kubernetes["RayJob"]["spec"]["entrypoint"]
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    assert kubernetes["RayJob"]["spec"]["shutdownAfterJobFinishes"] is True


def test_ray_asks_for_its_secret_and_pods_have_the_least_rights(
    kubernetes: dict[str, Any], pods: dict[str, Any]
) -> None:
    cluster = kubernetes["RayJob"]["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    rights = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert cluster["autoscalerOptions"]["securityContext"] == rights
    (user,) = [words[1] for words in dockerfile() if words[0] == "USER"]
    for kind, pod in pods.items():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert (
            f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == user
        )
        assert pod["automountServiceAccountToken"] is (kind == "head")
        assert [container["securityContext"] for container in pod["containers"]] == [rights]


def test_head_and_workers_see_the_volume_and_run_the_same(
    kubernetes: dict[str, Any], pods: dict[str, Any]
) -> None:
    assert len({pod["containers"][0]["image"] for pod in pods.values()}) == 1
    head, worker = pods["head"]["containers"][0], pods["worker"]["containers"][0]
    assert head["volumeMounts"] == worker["volumeMounts"]
    assert pods["head"]["volumes"] == pods["worker"]["volumes"]
    claim = kubernetes["PersistentVolumeClaim"]
    assert pods["head"]["volumes"][0]["persistentVolumeClaim"] == {
        "claimName": claim["metadata"]["name"]
    }
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert worker["resources"]["limits"] == worker["resources"]["requests"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    version = kubernetes["RayJob"]["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"\nray=={version} " in (REPOSITORY / "requirements.lock").read_text()


def test_the_image_has_the_pinned_packages_and_no_root() -> None:
    found = dockerfile()
    kinds = [words[0] for words in found]
    assert set(kinds) == {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "ENTRYPOINT"}
    assert kinds[0] == "FROM" and kinds.index("USER") > max(
        place for place, kind in enumerate(kinds) if kind == "RUN"
    )
    assert re.fullmatch(r"python:3\.1[123]-slim-bookworm", found[0][1])
    installed = [words for words in found if words[:3] == ["RUN", "pip", "install"]]
    assert all("--no-deps" in words for words in installed)
    assert installed[0][-3:] == ["--require-hashes", "--requirement", "requirements.lock"]


def test_what_is_copied_into_the_image_installs(tmp_path: Path) -> None:
    copied = [words[1:] for words in dockerfile() if words[0] == "COPY"]
    image = tmp_path / "image"
    for *sources, target in copied:
        for source in sources:
            there = image / target / ("" if target != "./" else source)
            there.parent.mkdir(parents=True, exist_ok=True)
            if (REPOSITORY / source).is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(REPOSITORY / source, there, ignore=ignore)
            else:
                shutil.copy2(REPOSITORY / source, there)
    build = "import sys, setuptools.build_meta as build; build.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=image, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"angioray/cv.py", "angioray/configs/paper.yaml", "preprocess/console/page.css"} <= {
        *names
    }
    config = re.search(
        r"--config /opt/angioray/(\S+)", (REPOSITORY / "cluster-kubernetes.yaml").read_text()
    )
    assert config and (image / config[1]).is_file()
