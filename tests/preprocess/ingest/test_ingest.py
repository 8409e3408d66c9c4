"""From an archive to a cohort, end to end, with everything that hospitals and machines do to it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import zarr
from pydicom import uid
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset

from preprocess.annotations.mismatches import mismatches_path
from preprocess.cohort import (
    Box,
    BoxSource,
    Cohort,
    phantom_notice,
    read_manifest,
    write_annotations,
)
from preprocess.cohort.records import Exclusion
from preprocess.dicom import pseudonyms
from preprocess.dicom.reader import TECHNICAL
from preprocess.ingest.command import IngestSettings, ingest
from preprocess.ingest.journal import Journal, Record
from preprocess.review.corrections import Corrections
from preprocess.summary.command import SummarySettings, summary
from preprocess.tracking.propagate import PropagateSettings, propagate
from tests.killing import kill_when
from tests.preprocess.tiny_archive import SIZE, SLOWLY, Archive, noise

HERE = IngestSettings(size=SIZE, processes=1)
BOX = (4.0, 5.0, 20.0, 18.0)


def run(archive: Archive, settings: IngestSettings = HERE, **arguments: Path) -> Path:
    out = archive.folder / "cohort"
    rois = {"rois": archive.rois} if archive.rois.is_dir() else {}
    ingest(archive.src, labels=archive.labels, out=out, settings=settings, **rois, **arguments)
    return out


def journal(out: Path) -> list[dict[str, object]]:
    text = out.with_name(out.name + ".private.jsonl").read_text()
    return [entry for line in text.splitlines() if "path" in (entry := json.loads(line))]


def never(*_: object, **__: object) -> None:
    raise AssertionError("a file was decoded again")


def reasons(out: Path) -> list[str]:
    return sorted(row.reason for row in read_manifest(out) if row.status == "rejected")


def test_round_trip(archive: Archive) -> None:
    first, second = noise(4, seed=1), noise(3, bits=12, seed=2)
    archive.add("p1/a.dcm", "RCA,1,0,1,4,0.8;0.95,,", boxes={1: [BOX]}, frames=first)
    archive.add(
        "p1/b",
        "LCA,,,,,,,true",
        frames=second,
        bits=12,
        syntax=uid.JPEGLosslessSV1,
        without=("WindowCenter",),
    )
    cohort = Cohort.open(run(archive))
    by_view = {sequence.view: sequence for sequence in cohort.sequences.values()}
    rca, lca = by_view["RCA"], by_view["LCA"]
    np.testing.assert_array_equal(cohort.cine(rca.sequence_id), first)
    np.testing.assert_array_equal(cohort.cine(lca.sequence_id), second)
    assert rca.patient_id == lca.patient_id
    assert (rca.optimal_start, rca.reference_frame, rca.ifr) == (1, 1, (0.8, 0.95))
    assert (lca.optimal_start, lca.bits_stored, lca.no_lesion) == (None, 12, True)
    (box,) = cohort.boxes
    assert (box.sequence_id, box.frame_index, box.box_xyxy) == (rca.sequence_id, 1, BOX)
    assert box.source is BoxSource.REFERENCE
    rows = read_manifest(cohort.folder)
    assert [(row.status, row.reference_boxes, row.ifr) for row in rows] == [
        ("accepted", 1, "0.8;0.95"),
        ("accepted", 0, ""),
    ]


def test_one_bad_file_never_stops_the_rest(archive: Archive) -> None:
    archive.add("good.dcm", boxes={1: [BOX]})
    (archive.src / "notes.txt").write_text("no cine")
    archive.add("no_row.dcm", row=None)
    archive.add("large.dcm", frames=noise(2, 40))
    archive.add("implant.dcm", "RCA,,,,,0.7,implant,", boxes={1: [BOX]})
    archive.add("nobody.dcm", without=("PatientID",))
    archive.add("short.dcm", NumberOfFrames=9)
    archive.add("late.dcm", "RCA,1,0,1,99,,,")
    archive.add("healthy.dcm", "RCA,1,0,1,3,,,true", boxes={1: [BOX]})
    out = run(archive)
    assert reasons(out) == [
        "excluded: implant",
        "label: vanishing_start 99 of 3 frames",
        "labelled no_lesion, but boxes are drawn on it",
        "no PatientID",
        "no row in sequences.csv",
        "not a DICOM file",
        f"size 40 x 40, not {SIZE} x {SIZE}",
        "the pixel data end after 3 of 9 frames",
    ]
    assert len(Cohort.open(out).sequences) == 1
    (implant,) = [row for row in read_manifest(out) if row.exclude]
    assert (implant.exclude, implant.view, implant.ifr, implant.reference_boxes) == (
        "implant",
        "RCA",
        "0.7",
        1,
    )
    assert implant.patient_id.startswith("P")
    assert all(len(row.hmac_sha256) == 64 for row in read_manifest(out))


@pytest.mark.parametrize("processes", [1, 2])
def test_of_two_files_of_one_instance_the_first_whole_one_is_taken(
    archive: Archive, processes: int
) -> None:
    archive.add("a.dcm", instance="1.2.3", NumberOfFrames=9)
    archive.add("b.dcm", instance="1.2.3")
    archive.add("c.dcm", instance="1.2.3")
    archive.add("d.dcm", instance="1.2.4")
    out = run(archive, IngestSettings(size=SIZE, processes=processes))
    assert [row.reason for row in read_manifest(out)] == [
        "the pixel data end after 3 of 9 frames",
        "",
        "duplicate: the same SOPInstanceUID as another file",
        "",
    ]
    # A second run decodes nothing and judges the same.
    before = (out / "manifest.csv").read_bytes()
    run(archive)
    assert (out / "manifest.csv").read_bytes() == before


def test_again_is_free_and_gives_the_same_bytes(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add("a.dcm", boxes={1: [BOX]})
    archive.add("bad.dcm", NumberOfFrames=9)
    out = run(archive)
    before = [(out / name).read_bytes() for name in ("annotations.json", "manifest.csv")]
    monkeypatch.setattr("preprocess.ingest.intake.ingest_file", never)
    run(archive)
    assert [(out / n).read_bytes() for n in ("annotations.json", "manifest.csv")] == before
    assert len(journal(out)) == 2


def test_corrected_labels_are_taken_up_without_decoding(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add("a.dcm", "RCA,1,0,1,3,,,")
    archive.add("b.dcm", "RCA,1,0,1,3,,,")
    run(archive)
    archive.rows[:] = ["a.dcm,LCA,2,0,2,3,0.9,,", "b.dcm,RCA,,,,,,pacemaker,"]
    monkeypatch.setattr("preprocess.ingest.intake.ingest_file", never)
    cohort = Cohort.open(run(archive))
    (sequence,) = cohort.sequences.values()
    assert (sequence.view, sequence.reference_frame, sequence.ifr) == ("LCA", 2, (0.9,))
    assert reasons(cohort.folder) == ["excluded: pacemaker"]


def test_the_year_is_what_the_label_says_and_the_maker_what_the_header_names(
    archive: Archive,
) -> None:
    archive.add("a", Manufacturer="GE Healthcare", StudyDate="20170503")
    archive.add("b", Manufacturer="Heart Hospital", StudyDate="20180503")
    archive.rows[:] = [f"{row},{year}" for row, year in zip(archive.rows, (2019, ""), strict=True)]
    path = archive.labels
    path.write_text(path.read_text().replace("no_lesion\n", "no_lesion,year\n", 1))
    out = archive.folder / "cohort"
    ingest(archive.src, labels=path, out=out, settings=HERE)
    found = {(cine.year, cine.manufacturer) for cine in Cohort.open(out).sequences.values()}
    assert found == {(2019, "GE"), (None, "other")}


def test_what_a_reader_decided_in_the_browser_stays(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add("a.dcm", "RCA,1,0,1,3,0.8,,", boxes={1: [BOX]})
    archive.add("b.dcm", "RCA,1,0,1,3,,,", boxes={1: [BOX]})
    out = run(archive)
    sequences = Cohort.open(out).sequences
    first, second = sorted(sequences, key=lambda name: not sequences[name].ifr)  # a.dcm has one
    corrections = Corrections(out, reader=None, by="A")
    state = corrections.review(first).state
    moved = replace(state.boxes[0], box_xyxy=(1.25, 2.5, 17.75, 20.0))
    decided = replace(state, view="LCA", boxes=(moved,))
    corrections.decide(first, 0, accepted=True, state=decided)
    excluded = replace(corrections.review(second).state, exclude=Exclusion.OTHER)
    corrections.decide(second, 0, accepted=True, state=excluded)
    corrections.close()
    names = ("annotations.json", "manifest.csv", f"frames.zarr/{first}/zarr.json")
    before = [(out / name).read_bytes() for name in names]
    monkeypatch.setattr("preprocess.ingest.intake.ingest_file", never)
    run(archive)
    assert [(out / name).read_bytes() for name in names] == before
    # Labels that the reader left alone are taken up, the others are not.
    archive.rows[0] = "a.dcm,RCA distal,2,0,1,3,0.7,,"
    run(archive)
    sequence = Cohort.open(out).sequences[first]
    assert (sequence.view, sequence.reference_frame, sequence.ifr) == ("LCA", 2, (0.7,))


def test_a_file_that_gets_its_row_later_is_read_then(archive: Archive) -> None:
    archive.add("a.dcm")
    archive.add("b.dcm", row=None)
    run(archive)
    archive.rows.append("b.dcm,LCA,,,,,,,")
    assert len(Cohort.open(run(archive)).sequences) == 2


def test_tracked_boxes_stay_until_the_reference_changes(archive: Archive) -> None:
    archive.add("a.dcm", boxes={1: [BOX]})
    out = run(archive)
    cohort = Cohort.open(out)
    (reference,) = cohort.boxes
    more = [
        Box(
            sequence_id=reference.sequence_id,
            frame_index=frame_index,
            box_xyxy=BOX,
            instance_id=reference.instance_id,
            source=source,
        )
        for frame_index, source in ((2, BoxSource.TRACKED), (0, BoxSource.CORRECTED))
    ]
    write_annotations(out, cohort.sequences.values(), [reference, *more])
    assert len(Cohort.open(run(archive)).boxes) == 3
    for path in archive.rois.iterdir():
        path.write_text(path.read_text().replace("(4.0", "(6.0"))
    sources = sorted(box.source for box in Cohort.open(run(archive)).boxes)
    assert sources == [BoxSource.CORRECTED, BoxSource.REFERENCE]


def test_regions_off_the_reference_frame_are_left_out_and_said(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.add(
        "a.dcm",
        boxes={1: [BOX, (30, 30, 50, 31), (9, 9, 9, 9), (40, 40, 50, 50)], 0: [BOX], 2: [BOX]},
    )
    cohort = Cohort.open(run(archive))
    assert [box.box_xyxy for box in cohort.boxes] == [BOX, (30, 30, 32, 31)]
    said = capsys.readouterr().out
    assert "2 regions lie off the reference frame" in said
    assert "1 regions are left out: smaller than a pixel" in said
    assert "1 regions are left out: outside the frame" in said
    assert "1 boxes reached over the edge" in said


def test_other_frames_are_kept_where_asked(archive: Archive) -> None:
    archive.add("a.dcm", boxes={1: [BOX], 2: [BOX]})
    settings = IngestSettings(size=SIZE, processes=1, other_frames=True)
    assert [box.frame_index for box in Cohort.open(run(archive, settings)).boxes] == [1, 2]


def test_unmatched_rows_and_regions_are_said(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.add("a.dcm", boxes={1: [BOX]})
    archive.add("gone.dcm", boxes={1: [BOX]})
    (archive.src / "gone.dcm").unlink()
    run(archive)
    said = capsys.readouterr().out
    assert "1 rows of the labels match no file" in said
    assert "1 regions name sequences that are not known here" in said
    labels, rois = archive.folder / "sequences.csv", archive.rois / "gone.dcm.xml"
    found = mismatches_path(archive.folder / "cohort").read_text().splitlines()
    assert f"{labels}:3: no file" in found
    assert any(line.startswith(f"{rois}:") and "unknown sequence" in line for line in found)


def test_without_labels_every_cine_is_taken_and_labels_win_later(
    archive: Archive, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.dcm", "b.dcm"):
        archive.add(name, "RCA,1,0,1,3,0.8,,")
    archive.add("c.dcm", "RCA,,,,,,implant,")
    out = archive.folder / "cohort"
    ingest(archive.src, out=out, settings=HERE)
    said = capsys.readouterr().out
    assert "no cine has a view: nothing can be trained on views" in said
    assert f"`python -m preprocess sheet {archive.src} --out sequences.csv`" in said
    first = Cohort.open(out).sequences
    assert [(s.view, s.phases_proposed) for s in first.values()] == [(None, True)] * 3

    monkeypatch.setattr("preprocess.ingest.source_file._store", never)
    run(archive)
    assert "the views are RCA 2." in capsys.readouterr().out
    assert reasons(out) == ["excluded: implant"]
    second = list(Cohort.open(out).sequences.values())
    assert {s.sequence_id for s in second} < set(first)
    assert [(s.view, s.reference_frame, s.ifr, s.phases_proposed) for s in second] == [
        ("RCA", 1, (0.8,), False)
    ] * 2

    before = (out / "annotations.json").read_bytes()
    with pytest.raises(ValueError, match="has the labels of an earlier run, and would lose them"):
        ingest(archive.src, out=out, settings=HERE)
    assert (out / "annotations.json").read_bytes() == before


def test_views_that_no_study_knows_are_told_at_once(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, view in enumerate(("RCA", "R C A", "lca", "LCA", "LCA", "left main", "")):
        archive.add(f"{number}.dcm", f"{view},1,0,1,3,,,", frames=noise(3, seed=number))
    run(archive)
    said = capsys.readouterr().out
    assert "the views are LCA 2, R C A 1, RCA 1, lca 1, left main 1, none 1." in said
    assert "'R C A' (RCA?), 'lca' (LCA?), 'left main' (LCA?) are none of the usual names" in said
    mapping = '{RCA: RCA, LCA: LCA, LCx/LAD: LCA, LAD/LCx: LCA, "R C A": RCA, "lca": LCA, '
    assert f"`--view_classes '{mapping}" in said


def test_labels_of_other_files_end_with_what_a_row_is_to_name(archive: Archive) -> None:
    archive.add("p1/k1.dcm", row=None)
    labels = archive.folder / "labels.csv"
    labels.write_text("file,view\nk1.dcm,RCA\n")
    with pytest.raises(ValueError, match="1 rows of the labels match no file by its path below"):
        ingest(archive.src, labels=labels, out=archive.folder / "cohort", settings=HERE)


def test_how_the_labels_were_read_is_told(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.add("Größe.dcm", row=None)
    labels = archive.folder / "labels.csv"
    labels.write_bytes("Our cines\nFile;View;iFR\nGröße.dcm;RCA;0,89\n".encode("cp1252"))
    ingest(archive.src, labels=labels, out=archive.folder / "cohort", settings=HERE)
    assert (
        f"{labels}: Windows-1252; separated by semicolons; 1 row above the headings skipped; "
        "decimal commas."
    ) in capsys.readouterr().out
    (sequence,) = Cohort.open(archive.folder / "cohort").sequences.values()
    assert (sequence.view, sequence.ifr) == ("RCA", (0.89,))


def test_of_two_files_that_are_spelled_alike_one_has_the_row(archive: Archive) -> None:
    archive.add("k 1.dcm", frames=noise(seed=1))
    archive.add("k%201.dcm", row=None, frames=noise(seed=2))
    out = run(archive)
    assert reasons(out) == ["no row in sequences.csv"]
    (sequence,) = Cohort.open(out).sequences.values()
    np.testing.assert_array_equal(Cohort.open(out).cine(sequence.sequence_id), noise(seed=1))


def test_nothing_accepted_leaves_no_annotations(archive: Archive) -> None:
    archive.add("a.dcm", NumberOfFrames=9)
    with pytest.raises(ValueError, match=r"no cine .*\n +1 the pixel data end after 3 of 9"):
        run(archive)
    assert not (archive.folder / "cohort" / "annotations.json").exists()


def test_wrong_places_are_said(archive: Archive, tmp_path: Path) -> None:
    labels, out = tmp_path / "sequences.csv", tmp_path / "out"
    labels.write_text("file,view\na.dcm,RCA\n")
    with pytest.raises(ValueError, match="is no folder"):
        ingest(tmp_path / "nowhere", labels=labels, out=out, settings=HERE)
    for given in (labels, None):
        with pytest.raises(ValueError, match="holds no files"):
            ingest(archive.src, labels=given, out=out, settings=HERE)
    archive.add("a.dcm")
    with pytest.raises(FileNotFoundError):
        ingest(archive.src, labels=tmp_path / "none.csv", out=out, settings=HERE)
    assert not out.exists()


def test_the_key_gives_the_same_pseudonyms_elsewhere(archive: Archive, tmp_path: Path) -> None:
    archive.add("a.dcm")
    out = run(archive)
    key = out.with_name("cohort.private.jsonl")
    elsewhere = tmp_path / "elsewhere"
    ingest(archive.src, labels=archive.labels, out=elsewhere, key=key, settings=HERE)
    ingest(archive.src, labels=archive.labels, out=tmp_path / "third", settings=HERE)
    names = [list(Cohort.open(folder).sequences) for folder in (out, elsewhere, tmp_path / "third")]
    assert names[0] == names[1] != names[2]
    other = tmp_path / "key"
    other.write_text("ab" * 32)
    with pytest.raises(ValueError, match="begun with another key"):
        ingest(archive.src, labels=archive.labels, out=out, key=other, settings=HERE)


SECRET = "ZANZIBAR"
"""Stands for every name; planted wherever a text can stand."""
PATIENT, INSTANCE = "MRN-77512", "1.2.826.77.1"
TEXT_VRS = {"LO", "SH", "PN", "LT", "ST", "UT", "UC", "AE", "CS"}
MEANT = {"SpecificCharacterSet", "PatientID", "SOPInstanceUID", *TECHNICAL}
"""What the reader looks at, so that a name in it is a damaged file's."""


