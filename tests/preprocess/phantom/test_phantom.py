"""The phantom archive: its bytes, its files, and whether its physics and its truth agree."""

from __future__ import annotations

import csv
import json
import plistlib
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import JPEGLosslessSV1

from preprocess.phantom.archive import write_archive
from preprocess.phantom.plan import make
from preprocess.phantom.reader import MOST_JITTER_PX
from preprocess.phantom.scene import Scene
from preprocess.phantom.settings import PhantomSettings
from preprocess.phantom.truth import SequenceTruth, read_truth

SETTINGS = PhantomSettings(
    patients=2,
    sequences=3,
    frames_min=8,
    frames_max=9,
    seed=5,
    rca_fraction=0.34,
    healthy_fraction=0.34,
    multiple_lesion_fraction=0,
    implant_fraction=0,
    pacemaker_fraction=0,
    ifr_wire_fraction=0.34,
    jpeg_fraction=0.6,
    processes=1,
)
REQUIRED = (
    *("PatientName", "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID", "KVP"),
    *("RadiationSetting", "PixelIntensityRelationship", "ImagerPixelSpacing", "CineRate"),
    *("PositionerPrimaryAngle", "PositionerSecondaryAngle", "PositionerMotion"),
    *("DistanceSourceToDetector", "DistanceSourceToPatient"),
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "archive"
    write_archive(folder, SETTINGS)
    return folder


@pytest.fixture(scope="module")
def truths(archive: Path) -> tuple[SequenceTruth, ...]:
    return read_truth(archive / "truth" / "truth.json")


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_two_processes_write_the_same_bytes_as_one(archive: Path, tmp_path: Path) -> None:
    settings = PhantomSettings(**{**vars(SETTINGS), "processes": 2})
    write_archive(tmp_path / "again", settings)
    assert _contents(tmp_path / "again") == _contents(archive)


def test_archive_holds_nothing_unexpected(archive: Path) -> None:
    assert {p.name for p in archive.iterdir()} == {
        "dicom",
        "labels",
        "truth",
        "phantom.key",
        "phantom.json",
    }
    assert not [name for name in _contents(archive) if "partial" in name]
    assert len(bytes.fromhex((archive / "phantom.key").read_text())) == 32


def test_another_seed_gives_other_patients() -> None:
    other = make(PhantomSettings(**{**vars(SETTINGS), "seed": 6}))
    assert {p.patient.patient_id for p in other}.isdisjoint(
        p.patient.patient_id for p in make(SETTINGS)
    )


def test_finished_archive_is_left_alone(archive: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in archive.rglob("*")}
    summary = write_archive(archive, SETTINGS)
    assert summary.already_there
    assert (summary.sequences, summary.discarded, summary.patients) == (3, 1, 2)
    assert {p: p.stat().st_mtime_ns for p in archive.rglob("*")} == before


def test_unfinished_archive_is_continued(archive: Path, tmp_path: Path) -> None:
    # What a crash leaves: the mark of a start, and some of the files.
    folder = tmp_path / "broken"
    contents = _contents(archive)
    dicom = sorted(name for name in contents if name.startswith("dicom"))
    kept = [*dicom[:-1], *(name for name in contents if "rois" in name)]
    for name in kept:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(contents[name])
    document = json.loads(contents["phantom.json"])
    mark = {key: document[key] for key in ("schema_version", "settings")}
    (folder / "phantom.unfinished.json").write_text(json.dumps(mark))
    stamps = {name: (folder / name).stat().st_mtime_ns for name in dicom[:-1]}
    write_archive(folder, SETTINGS)
    assert _contents(folder) == contents
    assert {name: (folder / name).stat().st_mtime_ns for name in dicom[:-1]} == stamps


def test_other_settings_are_refused_by_name(archive: Path) -> None:
    with pytest.raises(ValueError, match="seed is 5 there and 6 here"):
        write_archive(archive, PhantomSettings(**{**vars(SETTINGS), "seed": 6}))


def test_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match=r"not empty \(it holds thesis.tex\)"):
        write_archive(tmp_path, SETTINGS)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_every_problem_of_the_settings_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"frames_min is 7; .*jpeg_fraction is 2; "):
        PhantomSettings(frames_min=7, jpeg_fraction=2)
    with pytest.raises(ValueError, match=r"sequences is 1; .*frames_max is 9; .* together exceed"):
        PhantomSettings(
            patients=2,
            sequences=1,
            frames_max=9,
            healthy_fraction=0.7,
            multiple_lesion_fraction=0.4,
        )


def test_headers_hold_what_the_xa_object_requires(
    archive: Path, truths: tuple[SequenceTruth, ...]
) -> None:
    for truth in truths:
        dataset = pydicom.dcmread(archive / "dicom" / truth.file)
        assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.12.1"
        assert dataset.SOPInstanceUID == truth.sop_instance_uid
        assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
        assert dataset.Modality == "XA"
        assert dataset.ImageType == ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
        assert (dataset.Rows, dataset.Columns, dataset.BitsStored) == (512, 512, 8)
        assert dataset.NumberOfFrames == truth.frames
        assert dataset.FrameIncrementPointer == 0x00181063
        assert float(dataset.FrameTime) == pytest.approx(1000 / 15, abs=1e-3)
        assert dataset.PatientID == truth.patient_id
        for name in REQUIRED:
            assert dataset[name].value not in ("", None), name
        assert dataset.QualityControlImage == "YES"


