"""Findings as DICOM: conformant whatever the source's header, in their place, and read back."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import EnhancedXAImageStorage, ExplicitVRBigEndian, ImplicitVRLittleEndian

from angioray.findings.dicom_files import write_dicom
from angioray.findings.provenance import Algorithm
from preprocess.dicom.acceptance import Rejection
from tests.angioray.findings.dicom_findings import ALGORITHM, LESIONS, box, findings, lesion, write
from tests.preprocess.tiny_archive import noise, write_cine

DATA = Path(os.environ.get("ANGIORAY_REAL_DATA", Path(__file__).parents[4] / "shared" / "data"))
PAGE = Path(__file__).parents[3] / "docs" / "viewers.md"
REAL = sorted((DATA / "xa_dicom").glob("*.dcm"))
needs_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not here"
)
needs_dcmtk = pytest.mark.skipif(
    shutil.which("dcmp2pgm") is None, reason="dcmp2pgm (dcmtk) is not here"
)
WHOLE: dict[str, Any] = {
    "StudyInstanceUID": "1.2.3",
    "SeriesInstanceUID": "1.2.3.4",
    "StudyID": "77",
    "StudyDate": "20240131",
    "StudyTime": "101112.5",
    "AccessionNumber": "A1",
    "PatientBirthDate": "19500203",
    "PatientSex": "F",
    "ReferringPhysicianName": "Roe^Rita",
    "SpecificCharacterSet": "ISO_IR 100",
    "PatientName": "Müller^Jürgen",
    "InstanceNumber": 4,
}


def lookup_table(bits: int, **more: Any) -> Dataset:
    """An item of a LUT sequence that maps 8 bits to ``bits``."""
    table = Dataset()
    table.LUTDescriptor = [256, 0, bits]
    table.LUTData = np.arange(0, 1024, 4, dtype=np.uint16).tobytes()
    for name, value in more.items():
        setattr(table, name, value)
    return table


ODD: dict[str, dict[str, Any]] = {
    "whole": {},
    "empty": {name: "" for name in WHOLE if not name.endswith("UID")},
    "no name of a character set that exists": {"SpecificCharacterSet": "ISO_IR 999"},
    "a misspelt character set": {"SpecificCharacterSet": "ISO IR 100"},
    "Japanese": {
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
        "PatientName": "Yamada^Tarou=山田^太郎",
    },
    "NUL bytes": {"PatientName": "Doe^Jane\0\0", "StudyID": "7\0", "PatientID": "P-1\0"},
    "dates and sex of no form": {
        "StudyDate": "31.1.2024",
        "StudyTime": "noon",
        "PatientBirthDate": "unknown",
        "PatientSex": "female",
    },
    "values too long, or with control characters": {
        "PatientName": "Doe^\x07" + "X" * 80,
        "PatientID": "A\nB" + "1" * 80,
        "IssuerOfPatientID": "I" * 80,
        "StudyDescription": "D\t" + "d" * 80,
        "StudyID": "7" * 20,
        "AccessionNumber": "A" * 20,
    },
    "numbers out of range": {"InstanceNumber": "99999999999", "RescaleSlope": 0},
    "UIDs of dots": {"StudyInstanceUID": "1..2.", "SeriesInstanceUID": "..."},
    "a table that declares more bits than it has": {
        "WindowCenter": None,
        "WindowWidth": None,
        "VOILUTSequence": [lookup_table(16)],
    },
    "separators": {"PatientName": "=", "PatientID": "A\\B", "StudyDate": "1994.10.13"},
    "several names": {"PatientName": ["Doe", "Jane"]},
    "no UID of the study": {"StudyInstanceUID": "none"},
    "one number of two": {"WindowCenter": [128, 60]},
    "no window": {"WindowCenter": None, "WindowWidth": None},
    "black is high": {"PhotometricInterpretation": "MONOCHROME1"},
    "big endian": {"syntax": ExplicitVRBigEndian},
    "implicit": {"syntax": ImplicitVRLittleEndian},
    "enhanced": {
        "SOPClassUID": EnhancedXAImageStorage,
        "SharedFunctionalGroupsSequence": [Dataset()],
        "PerFrameFunctionalGroupsSequence": [Dataset()] * 3,
    },
    "no number of frames": {"NumberOfFrames": None, "frames": noise(1)},
}


def cine(path: Path, **more: Any) -> Path:
    frames = more.pop("frames", noise())
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_cine(path, frames, **{**WHOLE, **more})
    return path


def conforms(path: Path) -> None:
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert not re.findall("^(?:Error|Abort).*", done.stderr, re.MULTILINE)


@needs_dciodvfy
@pytest.mark.parametrize("header", ODD.values(), ids=ODD)
def test_what_is_written_conforms_to_the_standard(tmp_path: Path, header: dict[str, Any]) -> None:
    source = cine(tmp_path / "cine.dcm", **header)
    lesions = LESIONS if "frames" not in header else (lesion(1, 0.9, box(0, (1.0, 2.0, 3.0, 4.0))),)
    for path in write(source, tmp_path / "cine", *lesions):
        conforms(path)


@needs_dciodvfy
@pytest.mark.parametrize("source", REAL, ids=lambda path: path.stem)
def test_real_cines(source: Path, tmp_path: Path) -> None:
    paths = write(source, tmp_path / "cine", lesion(1, 0.9, box(40, (200.5, 150.0, 240.0, 190.0))))
    assert len(paths) == 2
    for path in paths:
        conforms(path)


def test_a_cine_with_hardly_a_header(tmp_path: Path) -> None:
    bare = tmp_path / "cine.dcm"
    instance = write_cine(bare, noise(), without=("PatientName", "Modality"))
    state, report = map(dcmread, write(bare, tmp_path / "out" / "1.2.3", *LESIONS))
    for written in (state, report):
        assert written.PatientID == "PAT-1"
        assert written.PatientName == written.StudyID == written.AccessionNumber == ""
    referred = state.ReferencedSeriesSequence[0]
    assert referred.ReferencedImageSequence[0].ReferencedSOPInstanceUID == instance
    assert state.StudyInstanceUID == report.StudyInstanceUID  # made up, and the same in both


def test_the_patient_is_the_source_s(tmp_path: Path) -> None:
    for header in ("whole", "Japanese", "NUL bytes"):
        source = cine(tmp_path / "cine.dcm", **ODD[header])
        state, report = map(dcmread, write(source, tmp_path / "cine", *LESIONS))
        name = (WHOLE | ODD[header])["PatientName"].strip("\0")
        for written in (state, report):
            assert str(written.PatientName) == name
            assert written.StudyInstanceUID == "1.2.3"
            assert written.StudyID == ("7" if header == "NUL bytes" else "77")


def test_nothing_is_said_of_the_patient_and_files_are_for_their_owner(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    source = cine(tmp_path / "cine.dcm", PatientName="Bono", StudyDate="31.1.2024")
    with caplog.at_level(logging.WARNING):
        paths = write(source, tmp_path / "cine", *LESIONS)
    assert not caplog.records
    assert not recwarn.list
    assert [path.name for path in paths] == ["cine.angioray-pr.dcm", "cine.angioray-sr.dcm"]
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}


def test_the_same_findings_have_the_same_uids_and_others_others(tmp_path: Path) -> None:
    source = cine(tmp_path / "cine.dcm")
    first = {path: path.read_bytes() for path in write(source, tmp_path / "cine", *LESIONS)}
    write(source, tmp_path / "cine", *LESIONS)
    assert {path: path.read_bytes() for path in first} == first
    instances = [{dcmread(path).SOPInstanceUID for path in first}]
    for study, lesions in (("f" * 64, LESIONS), (ALGORITHM.study_sha256, LESIONS[:1])):
        other = Algorithm(name="angioray", version="1.2.3", study_sha256=study)
        found = findings(*lesions)
        paths = write_dicom(source, tmp_path / "cine", found, algorithm=other, score=0.5)
        instances.append({dcmread(path).SOPInstanceUID for path in paths})
    assert len(set.union(*instances)) == 6


def test_another_window_or_table_is_another_object(tmp_path: Path) -> None:
    no_window = {"WindowCenter": None, "WindowWidth": None}
    other = lookup_table(10, LUTData=bytes(512))
    instances = set()
    for header in (
        {},
        {"WindowCenter": 60},
        {"RescaleSlope": 2},
        {**no_window, "VOILUTSequence": [lookup_table(10)]},
        {**no_window, "VOILUTSequence": [other]},
    ):
        source = cine(tmp_path / "cine.dcm", SOPInstanceUID="1.2.9", **header)
        instances.add(dcmread(write(source, tmp_path / "cine", *LESIONS)[0]).SOPInstanceUID)
    assert len(instances) == 5


def test_the_window_is_the_one_that_ingest_takes(tmp_path: Path) -> None:
    """The first that can be used; a slope of 0 counts as 1, and an absent intercept as 0."""
    header = {"WindowCenter": [100, 120, 90], "WindowWidth": [0, 60, 70]}
    source = cine(tmp_path / "cine.dcm", **header, RescaleSlope=2)
    state = dcmread(write(source, tmp_path / "cine", *LESIONS)[0])
    (shown,) = state.SoftcopyVOILUTSequence
    assert (shown.WindowCenter, shown.WindowWidth) == (120, 60)
    assert (state.RescaleSlope, state.RescaleIntercept) == (2, 0)
    source = cine(tmp_path / "cine.dcm", RescaleSlope=0, RescaleIntercept=5)
    state = dcmread(write(source, tmp_path / "cine", *LESIONS)[0])
    assert (state.RescaleSlope, state.RescaleIntercept) == (1, 5)


def test_where_nothing_was_found_the_report_says_so_alone(tmp_path: Path) -> None:
    source = cine(tmp_path / "cine.dcm")
    state, _ = write(source, tmp_path / "cine", *LESIONS)
    assert state.exists()
    (path,) = write(source, tmp_path / "cine", LESIONS[2])
    assert not state.exists()
    content = hd.sr.srread(path).content
    assert not content.get_planar_roi_measurement_groups()
    (group,) = content.get_image_measurement_groups()
    (said,) = group.get_qualitative_evaluations()
    assert said.value == codes.DCM.AllAlgorithmsSucceededWithoutFindings


def test_what_is_no_cine_is_refused(tmp_path: Path) -> None:
    source = cine(tmp_path / "cine.dcm")
    _, report = write(source, tmp_path / "cine", *LESIONS)
    with pytest.raises(Rejection, match="not an XA image"):
        write(report, tmp_path / "again", *LESIONS)
    with pytest.raises(Rejection, match="its file has fewer frames"):
        write(source, tmp_path / "again", lesion(1, 0.9, box(3, (1.0, 1.0, 2.0, 2.0))))
    assert not list(tmp_path.glob("again*"))


def test_the_report_is_read_back_box_for_box(tmp_path: Path) -> None:
    instance = dcmread(source := cine(tmp_path / "cine.dcm")).SOPInstanceUID
    _, path = write(source, tmp_path / "cine", *LESIONS)
    report = hd.sr.srread(path)
    assert (report.VerificationFlag, report.CompletionFlag) == ("UNVERIFIED", "COMPLETE")
    read = []
    for group in report.content.get_planar_roi_measurement_groups():
        assert group.finding_type == codes.SCT.Stenosis
        assert [site.value for site in group.finding_sites] == [codes.SCT.LeftCoronaryArtery]
        corners = group.roi.value
        (source_item,) = group.roi.ContentSequence[0].ReferencedSOPSequence
        assert source_item.ReferencedSOPInstanceUID == instance
        assert len(corners) == 5
        assert (corners[0] == corners[4]).all()
        scores = [measured.value for measured in group.get_measurements()]
        low, high = corners.min(axis=0), corners.max(axis=0)
        frame = int(source_item.ReferencedFrameNumber)
        read.append((group.tracking_identifier, frame, (*low, *high), scores))
    # Frames count from 1. The carried box has no score of its own; lesion 3 is below 0.5.
    assert read == [
        ("L1", 1, (4.25, 6.5, 12.0, 20.75), [87.5]),
        ("L1", 2, (5.25, 6.5, 13.0, 20.75), []),
        ("L2", 2, (20.0, 0.0, 32.0, 9.5), [62.5]),
    ]
    _, first, second = report.content.get_image_measurement_groups()
    uids = [group.tracking_uid for group in report.content.get_planar_roi_measurement_groups()]
    assert uids == [first.tracking_uid, first.tracking_uid, second.tracking_uid]
    assert [m.value for g in (first, second) for m in g.get_measurements()] == [87.5, 62.5]
    texts = {i.ConceptNameCodeSequence[0].CodeMeaning: i.TextValue for i in _texts(first)}
    assert texts["Algorithm Name"] == "angioray"
    assert texts["Algorithm Version"] == "1.2.3"
    assert ALGORITHM.study_sha256 in report.to_json()


@pytest.mark.parametrize(
    ("view", "site"), [("RCA", "Right Coronary Artery"), (None, "Coronary artery")]
)
def test_the_view_names_the_artery(tmp_path: Path, view: str | None, site: str) -> None:
    _, path = write(cine(tmp_path / "cine.dcm"), tmp_path / "cine", *LESIONS, view=view)
    groups = hd.sr.srread(path).content.get_planar_roi_measurement_groups()
    assert {group.finding_sites[0].value.meaning for group in groups} == {site}


@needs_dcmtk
@pytest.mark.parametrize("frame", [0, 1])
def test_dcmtk_has_the_boxes_of_the_frame_at_their_pixels(tmp_path: Path, frame: int) -> None:
    """DCMTK lists the graphics of the first frame: with a box on it, and with one beside it."""
    source = cine(tmp_path / "cine.dcm")
    state, _ = write(source, tmp_path / "cine", lesion(1, 0.9, box(frame, (4.25, 6.5, 12, 20.75))))
    command = ["dcmp2pgm", "-v", "-p", state, source, tmp_path / "frame.pgm"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    graphics = re.findall(r"graphic 1: (.*)\nI: +coordinates: (.*)", said)
    there = (
        "points=5 type=polyline filled=no units=pixel",
        r"4.25\6.5, 12\6.5, 12\20.75, 4.25\20.75, 4.25\6.5, ",
    )
    assert graphics == ([there] if frame == 0 else [])


@needs_dcmtk
@pytest.mark.parametrize(
    "header",
    [
        {},
        {"WindowCenter": 60, "WindowWidth": 41},
        {"WindowCenter": [60, 128], "WindowWidth": [41, 256]},
        {"WindowCenter": None, "WindowWidth": None},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"RescaleSlope": 2, "RescaleIntercept": -10, "RescaleType": "US"},
        {"WindowCenter": None, "WindowWidth": None, "VOILUTSequence": [lookup_table(10)]},
    ],
    ids=[
        "a window of all",
        "a narrow one",
        "the first of two",
        "none",
        "black is high",
        "rescaled",
        "a table",
    ],
)
def test_the_picture_looks_as_without_it(tmp_path: Path, header: dict[str, Any]) -> None:
    source = cine(tmp_path / "cine.dcm", **header)
    state, _ = write(source, tmp_path / "cine", *LESIONS)
    for given, name in ((["-p", state], "with.pgm"), ([], "without.pgm")):
        command = ["dcmp2pgm", "-f", "2", *given, source, tmp_path / name]
        subprocess.run(command, capture_output=True, check=True)
    assert (tmp_path / "with.pgm").read_bytes() == (tmp_path / "without.pgm").read_bytes()


def test_a_modality_table_that_is_not_for_display_stays_behind(tmp_path: Path) -> None:
    tables = [lookup_table(16, ModalityLUTType="US")]
    for relationship, kept in (("LOG", False), ("LIN", True)):
        source = cine(
            tmp_path / "cine.dcm",
            PixelIntensityRelationship=relationship,
            ModalityLUTSequence=tables,
        )
        state = dcmread(write(source, tmp_path / relationship, *LESIONS)[0])
        assert ("ModalityLUTSequence" in state) is kept
    (written,) = state.ModalityLUTSequence
    assert written.LUTDescriptor == [256, 0, 16]
    assert written.LUTData == tables[0].LUTData


def test_a_modality_table_of_10_bits_is_written_with_16_as_the_standard_wants(
    tmp_path: Path,
) -> None:
    tables = [lookup_table(10, ModalityLUTType="US")]
    source = cine(
        tmp_path / "cine.dcm", PixelIntensityRelationship="LIN", ModalityLUTSequence=tables
    )
    (written,) = dcmread(write(source, tmp_path / "cine", *LESIONS)[0]).ModalityLUTSequence
    assert written.LUTDescriptor == [256, 0, 16]
    assert written.LUTData == tables[0].LUTData


def test_a_carried_box_is_dashed_and_labels_stay_in_the_frame(tmp_path: Path) -> None:
    source = cine(tmp_path / "cine.dcm")
    state = dcmread(write(source, tmp_path / "cine", *LESIONS)[0])
    first, second = state.GraphicAnnotationSequence
    assert "LineStyleSequence" not in first.GraphicObjectSequence[0]
    carried, found = second.GraphicObjectSequence
    assert carried.LineStyleSequence[0].LineDashingStyle == "DASHED"
    assert "LineStyleSequence" not in found
    labels = second.TextObjectSequence
    assert [label.UnformattedTextValue for label in labels] == ["L1 0.88", "L2 0.62"]
    for label in labels:
        corners = [*label.BoundingBoxTopLeftHandCorner, *label.BoundingBoxBottomRightHandCorner]
        assert min(corners) >= 0
        assert max(corners) <= 32


def test_the_page_reads_the_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(cine(tmp_path / "IM1.dcm"), tmp_path / "IM1.dcm", *LESIONS)
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec"), names)
    assert names["boxes"] == [
        ("L1", 1, (4.25, 6.5, 12.0, 20.75)),
        ("L1", 2, (5.25, 6.5, 13.0, 20.75)),
        ("L2", 2, (20.0, 0.0, 32.0, 9.5)),
    ]


def _texts(group: Any) -> list[Dataset]:
    return [item for item in group[0].ContentSequence if item.ValueType == "TEXT"]