def plant_everywhere(dataset: Dataset, depth: int = 0) -> None:
    """A secret in every text attribute of the dictionary, in sequences and in private blocks."""
    for tag, (vr, multiplicity, _, retired, keyword) in DicomDictionary.items():
        in_dataset = keyword and not retired and tag >> 16 > 7
        if in_dataset and vr in TEXT_VRS and keyword not in MEANT:
            setattr(dataset, keyword, SECRET if multiplicity != "2" else [SECRET, SECRET])
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, keyword, f"{INSTANCE}.9")
    for group in (0x0009, 0x0019, 0x5001):
        block = dataset.private_block(group, SECRET, create=True)
        block.add_new(0x10, "LO", SECRET)
        block.add_new(0x11, "OB", SECRET.encode())
        block.add_new(0x12, "UN", SECRET.encode("utf-16-le"))
    if depth < 2:
        item = Dataset()
        plant_everywhere(item, depth + 1)
        for keyword in ("RequestAttributesSequence", "ReferencedImageSequence"):
            setattr(dataset, keyword, [item])


def hidden_in(content: bytes) -> list[str]:
    """The secrets that occur in bytes, in the encodings that a name may have."""
    encodings = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")
    lower = content.lower()
    return [
        secret
        for secret in (SECRET, PATIENT, INSTANCE)
        if any(secret.lower().encode(encoding) in lower for encoding in encodings)
        or base64.b64encode(secret.encode()).rstrip(b"=")[:-1] in content
    ]


