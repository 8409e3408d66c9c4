"""Cine after cine: each once, whatever happens, and the same in any number of processes."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from angioray.findings import cines
from angioray.findings.cines import CineTask
from angioray.findings.output_folder import alone_in_output
from angioray.findings.tables import private_table
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
    (out / "cines" / f"{others[0]}.html").unlink()
    for ending, content in ((".json", '{"digest":"of a cine that is gone'), (".html", "its part")):
        (out / "cines" / f"S-gone{ending}").write_text(content)
    partial = out.parent / f".{private_table(out).name}.1-2.partial"
    partial.write_text("of a killed run")
    private_table(out).write_text("of films that were looked at before")
    (out / "metrics.json").write_text("of a cohort that was looked at before")

    def looked_at(*options: str) -> set[str]:
        """The cines that one more command looks at."""
        before = {path: path.stat().st_ino for path in (out / "cines").iterdir()}
        words = command(films, study, out, "--processes", "1", *options)
        run_command(predict, prog="predict", argv=words)
        after = {path: path.stat().st_ino for path in (out / "cines").iterdir()}
        return {path.stem for path in after if after[path] != before.get(path)}

    assert looked_at() == {first, others[0]}
    assert f"earlier run: {len(others) - 1} of {len(others) + 1} cines." in capsys.readouterr().out
    assert written(out) == written(undisturbed)
    assert not partial.exists() and not private_table(out).exists()
    (out / "cines" / "notes").mkdir()
    for name, content in (("notes/a.txt", "a"), ("mine.json", "{}"), ("b.html", "b")):
        (out / "cines" / name).write_text(content)
    assert looked_at() == set()
    assert looked_at("--fusion_iou", "0.6") == set(films.sequences)
    assert f"Looked at anew: {len(others) + 1} cines, for" in capsys.readouterr().out
    # A network that was trained again has other weights: its cines are looked at anew.
    state = study / "view-32-fold0" / "checkpoint"
    shutil.rmtree(state)
    shutil.copytree(study / "view-32-fold1" / "checkpoint", state)
    held_out = HeldOut.of(Study.open(study), Cohort.open(tmp_path / "cohort"), films)
    its = {s for s in films.sequences if 0 in held_out.folds("view", s)}
    assert looked_at("--fusion_iou", "0.6") == its != set(films.sequences)
    # Whatever else is among the cines is somebody else's.
    kept = {path.name for path in (out / "cines").rglob("*")} - set(written(undisturbed / "cines"))
    assert kept == {"notes", "a.txt", "mine.json", "b.html"}


def test_an_output_is_one_commands_and_begun_by_one(
    films: Cohort, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    def refused(src: Path) -> str:
        words = [str(src), "--runs", str(runs), "--out", str(out)]
        with pytest.raises(SystemExit):
            run_command(predict, prog="predict", argv=words)
        return capsys.readouterr().err

    with alone_in_output(out):
        assert f"Another process is running the prediction in {out}" in refused(films.folder)
    (out / "new").mkdir()
    assert f"{out / 'new'} is within {out}, where predictions" in refused(out / "new")
    shutil.rmtree(out)
    (out / "cines").mkdir(parents=True)
    (out / "sequences.csv").write_text("labels of a cohort")
    assert f"{out} has files, but no prediction has begun it" in refused(films.folder)
    assert {path.name for path in out.iterdir()} == {"sequences.csv", "cines"}


def test_cines_whose_process_died_end_the_command_with_a_sentence(
    films: Cohort,
    runs: Path,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def all_die(_: object, tasks: list[CineTask], **options: Any) -> Iterator[bool]:
        yield from map(options["died"], tasks)

    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    (out / "cines" / f"{next(iter(films.sequences))}.json").unlink()
    monkeypatch.setattr(cines, "map_unordered", all_die)
    with pytest.raises(SystemExit) as ended:
        run_command(predict, prog="predict", argv=command(films, runs, out, "--processes", "1"))
    said = capsys.readouterr()
    assert ended.value.code != 0
    assert f"1 cine of {len(films.sequences)} could not be looked at" in said.err
    assert "without a leak" not in said.out and "Open in a browser" in said.out
    assert len((out / "sequences.csv").read_text().splitlines()) == len(films.sequences)


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
    folder = out / "cines"
    kill_when(
        [sys.executable, "-m", "angioray.predict", *words],
        lambda: any(folder.glob("*.json")),
    )
    assert len(list(folder.glob("*.json"))) < len(films.sequences)
    run_command(predict, prog="predict", argv=words)
    assert written(out) == written(undisturbed)