def test_lossless_jpeg_decodes_alike_in_two_codecs(
    archive: Path, truths: tuple[SequenceTruth, ...]
) -> None:
    syntaxes = set()
    for truth in truths:
        dataset = pydicom.dcmread(archive / "dicom" / truth.file)
        syntaxes.add(dataset.file_meta.TransferSyntaxUID)
        if dataset.file_meta.TransferSyntaxUID != JPEGLosslessSV1:
            continue
        streams = list(generate_frames(dataset.PixelData, number_of_frames=truth.frames))
        dataset.pixel_array_options(decoding_plugin="gdcm")
        for frame, stream in zip(dataset.pixel_array, streams, strict=True):
            scan = stream.index(b"\xff\xda")
            assert stream[scan + 7] == 1, "predictor of a first-order stream"
            np.testing.assert_array_equal(imagecodecs.ljpeg_decode(stream), frame)
            np.testing.assert_array_equal(imagecodecs.jpeg8_decode(stream), frame)
    assert len(syntaxes) == 2, "the archive is to hold both transfer syntaxes"


def test_frames_look_exposed_and_contrast_arrives(
    archive: Path, truths: tuple[SequenceTruth, ...]
) -> None:
    for truth in truths:
        frames = pydicom.dcmread(archive / "dicom" / truth.file).pixel_array
        assert frames[0].std() > 25
        assert 50 < np.median(frames) < 205
        for box in truth.boxes_in(truth.reference_frame):
            x1, y1, x2, y2 = map(round, box.box_xyxy)
            before = np.percentile(cv2.blur(frames[0], (3, 3))[y1:y2, x1:x2], 3)
            filled = np.percentile(cv2.blur(frames[truth.reference_frame], (3, 3))[y1:y2, x1:x2], 3)
            assert filled < before - 5


def test_phases_follow_each_other(truths: tuple[SequenceTruth, ...]) -> None:
    for truth in truths:
        assert (
            0
            < truth.introducing_start
            < truth.optimal_start
            <= truth.reference_frame
            < truth.vanishing_start
            < truth.frames
        )


def test_boxes_lie_in_the_frame_around_the_lesion(truths: tuple[SequenceTruth, ...]) -> None:
    boxed = 0
    for plan, truth in zip(make(SETTINGS), truths, strict=True):
        scene = Scene.of(plan, SETTINGS.seed)
        assert len(truth.boxes_in(truth.reference_frame)) == len(truth.lesions)
        for box in truth.boxes:
            x1, y1, x2, y2 = box.box_xyxy
            assert 0 <= x1 < x2 <= 512 and 0 <= y1 < y2 <= 512
            (lesion,) = (x for x in scene.tree.lesions if x.lesion_id == box.lesion_id)
            centre = scene.tree.branches[lesion.branch].centres_mm[lesion.centre]
            place = scene.place(centre.reshape(3, 1).astype(np.float32), box.frame_index)
            column, row, _ = scene.carm.project(place)
            assert x1 < column[0] + 0.5 < x2 and y1 < row[0] + 0.5 < y2
            boxed += 1
    assert boxed > 3


def test_labels_and_regions_agree_with_the_truth(
    archive: Path, truths: tuple[SequenceTruth, ...]
) -> None:
    with (archive / "labels" / "sequences.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    regions = {}
    for path in (archive / "labels" / "rois").glob("*.xml"):
        (image,) = plistlib.loads(path.read_bytes())["Images"]
        assert image["NumberOfROIs"] == len(image["ROIs"])
        regions[image["ROIs"][0]["SOPInstanceUID"]] = image
    for truth in truths:
        row = rows[truth.file]
        assert row["no_lesion"] == str(not truth.lesions and not truth.exclude).lower()
        assert row["exclude"] == truth.exclude
        image = regions.pop(truth.sop_instance_uid, None)
        if truth.exclude or not truth.lesions:
            assert image is None
            continue
        assert image is not None
        assert image["ImageIndex"] == truth.reference_frame == int(row["reference_frame"])
        rectangles, lumens = image["ROIs"][::2], image["ROIs"][1::2]
        assert [r["Name"] for r in rectangles] == [r["Name"] for r in lumens]
        for region, box in zip(rectangles, truth.boxes_in(truth.reference_frame), strict=True):
            points = [tuple(map(float, p.strip("()").split(","))) for p in region["Point_px"]]
            assert region["NumberOfPoints"] == len(points) == 4
            drawn = (*np.min(points, axis=0), *np.max(points, axis=0))
            assert np.abs(np.subtract(drawn, box.box_xyxy)).max() <= MOST_JITTER_PX + 0.01
    assert not regions


def test_missing_truth_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Only phantom archives have a truth"):
        read_truth(tmp_path / "truth.json")
