"""What goes to other machines and into git: the project, and nothing that lies beside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pathspec
import pytest
import yaml
from ray.autoscaler._private.command_runner import SSHCommandRunner

from tests.cluster.test_cluster_files import FILES
from tests.end_to_end.command_processes import REPOSITORY

PRIVATE = (
    *("archive/IM0001", "archive/patient 7/1.dcm", "sequences.csv", "labels of 2024.xlsx"),
    *("rois/EXAMPLE^NAME.xml", "cohort/frames.zarr/s/c/0", "cohort/manifest.csv"),
    *("cohort.private.jsonl", "cohort-2/annotations.json", "mismatches.private.csv"),
    *("phantom.key", "key", "runs/study.json", "runs-7/detector/checkpoint/model.safetensors"),
    *("predictions/predictions.json", "sweeps/sweep.json", "my study/x.json", ".env", "notes.md"),
    # Put where the project's own files are.
    *("angioray/1.dcm", "preprocess/cohort/journal.private.jsonl", "tune/sequences.csv"),
    *("preprocess/phantom.key", "angioray/frames.zarr/s/c/0", "configs/sequences.xlsx"),
)


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """The files of the project."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("these files did not come out of git")
    names = set(git(REPOSITORY, "ls-files", "-z").strip("\0").split("\0"))
    return {name for name in names if (REPOSITORY / name).exists()}


@pytest.fixture(scope="module")
def checkout(tracked: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which somebody works: archive, labels and keys lie in it."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in tracked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, folder / name, follow_symlinks=False)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "The project")
    assert set(git(folder, "ls-files", "-z").strip("\0").split("\0")) == tracked
    for name in PRIVATE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("EXAMPLE^NAME")
    return folder


def test_git_adds_nothing_that_lies_beside_the_project(checkout: Path) -> None:
    assert git(checkout, "add", "--dry-run", "--all") == ""
    (checkout / "preprocess" / "annotations" / "new_format.py").write_text("")
    added = git(checkout, "add", "--dry-run", "--all")
    assert added == "add 'preprocess/annotations/new_format.py'\n"
    (checkout / "preprocess" / "annotations" / "new_format.py").unlink()


@pytest.mark.parametrize("name", FILES)
def test_ray_up_copies_what_a_machine_needs_alone(
    checkout: Path, tracked: set[str], tmp_path: Path, name: str
) -> None:
    found = yaml.safe_load((checkout / name).read_text())
    mounts = {
        target: source for target, source in found["file_mounts"].items() if "~" not in source
    }
    assert all(source in {path.partition("/")[0] for path in tracked} for source in mounts.values())
    if shutil.which("rsync") is None:
        pytest.skip("there is no rsync here, by which `ray up` copies")
    there = synchronised(checkout, tmp_path, mounts, found["rsync_exclude"])
    assert not there & set(PRIVATE)

    assert there == needed_to_install(tracked) | {
        "Makefile",
        "configs/demo.yaml",
        "configs/paper.yaml",
        "configs/systems.yaml",
        *(f"configs/public/{name}.yaml" for name in ("arcade", "cadica", "danilov")),
        *(f"configs/public/{name}.json" for name in ("cadica", "danilov")),
    }


def test_an_image_has_what_it_needs_alone(checkout: Path, tracked: set[str]) -> None:
    """Docker reads `.dockerignore` from the root on, where git looks in every folder."""
    lines = (checkout / ".dockerignore").read_text().splitlines()
    from_root = [re.sub(r"^(!?)(?!#|\*\*)", r"\1/", line) for line in lines]
    ignored = pathspec.GitIgnoreSpec.from_lines(from_root)
    sent = {
        path
        for file in checkout.rglob("*")
        if file.is_file() and not ignored.match_file(path := str(file.relative_to(checkout)))
    }
    assert not sent & set(PRIVATE)
    assert {path for path in sent if not path.startswith(".git/")} == needed_to_install(tracked)
    copied = [
        source
        for line in (checkout / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for source in line.split()[1:-1]
    ]
    assert {path.partition("/")[0] for path in sent} == set(copied)


def needed_to_install(tracked: set[str]) -> set[str]:
    """The project's packages, and the files that an installation of them reads."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    needed = {"pyproject.toml", "requirements.lock", project["readme"], *project["license-files"]}
    packages = ("angioray/", "preprocess/", "tune/")
    return needed | {path for path in tracked if path.startswith(packages)}


def synchronised(
    checkout: Path, machine: Path, mounts: dict[str, str], exclude: list[str]
) -> set[str]:
    """Copy as Ray's updater does, to a folder in place of a machine; what is there afterwards."""
    runner: Any = SSHCommandRunner
    filters = runner._create_rsync_filter_args(None, {"rsync_exclude": exclude})
    for target, source in mounts.items():
        slash = "/" if (checkout / source).is_dir() else ""
        to = machine / target.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        command = ["rsync", "-avz", *filters, source + slash, f"{to}{slash}"]
        subprocess.run(command, cwd=checkout, check=True, capture_output=True)
    (home,) = (machine / "home").iterdir()
    return {
        str(Path(folder, file).relative_to(home / "angioray"))
        for folder, _, files in os.walk(home)
        for file in files
    }
