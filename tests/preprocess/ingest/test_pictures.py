"""What is wrong with the pictures of a cine is noted on it, counted on the terminal, and found."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import uid

from preprocess.cohort import Cohort, Sequence, read_manifest
from preprocess.importers.annotated_folder import GroupBy
from preprocess.importers.coco import import_coco
from preprocess.ingest.command import IngestSettings, ingest
from preprocess.ingest.journal import journal_path
from preprocess.storage.atomic import write_json
from preprocess.summary.command import SummarySettings, summary
from tests.preprocess.dicom.test_burned_in_text import cine, written
from tests.preprocess.tiny_archive import Archive, bare, noise

SETTINGS = IngestSettings(size=0, processes=1)
HEALTHY = "RCA,,0,0,8,,,true"


def run(archive: Archive) -> Path:
    out = archive.folder / "cohort"
    ingest(archive.src, labels=archive.labels, out=out, settings=SETTINGS)
    return out


def by_file(out: Path) -> dict[str, Sequence]:
    """The sequences of a cohort by the file that they were read from."""
    entries = map(json.loads, journal_path(out).read_text().splitlines())
    names = {entry["sequence_id"]: entry["path"] for entry in entries if "path" in entry}
    return {names[name]: sequence for name, sequence in Cohort.open(out).sequences.items()}


def test_every_fault_of_a_picture_is_noted_counted_and_found(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    plane = np.zeros((32, 32), np.uint16)
    plane[4:9, 8:30:2] = 1
    twelve = {"bits": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    archive.add("overlay", HEALTHY, frames=noise(8, bits=12) | plane << 15, **twelve)
    archive.add("window", HEALTHY, frames=noise(8, bits=12) | 1024, bits=12)
    archive.add("black", HEALTHY, frames=np.zeros((8, 32, 32), np.uint8))
    archive.add("text", HEALTHY, frames=written(cine(), 14, (20, 30), 255))
    archive.add("sound", HEALTHY, frames=noise(8))
    out = run(archive)
    said = capsys.readouterr().out
    for remark in (
        "in 1 cines bits beyond Bits Stored were cleared",
        "header of 1 cines leaves hardly any contrast; one was found from their pixels",
        "the pictures of 1 cines are nearly one grey",
        "1 cines may hold text in their pixels",
    ):
        assert said.count(remark) == 1
    found = by_file(out)
    assert found["overlay"].cleared_values == 8 * plane.sum()
    assert {name for name, s in found.items() if s.cleared_values} == {"overlay"}
    assert {name for name, s in found.items() if s.display.replaces_header} == {"window"}
    assert {name for name, s in found.items() if s.grey_range == 0} == {"black"}
    assert {name for name, s in found.items() if s.may_hold_text} == {"text"}
    shown = Cohort.open(out).cine_8bit(found["window"].sequence_id)
    assert shown.min() == 0 and shown.max() == 255 and 60 < shown.mean() < 200
    summary(out, SummarySettings())
    said = capsys.readouterr().out
    assert "Sequences that need a look: 4." in said
    findings = json.loads((out / "summary.json").read_text())["findings"]
    assert {kind: list(named) for kind, named in findings.items()} == {
        "text": [found["text"].sequence_id],
        "one_grey": [found["black"].sequence_id],
        "display": [found["window"].sequence_id],
        "cleared": [found["overlay"].sequence_id],
    }


def test_a_cohort_from_before_is_read_and_knows_nothing_of_its_pictures(archive: Archive) -> None:
    archive.add("a", HEALTHY, frames=noise(8))
    out = run(archive)
    (path,) = (out / "frames.zarr").glob("*/zarr.json")
    document = json.loads(path.read_text())
    for name in ("grey_range", "cleared_values", "may_hold_text"):
        del document["attributes"][name]
    del document["attributes"]["display"]["replaces_header"]
    write_json(path, document)
    (sequence,) = Cohort.open(out).sequences.values()
    assert (sequence.grey_range, sequence.cleared_values, sequence.may_hold_text) == (
        None,
        0,
        False,
    )
    summary(out, SummarySettings(sequences=0))
    assert json.loads((out / "summary.json").read_text())["findings"] == {}


def test_what_a_reader_stored_that_cleared_no_bits_is_read_again(archive: Archive) -> None:
    archive.add("a", HEALTHY, frames=noise(8))
    out = run(archive)
    (path,) = (out / "frames.zarr").glob("*/zarr.json")
    first = path.stat().st_ino
    run(archive)
    assert path.stat().st_ino == first, "nothing is decoded twice"
    journal = journal_path(out)
    journal.write_text(journal.read_text().replace('"reader": 3', '"reader": 2'))
    run(archive)
    assert path.stat().st_ino != first


def test_data_sets_without_their_wrapping_are_found_in_an_archive(archive: Archive) -> None:
    archive.add("whole", HEALTHY, frames=noise(8, seed=1), patient="P1")
    implicit = uid.ImplicitVRLittleEndian
    archive.add("bare", HEALTHY, frames=noise(8, seed=2), patient="P2", syntax=implicit)
    whole = (archive.src / "bare").read_bytes()
    (archive.src / "bare").write_bytes(bare(whole, "no meta information"))
    (archive.src / "notes.txt").write_text("no DICOM")
    out = run(archive)
    assert set(by_file(out)) == {"whole", "bare"}
    reasons = [row.reason for row in read_manifest(out) if row.status == "rejected"]
    assert reasons == ["not a DICOM file"]


def test_pictures_of_an_imported_set_are_looked_at_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    src = tmp_path / "src"
    src.mkdir()
    pictures = {
        "text.png": written(cine(1), 14, (20, 30), 255)[0],
        "white.png": np.full((256, 256), 255, np.uint8),
        "sound.png": cine(1)[0],
    }
    images = []
    for number, (name, picture) in enumerate(pictures.items(), start=1):
        assert cv2.imwrite(str(src / name), picture)
        images.append({"id": number, "file_name": name, "width": 256, "height": 256})
    categories = [{"id": 1, "name": "stenosis"}]
    box = {"id": 1, "image_id": 3, "category_id": 1, "bbox": [20, 20, 30, 30]}
    document = {"images": images, "annotations": [box], "categories": categories}
    write_json(src / "boxes.json", document)
    import_coco(src, tmp_path / "cohort", group_by=GroupBy.IMAGE, processes=1)
    said = capsys.readouterr().out
    assert "the pictures of 1 cines are nearly one grey" in said
    assert "1 cines may hold text in their pixels" in said
    sequences = Cohort.open(tmp_path / "cohort").sequences.values()
    assert sorted((s.grey_range == 0, s.may_hold_text) for s in sequences) == [
        (False, False),
        (False, True),
        (True, False),
    ]