def test_no_identifier_reaches_the_cohort_or_the_screen(
    archive: Archive, capfd: pytest.CaptureFixture[str]
) -> None:
    """Names in headers, private tags, sequences, file names and regions; searched in every byte."""
    for number, name in enumerate((f"{SECRET}_1.dcm", f"{SECRET}/{PATIENT}/scan")):
        archive.add(
            name,
            boxes={1: [BOX]},
            patient=PATIENT,
            instance=f"{INSTANCE}.{number}",
            frames=noise(4),
        )
        dataset = pydicom.dcmread(archive.src / name)
        plant_everywhere(dataset)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.save_as(archive.src / name)
    assert SECRET.encode() in (archive.src / name).read_bytes()
    archive.add(f"{SECRET}_broken.dcm", patient=PATIENT, NumberOfFrames=9, PatientName=SECRET)
    archive.add(f"{SECRET}_class.dcm", patient=PATIENT, SOPClassUID=f"{INSTANCE}.5")
    archive.add(f"{SECRET}_modality.dcm", patient=PATIENT, Modality=SECRET)
    archive.add(f"{SECRET}_image.dcm", patient=PATIENT, PhotometricInterpretation=SECRET)
    archive.add(f"{SECRET}_no_row.dcm", row=None, patient=PATIENT)
    archive.add(f"{SECRET}_gone.dcm", patient=PATIENT)
    (archive.src / f"{SECRET}.txt").write_text(SECRET)
    (archive.src / f"{SECRET}_linked").symlink_to(archive.folder)
    (archive.rois / f"{SECRET}_damaged.xml").write_text(f"<{SECRET}")
    settings = IngestSettings(size=SIZE, processes=2)
    capfd.readouterr()
    run(archive, settings)
    (archive.src / f"{SECRET}_gone.dcm").unlink()
    out = run(archive, settings)
    propagate(out, PropagateSettings(processes=1))
    summary(out, SummarySettings())
    said = capfd.readouterr()
    assert "1 files that an earlier run read are gone" in said.out
    assert len(Cohort.open(out).sequences) == 2
    assert not hidden_in((said.out + said.err).encode())
    written = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert {"annotations.json", "manifest.csv", "summary.html"} <= {p.name for p in written}
    for path, content in written.items():
        assert not hidden_in(content), path
        assert not hidden_in(str(path.relative_to(archive.folder)).encode()), path
    for sequence_id in Cohort.open(out).sequences:  # as they are read, whatever packs them
        array = zarr.open_array(out / "frames.zarr" / sequence_id, mode="r")
        assert not hidden_in(json.dumps(dict(array.attrs)).encode())
        assert not hidden_in(np.asarray(array[:]).tobytes())
    private_journal = out.with_name("cohort.private.jsonl")
    assert private_journal.stat().st_mode & 0o777 == 0o600
    assert PATIENT.encode() not in private_journal.read_bytes().replace(
        f"/{PATIENT}/".encode(), b""
    )


