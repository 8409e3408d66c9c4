"""New DICOM through both steps, by the command itself."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.command_processes import run
from tests.end_to_end.road import Road, files, identifiers

pytestmark = pytest.mark.slow


def test_dicom_goes_in_and_boxes_come_out(
    prepared: Road, undisturbed: Path, tmp_path: Path
) -> None:
    source = tmp_path / "dicom"
    source.mkdir()
    chosen = files(prepared.archive / "dicom")[:3]
    for number, path in enumerate(chosen):
        shutil.copy(path, source / f"{number}.dcm")
    (source / "notes.txt").write_text("no DICOM")
    out = tmp_path / "predictions"
    said = run("angioray.predict", source, "--runs", undisturbed, "--out", out, cwd=tmp_path)
    assert said.returncode == 0, said.stderr

    cohort = json.loads((out / "cohort" / "annotations.json").read_text())
    images = {image["id"] for image in cohort["images"]}
    boxes = json.loads((out / "predictions.json").read_text())
    assert boxes and {row["image_id"] for row in boxes} <= images
    assert set(json.loads((out / "evaluated_images.json").read_text())) <= images
    with (out / "sequences.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["sequence_id"] for row in rows} == {v["sequence_id"] for v in cohort["videos"]}
    assert {row["view"] for row in rows} <= {"LCA", "RCA"}
    # The study has seen these cines; their pseudonyms are by the key of its cohort.
    assert "0 of patients not known to the study" in said.stdout

    names = sorted({name.encode() for name in identifiers(prepared.archive)})
    for path in files(out):
        content = path.read_bytes()
        assert not any(b'"' + name + b'"' in content for name in names), path.name
        assert "private" not in path.name, "the output is there to be shared"
    assert (tmp_path / "predictions.private.jsonl").stat().st_mode & 0o777 == 0o600
