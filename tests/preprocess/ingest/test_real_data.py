"""Real cines and stills, where they are: pixels as pydicom decodes them, refusals with reasons."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from preprocess.cohort import BoxSource, Cohort, Verdict, read_manifest
from preprocess.dicom.acceptance import Rejection
from preprocess.dicom.reader import read_cine
from preprocess.importers.arcade import import_arcade
from preprocess.importers.danilov import import_danilov
from preprocess.ingest.command import IngestSettings, ingest
from preprocess.storage.atomic import write_json
from preprocess.tracking.propagate import PropagateSettings, propagate
from tests.preprocess.tiny_archive import osirix, roi

DATA = Path(os.environ.get("ANGIORAY_REAL_DATA", Path(__file__).parents[4] / "shared" / "data"))
LCA = "philips_lca_75f_jpegbaseline.dcm"
RCA = "rubo_0002_rca_96f_jpegbaseline.dcm"

pytestmark = pytest.mark.skipif(
    not (DATA / "xa_dicom").is_dir(),
    reason="the real data are not on this machine (set ANGIORAY_REAL_DATA to their folder)",
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Both real cines with a hand-written label and a box each."""
    folder = tmp_path_factory.mktemp("real")
    labels = folder / "sequences.csv"
    labels.write_text(
        "file,view,reference_frame,introducing_start,optimal_start,vanishing_start,ifr\n"
        f"{LCA},LCA,30,10,25,36,0.85\n"
        f"{RCA},RCA,40,15,35,46,0.92\n"
    )
    (folder / "rois").mkdir()
    for name, frame, box in ((LCA, 30, (200, 150, 240, 190)), (RCA, 40, (150, 150, 190, 190))):
        write_json(folder / "rois" / f"{Path(name).stem}.json", osirix({frame: [roi(box)]}))
    settings = IngestSettings(processes=1)
    out = folder / "cohort"
    ingest(DATA / "xa_dicom", labels=labels, rois=folder / "rois", out=out, settings=settings)
    propagate(out, PropagateSettings(processes=1))
    return Cohort.open(out)


@pytest.mark.parametrize(("view", "name", "length"), [("LCA", LCA, 75), ("RCA", RCA, 96)])
def test_frames_are_what_pydicom_decodes(cohort: Cohort, view: str, name: str, length: int) -> None:
    (sequence,) = [s for s in cohort.sequences.values() if s.view == view]
    expected = pydicom.dcmread(DATA / "xa_dicom" / name).pixel_array
    assert expected.shape == (length, 512, 512)
    np.testing.assert_array_equal(cohort.cine(sequence.sequence_id), expected)


def test_headers_are_read_as_they_are(cohort: Cohort) -> None:
    by_view = {s.view: s for s in cohort.sequences.values()}
    lca, rca = by_view["LCA"], by_view["RCA"]
    assert (lca.primary_angle_deg, lca.secondary_angle_deg) == (40.1, 27)
    assert (rca.primary_angle_deg, rca.secondary_angle_deg) == (-32, 2)
    assert rca.frame_time_ms == 33
    assert rca.imager_pixel_spacing_mm is None
    # Its modality table leads from logarithmic pixels back to intensity: not for display.
    assert lca.display.modality_lut == ()


def test_pictures_use_the_grey_scale(cohort: Cohort) -> None:
    for sequence in cohort.sequences.values():
        shown = cohort.cine_8bit(sequence.sequence_id)[sequence.reference_frame or 0]
        assert shown.max() - shown.min() > 200
        assert 60 < shown.mean() < 200


def test_the_cerebral_secondary_captures_are_refused(cohort: Cohort) -> None:
    rejected = [row for row in read_manifest(cohort.folder) if row.status == "rejected"]
    assert len(rejected) == 7
    assert {row.reason for row in rejected} == {
        "not an XA image (its SOP class is Secondary Capture Image Storage)"
    }


def test_boxes_are_tracked_through_the_interval(cohort: Cohort) -> None:
    tracked = [box for box in cohort.boxes if box.source is BoxSource.TRACKED]
    assert len(tracked) == 20
    assert {box.verdict for box in tracked} <= set(Verdict)