def test_a_torn_journal_line_is_an_unfinished_file(archive: Archive) -> None:
    archive.add("a.dcm")
    archive.add("b.dcm")
    out = run(archive)
    path = out.with_name("cohort.private.jsonl")
    path.write_bytes(path.read_bytes()[:-25])
    assert len(Cohort.open(run(archive)).sequences) == 2
    assert [entry["path"] for entry in journal(out)] == ["a.dcm", "b.dcm"]


def content(out: Path) -> dict[str, bytes]:
    """Every file of a cohort."""
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_killed_in_the_middle_it_continues_and_decodes_nothing_twice(archive: Archive) -> None:
    for number in range(24):
        archive.add(f"{number:02d}.dcm", frames=noise(40, 128, seed=number))
    archive.add("25.dcm", NumberOfFrames=9)
    key = archive.folder / "key"
    key.write_text("ab" * 32)
    out, undisturbed = archive.folder / "cohort", archive.folder / "undisturbed"
    arguments = [
        *("ingest", str(archive.src), "--key", str(key)),
        *("--labels", str(archive.labels), "--size", "128", "--processes", "2", "--out"),
    ]
    command = [sys.executable, "-m", "preprocess", *arguments]
    private = out.with_name("cohort.private.jsonl")
    kill_when(
        [sys.executable, "-c", SLOWLY, *arguments, str(out)],
        lambda: private.exists() and len(journal(out)) >= 3,
    )
    assert not (out / "annotations.json").exists()
    done = len(journal(out))
    assert 3 <= done < 24
    subprocess.run([*command, str(out)], check=True, capture_output=True)
    paths = [entry["path"] for entry in journal(out)]
    assert sorted(paths) == [f"{number:02d}.dcm" for number in (*range(24), 25)]
    subprocess.run([*command, str(undisturbed)], check=True, capture_output=True)
    assert len(Cohort.open(out).sequences) == 24
    assert content(out) == content(undisturbed)


