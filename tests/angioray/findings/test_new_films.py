"""New films as DICOM: whose they are, what is said of them, and what stays private."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from angioray.findings.new_films import Films, unrecognised
from angioray.predict import predict
from angioray.study.study import Study
from preprocess.cohort import Cohort
from preprocess.console.command_line import run as run_command
from preprocess.dicom.pseudonyms import Pseudonyms
from tests.angioray.findings.conftest import KEY
from tests.preprocess.tiny_archive import noise, write_cine
from tests.toy_cohort import write_toy_cohort


def look(src: Path, runs: Path, out: Path, *options: str) -> dict[str, dict[str, object]]:
    """The rows of sequences.csv by the file that they were read from."""
    words = [str(src), "--runs", str(runs), "--out", str(out), "--processes", "1", *options]
    run_command(predict, prog="predict", argv=words)
    with (out / "sequences.csv").open() as file:
        rows = {row["sequence_id"]: row for row in csv.DictReader(file)}
    journal = (out.parent / f"{out.name}.private.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in journal[1:]]
    return {r["path"]: rows[r["sequence_id"]] for r in records if r.get("status") == "accepted"}


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """New cines of a patient of the study and of another; one is larger than ingest takes."""
    src = tmp_path / "films"
    write_cine(src / "known", noise(9, 64, seed=1), patient="MRN-3", instance="1.2.3")
    write_cine(src / "day 2" / "new.dcm", noise(3, 1024, seed=2), patient="MRN-99")
    (src / "notes.txt").write_text("no DICOM")
    (src / "gone.angioray-sr.dcm").write_text("written by an earlier run")
    return src


def test_a_new_cine_of_a_training_patient_is_judged_by_the_fold_that_held_them_out(
    films: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shared" / "out"
    rows = look(films, runs, out)
    assert (rows["known"]["models"], rows["day 2/new.dcm"]["models"]) == ("1", "2")
    said = capsys.readouterr().out
    assert "Patients of the study are recognised" in said
    assert f"Read 3 files of {films}: 2 cines of 2 patients." in said
    assert "Not cines that can be looked at: 1 file:\n     1 not a DICOM file" in said
    assert "1 of patients not known to the study, 1 by models that held" in said
    assert said.count("sequences.csv") == 1, "among what was written, and only there"
    assert said.splitlines()[-1] == f"Open in a browser: {out / 'predictions.html'}"

    # With a key of its own the patient is another person.
    (tmp_path / "key").write_text("ab" * 32)
    rows = look(films, runs, tmp_path / "other", "--key", str(tmp_path / "key"))
    assert {row["models"] for row in rows.values()} == {"2"}
    warning = (
        "Patients of the study cannot be recognised (these pseudonyms are by another key than "
        "those of its cohort): a patient of the study may be judged by models that were trained "
        "on them."
    )
    said = capsys.readouterr().out
    assert f"Note: {warning}\n" in said and "are recognised by" not in said
    assert warning in (tmp_path / "other" / "predictions.html").read_text()
    # What was begun so goes on so, and the command says what that means.
    look(films, runs, tmp_path / "other")
    assert f"Note: {warning}\n" in capsys.readouterr().out


def test_what_names_a_file_is_beside_the_output_for_its_owner_alone(
    films: Path, runs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    look(films, runs, out, "--score", "0")
    table = tmp_path / "out.results.private.csv"
    for private in (table, tmp_path / "out.private.jsonl"):
        assert private.stat().st_mode & 0o777 == 0o600
    for path in out.rglob("*"):
        assert "private" not in path.name
        content = path.read_bytes() if path.is_file() else b""
        assert b"MRN-" not in content and b"day 2" not in content and b'1.2.3"' not in content
    with table.open() as file:
        rows = list(csv.DictReader(file))
    sequence = Pseudonyms(KEY).sequence("1.2.3")
    found = json.loads((out / "cines" / f"{sequence}.json").read_text())["findings"]
    theirs = [row for row in rows if row["file"] == "known"]
    expected = [
        (str(box["frame_index"] + 1), *map(str, box["box_xyxy"]), str(box["score"]))
        for box in found["boxes"]
    ]
    names = ("frame_number", "x1", "y1", "x2", "y2", "score")
    assert [tuple(row[name] for name in names) for row in theirs] == expected
    assert {row["sop_instance_uid"] for row in theirs} == {"1.2.3"}


def test_a_key_that_nothing_can_come_of_is_refused(
    films: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for src, problem in (
        (films, f"--key {tmp_path / 'no'} cannot be read (No such file or directory). Give a file"),
        (runs.parent / "cohort", "--key is for the pseudonyms of DICOM files, but a cohort was"),
    ):
        with pytest.raises(SystemExit):
            look(src, runs, tmp_path / "out", "--key", str(tmp_path / "no"))
        assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_whether_patients_can_be_recognised(runs: Path, tmp_path: Path) -> None:
    study, trained_on = Study.open(runs), Cohort.open(runs.parent / "cohort")

    def warned(cohort: Cohort, key: bytes, trained_on: Cohort | None = trained_on) -> str:
        seen = Films(cohort=cohort, sources={}, dicom={}, key=key)
        return unrecognised(study, trained_on, seen)

    new = write_toy_cohort(tmp_path / "new", patients=2, prefix="new")
    assert warned(new, KEY) == ""
    assert "(its cohort is gone or was changed)" in warned(new, KEY, None)
    assert "(these pseudonyms are by another key" in warned(new, bytes(32))
    assert warned(trained_on, bytes(32), None) == "", "its own cohort, wherever it is"
    shutil.copytree(runs, tmp_path / "runs")
    alone = replace(Study.open(tmp_path / "runs"), cohort_folder=str(tmp_path / "gone"))
    films_of = Films(cohort=new, sources={}, dicom={}, key=KEY)
    assert "(the key of its cohort's pseudonyms is not here)" in unrecognised(
        alone, trained_on, films_of
    )


def test_a_name_that_is_no_text_is_in_the_private_table_as_it_is(
    runs: Path, tmp_path: Path
) -> None:
    src = tmp_path / "films"
    write_cine(src / os.fsdecode(b"\xe9tude.dcm"), noise(3, 64, seed=2), instance="1.2.4")
    look(src, runs, tmp_path / "out", "--score", "0")
    assert b"\n\xe9tude.dcm," in (tmp_path / "out.results.private.csv").read_bytes()


def test_dicom_findings_are_beside_the_films_and_never_in_the_output(
    films: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(src: Path, dicom: Path) -> str:
        with pytest.raises(SystemExit):
            look(src, runs, tmp_path / "out", "--dicom", str(dicom))
        return capsys.readouterr().err

    within = tmp_path / "out" / "dicom"
    assert f"{within} is within {tmp_path / 'out'}, which is there to be" in refused(films, within)
    assert "--dicom writes findings that" in refused(runs.parent / "cohort", films)
    no_folder = films / "notes.txt"
    assert f"cannot be written in {no_folder} (File exists). Give" in refused(films, no_folder)
    assert not (tmp_path / "out").exists()

    # Films that were looked at before get them too; the next command takes none for a film, nor
    # what a killed one left half-written.
    partial = films / "day 2" / ".new.dcm.angioray-pr.dcm.12-34.partial"
    partial.write_bytes((films / "known").read_bytes())
    look(films, runs, tmp_path / "out")
    for _ in range(2):
        rows = look(films, runs, tmp_path / "out", "--dicom", str(films))
        assert set(rows) == {"known", "day 2/new.dcm"} and not partial.exists()
    reports = [path for path in films.rglob("*.angioray-sr.dcm") if path.stat().st_size > 100]
    assert {path.relative_to(films).as_posix() for path in reports} == {
        *("known.angioray-sr.dcm", "day 2/new.dcm.angioray-sr.dcm"),
    }
    assert "Finished by an earlier run: 2 of 2 cines." in capsys.readouterr().out


def test_dicom_findings_are_of_this_run_and_of_the_film_as_it_is_now(
    films: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dicom = tmp_path / "dicom"
    reports = [dicom / "known.angioray-sr.dcm", dicom / "day 2" / "new.dcm.angioray-sr.dcm"]

    def written(*options: str) -> list[bytes]:
        look(films, runs, tmp_path / "out", "--dicom", str(dicom), *options)
        return [path.read_bytes() for path in reports]

    assert all(b"score=0.4" in report for report in written("--score", "0.4"))
    look(films, runs, tmp_path / "out", "--score", "0.3")  # by which all cines are finished
    before = written("--score", "0.3")
    assert all(b"score=0.3" in report for report in before)

    corrected = dcmread(films / "known")
    corrected.PatientName = "Corrected"
    corrected.save_as(films / "known")
    capsys.readouterr()
    after = written("--score", "0.3")
    assert "Finished by an earlier run: 2 of 2 cines." in capsys.readouterr().out
    assert dcmread(reports[0]).PatientName == "Corrected"
    assert after[1] == before[1]


def test_a_film_that_dicom_cannot_refer_to_is_counted_and_the_others_go_on(
    films: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cine(films / "odd", noise(3, 64, seed=3), SOPInstanceUID="IMG-0001")
    rows = look(films, runs, tmp_path / "out", "--dicom", str(tmp_path / "dicom"))
    assert len(rows) == 3
    said = capsys.readouterr().out
    assert ("Note: 1 film got no DICOM findings:\n     1 no SOPInstanceUID that is a UID\n") in said
    assert len(list((tmp_path / "dicom").rglob("*-sr.dcm"))) == 2


def test_what_cannot_be_written_is_told_without_the_film_s_name(
    films: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dicom" / "day 2" / "new.dcm.angioray-sr.dcm").mkdir(parents=True)
    with pytest.raises(SystemExit):
        look(films, runs, tmp_path / "out", "--dicom", str(tmp_path / "dicom"))
    said = capsys.readouterr().err
    sequence = Pseudonyms(KEY).sequence(dcmread(films / "day 2" / "new.dcm").SOPInstanceUID)
    assert f"the folder of the DICOM findings of {sequence} is a folder" in said
    assert "day 2" not in said