@pytest.mark.parametrize("name", ["J2KI", "J2KR", "JLSL", "JLSN", "JPLL", "RLE", "JPLY"])
def test_every_compression_decodes_as_pydicom_does_or_better(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = DATA / "xa_dicom" / "wg04" / f"XA1_{name}.dcm"
    captures = (pydicom.uid.SecondaryCaptureImageStorage,)
    monkeypatch.setattr("preprocess.dicom.acceptance.ACCEPTED_CLASSES", captures)
    with pytest.raises(Rejection, match="size 1024 x 1024, not 512 x 512"):
        read_cine(path)
    cine = read_cine(path, size=0)
    assert cine.acquisition.bits_stored == 10
    if name == "JPLY":  # 12-bit JPEG, which pydicom cannot read: within its loss of the original
        original = pydicom.dcmread(path.with_name("XA1_JPLL.dcm")).pixel_array.astype(int)
        assert np.abs(cine.frames[0] - original).mean() < 3
        return
    np.testing.assert_array_equal(cine.frames[0], pydicom.dcmread(path).pixel_array)


def test_the_arcade_sample_is_imported(tmp_path: Path) -> None:
    if not (DATA / "arcade_sample").is_dir():
        pytest.skip("the ARCADE sample is not on this machine")
    import_arcade(DATA / "arcade_sample", tmp_path / "cohort", processes=1)
    found = Cohort.open(tmp_path / "cohort")
    assert len(found.sequences) == 140
    assert len(found.boxes) == 137
    views = [sequence.view for sequence in found.sequences.values()]
    assert (views.count("RCA"), views.count("LCA"), views.count(None)) == (30, 30, 80)


def test_the_danilov_sample_is_imported(tmp_path: Path) -> None:
    sample = DATA / "danilov" / "original_sample"
    if not sample.is_dir():
        pytest.skip("the sample of Danilov et al. is not on this machine")
    import_danilov(sample, tmp_path / "cohort", processes=1)
    found = Cohort.open(tmp_path / "cohort")
    assert {s: q.length for s, q in found.sequences.items()} == {
        "danilov_14_002_5": 6,
        "danilov_14_096_6": 1,
        "danilov_14_097_2": 1,
        "danilov_14_098_4": 1,
        "danilov_14_099_5": 1,
    }
    boxes = [b for b in found.boxes if b.sequence_id == "danilov_14_002_5"]
    # As written in the XML files of frames 16 and 17; the second lesion is seen on frame 17 alone.
    assert (boxes[0].frame_index, boxes[0].box_xyxy) == (0, (179, 148, 206, 167))
    assert {box.box_xyxy for box in boxes if box.frame_index == 1} == {
        (161, 173, 179, 187),
        (222, 174, 241, 186),
    }
    assert len(boxes) == 7
    expected = cv2.imread(str(sample / "14_002_5_0017.bmp"), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(found.cine("danilov_14_002_5")[1], expected)


@pytest.mark.slow
def test_the_whole_arcade_and_the_danilov_cines_are_imported(tmp_path: Path) -> None:
    archives = ["arcade_stenosis_1200.tar", "arcade_views_1200.tar"]
    cines = DATA / "danilov" / "sequences_8_patients.tar"
    if not all((DATA / name).is_file() for name in archives) or not cines.is_file():
        pytest.skip("the archives are not on this machine")
    for name in archives:
        with tarfile.open(DATA / name) as tar:
            tar.extractall(tmp_path / "arcade", filter="data")
    import_arcade(tmp_path / "arcade", tmp_path / "cohort", processes=2)
    found = Cohort.open(tmp_path / "cohort")
    views = [sequence.view for sequence in found.sequences.values()]
    assert (len(views), views.count("LCA"), views.count("RCA")) == (2400, 759, 441)
    assert len(found.boxes) == 2031
    with tarfile.open(cines) as tar:
        tar.extractall(tmp_path / "danilov", filter="data")
    shutil.copy(cines.with_name("labels_8_patients.csv"), tmp_path / "danilov")
    import_danilov(tmp_path / "danilov", tmp_path / "cines", processes=2)
    found = Cohort.open(tmp_path / "cines")
    assert sum(sequence.length for sequence in found.sequences.values()) == 579
    assert (len(found.sequences), len(found.boxes)) == (25, 580)