def test_files_that_are_gone_are_said(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.dcm", "b.dcm", "moved.dcm"):
        archive.add(name)
    run(archive)
    assert "are gone" not in capsys.readouterr().out
    (archive.src / "b.dcm").unlink()
    (archive.src / "moved.dcm").rename(archive.src / "z.dcm")
    archive.rows.append("z.dcm,RCA,,,,,,,")
    cohort = Cohort.open(run(archive))
    said = capsys.readouterr().out
    assert "2 files that an earlier run read are gone" in said
    assert "and with them 1 cines" in said
    assert "b.dcm" not in said
    assert len(cohort.sequences) == 2
    notes = cohort.folder.with_name("cohort.private.jsonl").read_text()
    assert '"file b.dcm is gone"' in notes


def test_a_new_file_of_a_known_instance_is_a_duplicate_wherever_it_sorts(archive: Archive) -> None:
    archive.add("m.dcm", instance="1.2.3")
    run(archive)
    archive.add("a.dcm", instance="1.2.3")
    archive.add("z.dcm", instance="1.2.3")
    assert [row.status for row in read_manifest(run(archive))] == [
        "rejected",
        "accepted",
        "rejected",
    ]


def test_an_archive_that_goes_away_is_no_archive_of_bad_files(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add("a.dcm")
    archive.add("b.dcm")
    labels, key = archive.labels, archive.folder / "key"
    key.write_text("ab" * 32)
    append = Journal.append

    def unmount(journal: Journal, record: Record) -> None:
        append(journal, record)
        archive.src.rename(archive.folder / "away")

    monkeypatch.setattr(Journal, "append", unmount)
    with pytest.raises(ValueError, match=r"dicom is not there on .* must see the archive"):
        ingest(archive.src, labels=labels, out=archive.folder / "c", key=key, settings=HERE)


def test_two_ingests_into_one_cohort_do_not_mix(archive: Archive) -> None:
    archive.add("a.dcm")
    out = run(archive)
    with Journal(out, None), pytest.raises(ValueError, match="another ingest is writing"):
        run(archive)


def test_a_cine_is_on_the_disk_before_the_journal_says_so(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        archive.add(f"{number}.dcm")
    synced: set[int] = set()
    fsync, append = os.fsync, Journal.append

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    def checked(journal: Journal, record: Record) -> None:
        store = archive.folder / "cohort" / "frames.zarr"
        cine = store / record.sequence_id
        below = [store, cine, *cine.rglob("*")]
        assert [path.name for path in below if path.is_file()] == ["zarr.json", "0"]
        assert {path.stat().st_ino for path in below} <= synced
        synced.clear()
        append(journal, record)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Journal, "append", checked)
    assert len(Cohort.open(run(archive)).sequences) == 3


def test_who_has_the_archive_cannot_link_files_to_pseudonyms(archive: Archive) -> None:
    archive.add("a.dcm")
    archive.add("b.dcm", without=("PatientID",))
    out = run(archive)
    files = {hashlib.sha256(p.read_bytes()).hexdigest() for p in archive.src.iterdir()}
    named = {row.hmac_sha256 for row in read_manifest(out)}
    assert len(named) == 2 and all(len(name) == 64 for name in named)
    assert not named & files
    shared = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert not any(name.encode() in shared for name in files)
    other = archive.folder / "other"
    ingest(archive.src, labels=archive.labels, out=other, settings=HERE)
    assert not named & {row.hmac_sha256 for row in read_manifest(other)}, "under another key"


def test_two_patients_of_one_pseudonym_stop_the_ingest(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pseudonyms, "SHOWN_DIGITS", 1)
    for number in range(3):
        archive.add(f"{number}.dcm", patient=f"PAT-{number}", instance=f"1.2.{number}")
    key = archive.folder / "key"
    key.write_text("ab" * 32)  # under which these have different digits
    run(archive, key=key)
    for number in range(3, 17):
        archive.add(f"{number}.dcm", patient=f"PAT-{number}", instance="1.2.0")
    with pytest.raises(ValueError, match=r"Two patients have the same pseudonym P.\b"):
        run(archive, key=key)


def test_an_unreadable_file_is_tried_again(archive: Archive) -> None:
    archive.add("a.dcm")
    archive.add("b.dcm")
    (archive.src / "b.dcm").rename(archive.folder / "b")
    (archive.src / "b.dcm").symlink_to(archive.folder / "dangling")
    assert reasons(run(archive)) == ["cannot be read"]
    (archive.src / "b.dcm").unlink()
    (archive.folder / "b").rename(archive.src / "b.dcm")
    assert len(Cohort.open(run(archive)).sequences) == 2


def test_a_bad_block_on_the_archives_disk_stops_no_other_file(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add("a.dcm")
    archive.add("b.dcm")
    read_bytes = Path.read_bytes

    def broken(path: Path) -> bytes:
        if path.name == "a.dcm":
            raise OSError(5, "Input/output error")  # as read() raises it, without a name
        return read_bytes(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", broken)
        assert reasons(run(archive)) == ["cannot be read"]
    assert len(Cohort.open(run(archive)).sequences) == 2


def test_a_file_that_moved_away_and_back_is_not_counted_twice(archive: Archive) -> None:
    archive.add("a.dcm", instance="1.2.3")
    aside = archive.folder / "aside"
    run(archive)
    (archive.src / "a.dcm").rename(aside)
    archive.add("b.dcm", instance="1.2.3")
    run(archive)
    aside.rename(archive.src / "a.dcm")
    rows = read_manifest(run(archive))
    assert [row.status for row in rows] == ["accepted", "rejected"]


@pytest.mark.parametrize("phantoms", [0, 1, 2])
def test_phantoms_are_marked_and_the_summary_says_so(
    archive: Archive, capsys: pytest.CaptureFixture[str], phantoms: int
) -> None:
    for number in range(2):
        mark = {"QualityControlImage": "YES"} if number < phantoms else {}
        archive.add(f"{number}.dcm", frames=noise(seed=number), **mark)
    out = run(archive)
    sequences = Cohort.open(out).sequences.values()
    assert sum(sequence.quality_control_image for sequence in sequences) == phantoms
    summary(out, SummarySettings())
    said, page = capsys.readouterr().out, (out / "summary.html").read_text()
    notice = phantom_notice(phantoms, 2)
    assert ("Phantom data" in said) is ("Phantom data" in page) is bool(phantoms)
    assert notice in said and notice in page
    # Above everything that the page shows.
    body = page.partition("</a>")[2]
    assert body.strip().startswith("<header>" if not phantoms else '<aside class="phantom"')
    assert json.loads((out / "summary.json").read_text())["phantoms"] == phantoms
