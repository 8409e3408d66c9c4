"""Cine after cine: each once, whatever happens, and the same in any number of processes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from angioray.predict import predict
from angioray.study.held_out import HeldOut
from angioray.study.study import Study
from preprocess.cohort import Cohort
from preprocess.console.command_line import run as run_command
from tests.end_to_end.command_processes import run
from tests.killing import kill_when
from tests.toy_cohort import write_toy_cohort


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return write_toy_cohort(tmp_path_factory.mktemp("new") / "cohort", patients=2, prefix="new")


def command(films: Cohort, runs: Path, out: Path, *options: str) -> list[str]:
    return [str(films.folder), "--runs", str(runs), "--out", str(out), *options]


def written(out: Path) -> dict[str, bytes]:
    """The files of an output, by their names."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def undisturbed(films: Cohort, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run_command(predict, prog="predict", argv=command(films, runs, out, "--processes", "1"))
    return out


def test_several_processes_find_the_same(
    films: Cohort, runs: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_command(predict, prog="predict", argv=command(films, runs, out, "--processes", "2"))
    assert written(out) == written(undisturbed)


def test_a_finished_cine_is_not_looked_at_again_unless_what_decides_has_changed(
    films: Cohort,
    runs: Path,
    undisturbed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, study = tmp_path / "out", tmp_path / "runs"
    shutil.copytree(undisturbed, out)
    shutil.copytree(runs, study)
    (tmp_path / "cohort").symlink_to(runs.parent / "cohort")
    shutil.copy(runs.parent / "cohort.private.jsonl", tmp_path)
    first, *others = films.sequences
    (out / "cines" / f"{first}.json").unlink()
    (out / "cines" / "S-gone.html").write_text("of a cine that is no longer there")

    def looked_at(*options: str) -> set[str]:
        """The cines that one more command looks at."""
        before = {path: path.stat().st_ino for path in (out / "cines").iterdir()}
        words = command(films, study, out, "--processes", "1", *options)
        run_command(predict, prog="predict", argv=words)
        after = {path: path.stat().st_ino for path in (out / "cines").iterdir()}
        return {path.stem for path in after if after[path] != before.get(path)}

    assert looked_at() == {first}
    assert f"{len(others)} of {len(others) + 1} cines were finished" in capsys.readouterr().out
    assert written(out) == written(undisturbed)
    assert looked_at() == set()
    assert looked_at("--fusion_iou", "0.6") == set(films.sequences)
    assert f"{len(others) + 1} cines are looked at anew" in capsys.readouterr().out
    # A network that was trained again has other weights: its cines are looked at anew.
    state = study / "view-32-fold0" / "checkpoint"
    shutil.rmtree(state)
    shutil.copytree(study / "view-32-fold1" / "checkpoint", state)
    held_out = HeldOut.of(Study.open(study), Cohort.open(tmp_path / "cohort"), films)
    its = {s for s in films.sequences if 0 in held_out.folds("view", s)}
    assert looked_at("--fusion_iou", "0.6") == its != set(films.sequences)


def test_what_is_said_of_a_cine_has_no_more_than_pseudonyms(undisturbed: Path) -> None:
    for path in (undisturbed / "cines").glob("*.json"):
        document = json.loads(path.read_text())
        assert document.keys() == {"digest", "findings", "by_true_view"}
        assert document["findings"]["sequence_id"] == path.stem


@pytest.mark.slow
def test_a_cluster_finds_the_same(
    films: Cohort, runs: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    said = run("angioray.predict", *command(films, runs, out, "--ray", "local"), cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert written(out) == written(undisturbed)


@pytest.mark.slow
def test_a_kill_in_the_middle_changes_nothing(
    films: Cohort, runs: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = command(films, runs, out, "--processes", "2")
    cines = out / "cines"
    kill_when(
        [sys.executable, "-m", "angioray.predict", *words],
        lambda: cines.is_dir() and any(cines.glob("*.json")),
    )
    assert len(list(cines.glob("*.json"))) < len(films.sequences)
    run_command(predict, prog="predict", argv=words)
    assert written(out) == written(undisturbed)
