"""``python -m preprocess``: what a person meets who mistypes, runs out of disk, or stops it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from preprocess import __main__ as commands
from preprocess.cohort import Cohort
from tests.preprocess.tiny_archive import SIZE, SLOWLY, Archive, noise


def call(*arguments: object) -> None:
    commands.main([str(argument) for argument in arguments])


def stopped(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence on standard error; the exit code must not be 0."""
    with pytest.raises(SystemExit) as stop:
        call(*arguments)
    assert stop.value.code not in (0, None)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["ingset"], "did you mean ingest?"),
        (["ingest"], "required"),
        (["ingest", "nowhere", "--labels", "l.csv", "--out", "c"], "nowhere is no folder"),
        (["ingest", ".", "--labels", "l.csv", "--out", "c"], ". holds no files. Give the folder"),
        (["ingest", ".", "--out", "c"], ". holds no files. Give the folder that holds the DICOM"),
        (["ingest", ".", "--labels", "l", "--out", "c", "--sice", "3"], "`size`"),
        (["ingest", ".", "--labels", "l", "--out", "c", "--size", "big"], "size"),
        (["ingest", ".", "--labels", "l", "--out", "c", "--size", "-4"], "0 or more"),
        (["sheet", "nowhere", "--out", "s.csv"], "nowhere is no folder"),
        (["sheet", ".", "--out", "s.csv"], ". holds no files"),
        (
            ["sheet", ".", "--out", "s.txt"],
            "s.txt is to be a sheet; give a name that ends with .csv",
        ),
        (["sheet", ".", "--out", "s.csv", "--size", "-1"], "0 or more"),
        (["propagate", "nowhere"], "nowhere is no cohort"),
        (["propagate", "nowhere", "--good", "0.1"], "at most good"),
        (["summary", "nowhere"], "nowhere is no cohort"),
        (["agreement", "nowhere"], "nowhere is no cohort"),
        (["import", "arcad", ".", "--out", "c"], "arcade"),
        (["import", "arcade", "nowhere", "--out", "c"], "nowhere does not exist"),
    ],
)
def test_mistakes_end_in_a_sentence(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in stopped(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        call(name, "--help")
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert f"python -m preprocess {name}" in said.partition("examples:")[2]


def test_the_road_from_archive_to_summary(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.add("a.dcm", boxes={1: [(4.0, 5.0, 20.0, 18.0)]})
    out = archive.folder / "cohort"
    options = ["--labels", archive.labels, "--rois", archive.rois, "--size", SIZE]
    call("ingest", archive.src, *options, "--out", out, "--processes", 1)
    assert f"Next: python -m preprocess propagate {out}" in capsys.readouterr().out
    call("propagate", out, "--processes", 1)
    assert f"Next: python -m preprocess summary {out}" in capsys.readouterr().out
    call("summary", out)
    assert (out / "summary.html").is_file()


def test_a_full_disk_is_said_and_nothing_is_taken_for_finished(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.add("a.dcm")
    out = archive.folder / "cohort"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(out))

    command = ["ingest", archive.src, "--labels", archive.labels, "--out", out, "--size", SIZE]
    with monkeypatch.context() as patch:
        patch.setattr("preprocess.ingest.source_file.store_cine", full)
        assert "the disk is full" in stopped(capsys, *command, "--processes", 1)
    assert not (out / "annotations.json").exists()
    call(*command, "--processes", 1)
    assert len(Cohort.open(out).sequences) == 1


def test_ctrl_c_ends_in_a_sentence_and_the_same_command_continues(archive: Archive) -> None:
    for number in range(20):
        archive.add(f"{number:02d}.dcm", frames=noise(40, 128, seed=number))
    out = archive.folder / "cohort"
    arguments = [
        *("ingest", str(archive.src), "--out", str(out)),
        *("--labels", str(archive.labels), "--size", "128", "--processes", "2"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    journal = out.with_name("cohort.private.jsonl")
    deadline = time.monotonic() + 60
    while not (journal.exists() and len(journal.read_text().splitlines()) > 2):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by you. The same command continues" in said
    assert "Traceback" not in said
    assert not (out / "annotations.json").exists()
    command = [sys.executable, "-m", "preprocess", *arguments]
    subprocess.run(command, check=True, capture_output=True)
    assert len(Cohort.open(out).sequences) == 20
