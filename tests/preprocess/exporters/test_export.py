"""A cohort in the formats of other tools: what is in the files, and that they are whole."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from preprocess.__main__ import main
from preprocess.cohort import Box, Cohort, write_annotations
from preprocess.exporters import video
from preprocess.exporters.command import ExportSettings, export
from preprocess.exporters.correct import CorrectSettings, correct
from preprocess.ingest.command import IngestSettings, ingest
from tests.browser import CHROMIUM, Browser, needs_browser
from tests.preprocess.drawn_cohort import sequence
from tests.preprocess.exporters.awkward_cohort import (
    AWKWARD,
    DEEP,
    THIRD,
    box,
    write_awkward_cohort,
)
from tests.toy_cohort import write_toy_cohort

DATA = Path(os.environ.get("ANGIORAY_REAL_DATA", "none"))
ALONE = ExportSettings(processes=1)

PLAYED = """
(async () => {
  const video = document.querySelector('video');
  const canvas = document.createElement('canvas');
  const failed = new Promise(done => video.addEventListener('error', () => done('error')));
  const ended = new Promise(done => video.addEventListener('ended', () => done('ended')));
  video.play();
  const how = await Promise.race([failed, ended]);
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const grey = [...pixels].filter((_, i) => i % 4 == 0);
  return [how, video.readyState, canvas.width, canvas.height, video.duration,
          grey.reduce((a, b) => a + b) / grey.length];
})()
"""
"""How a video ended, and the mean grey level of its last frame."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return write_awkward_cohort(tmp_path_factory.mktemp("awkward") / "cohort")


def pictures(folder: Path) -> list[np.ndarray]:
    found = sorted(path for path in folder.iterdir())
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in found]


def decoded(path: Path) -> np.ndarray:
    """Every frame of a video (uint8[T, H, W, 3])."""
    opened, frames = cv2.VideoCapture(str(path)), []
    while (read := opened.read())[0]:
        frames.append(read[1])
    return np.stack(frames)


def test_every_cine_becomes_a_task_of_cvat(cohort: Cohort, tmp_path: Path) -> None:
    out = tmp_path / "there"
    export(cohort.folder, to="cvat", out=out, settings=ALONE)
    assert {path.name for path in out.iterdir()} == {*cohort.sequences, "labels.txt"}
    for name, cine in cohort.sequences.items():
        images = out / name / "images"
        named = [f"frame_{frame:06d}.PNG" for frame in range(cine.length)]
        assert sorted(path.name for path in images.iterdir()) == named
        assert np.array_equal(pictures(images), cohort.cine_8bit(name))
    (label,) = json.loads((out / "labels.txt").read_text())
    assert label["name"] == "stenosis"
    names = {attribute["name"] for attribute in label["attributes"]}
    assert names == {"instance_id", "source", "confidence", "verdict", "exported", "ignore"}


def test_the_xml_is_that_of_cvat_for_video(cohort: Cohort, tmp_path: Path) -> None:
    """Against the documented structure: https://docs.cvat.ai/docs/other/xml_format."""
    export(cohort.folder, to="cvat", out=tmp_path / "there", settings=ALONE)
    root = ElementTree.parse(tmp_path / "there" / "S2" / "annotations.xml").getroot()
    assert root.tag == "annotations" and root.findtext("version") == "1.1"
    task = root.find("meta/task")
    assert task is not None
    assert [task.findtext(tag) for tag in ("name", "size", "mode")] == ["S2", "10", "interpolation"]
    assert task.findtext("labels/label/name") == "stenosis"
    assert [task.findtext(f"original_size/{side}") for side in ("width", "height")] == ["32", "32"]
    tracks = root.findall("track")
    assert [track.get("id") for track in tracks] == ["0", "1", "2"]
    needed = {"frame", "keyframe", "outside", "occluded", "xtl", "ytl", "xbr", "ybr", "z_order"}
    for track in tracks:
        assert track.get("label") == "stenosis" and track.get("source") == "manual"
        for shape in track:
            assert shape.tag == "box" and set(shape.attrib) == needed
            assert shape.get("keyframe") == "1" and shape.get("occluded") == "0"
    states = [[(s.get("frame"), s.get("outside")) for s in track] for track in tracks]
    area = [("0", "0"), ("1", "1")]
    # The lesion is outside where no box follows, and not after the last frame of the cine.
    assert states == [[("4", "0"), ("5", "1"), ("9", "0")], area, area]
    # CVAT takes the attributes of a track from its last shape, so each shape has them.
    assert all(len(shape) == 6 for track in tracks for shape in track)
    said = {a.get("name"): a.text for a in tracks[0][2]}
    assert said["source"] == "tracked" and said["confidence"] == "0.5"
    assert (said["instance_id"], said["ignore"]) == ("12", "false")
    assert {a.get("name"): a.text for a in tracks[1][0]}["ignore"] == "true"


def test_coco_is_the_cohort_s_own_file_with_images_that_exist(
    cohort: Cohort, tmp_path: Path
) -> None:
    out = tmp_path / "there"
    export(cohort.folder, to="coco", out=out, settings=ALONE)
    annotations = out / "annotations.json"
    assert annotations.read_bytes() == (cohort.folder / "annotations.json").read_bytes()
    coco = COCO(str(annotations))
    assert len(coco.imgs) == 51 and len(coco.anns) == len(cohort.boxes) + len(cohort.ignored)
    for image in coco.imgs.values():
        picture = cv2.imread(str(out / "images" / image["file_name"]), cv2.IMREAD_UNCHANGED)
        assert picture.shape == (image["height"], image["width"])
    assert sum(path.is_file() for path in (out / "images").rglob("*")) == 51


def test_png_are_what_a_reader_sees_and_the_default_folder_is_beside_the_cohort(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["export", str(cohort.folder), "--to", "png", "--processes", "2"])
    out = cohort.folder.with_name("cohort-png")
    found = pictures(out / DEEP)
    assert np.array_equal(found, cohort.cine_8bit(DEEP))
    assert found[0].dtype == np.uint8 and cohort.cine(DEEP).dtype == np.uint16
    assert sorted(path.name for path in (out / "S6").iterdir()) == ["000000.png"]
    said = capsys.readouterr().out
    assert "1 cines have more than 8 bits; their pictures have 8, as displayed" in said
    assert "1 cines may hold text in their pixels, perhaps a name" in said
    assert "51 frames of 6 sequences, 9 boxes" in said
    with pytest.raises(SystemExit):
        main(["export", str(cohort.folder), "--to", "png"])
    assert "is there already" in capsys.readouterr().err


def test_boxes_are_drawn_where_they_are(tmp_path: Path) -> None:
    drawn = box("S1", 4, 3, (10.0, 5.5, 20.0, 9.2))
    cohort = write_awkward_cohort(tmp_path / "cohort", [drawn])
    export(cohort.folder, to="png", out=tmp_path / "there", boxes=True, settings=ALONE)
    plain, found = cohort.cine_8bit("S1"), pictures(tmp_path / "there" / "S1")
    reference = [255, 229, 0]
    # Columns 10 to 19 and rows 5 to 9 hold the box; its outermost pixels are the line.
    for row, column in ((5, 10), (5, 19), (9, 10), (9, 19), (7, 10)):
        assert found[4][row, column].tolist() == reference
    for row, column in ((7, 15), (4, 10), (5, 20), (10, 10)):
        assert found[4][row, column].tolist() == [plain[4, row, column]] * 3
    assert np.array_equal(found[3], np.repeat(plain[3][..., None], 3, axis=-1))


def test_a_few_sequences_alone(cohort: Cohort, tmp_path: Path) -> None:
    out = tmp_path / "there"
    some = ExportSettings(sequences=("S6", "S2"), processes=1)
    export(cohort.folder, to="coco", out=out, settings=some)
    assert sorted(path.name for path in (out / "images").iterdir()) == ["S2", "S6"]
    document = json.loads((out / "annotations.json").read_text())
    assert [video["sequence_id"] for video in document["videos"]] == ["S2", "S6"]
    assert len(document["annotations"]) == 4
    wrong = ExportSettings(sequences=("S66",))
    with pytest.raises(ValueError, match="no sequence 'S66'; did you mean S6"):
        export(cohort.folder, to="png", out=tmp_path / "more", settings=wrong)


def test_boxes_are_for_pictures_alone(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="coco has the boxes in a file of its own"):
        export(cohort.folder, to="coco", out=tmp_path / "there", boxes=True, settings=ALONE)
    assert not (tmp_path / "there").exists()


def test_a_video_has_every_frame_at_the_cine_s_own_rate(tmp_path: Path) -> None:
    cohort = write_toy_cohort(tmp_path / "cohort", patients=1, views=("RCA",))
    export(cohort.folder, to="mp4", out=tmp_path / "there", settings=ALONE)
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [
        f"{name}.mp4" for name in cohort.sequences
    ]
    (name, *_), path = cohort.sequences, tmp_path / "there" / "S00RCA.mp4"
    found, expected = decoded(path), cohort.cine_8bit(name)
    assert found.shape == (*expected.shape, 3)
    # VP9 smooths noise, which here has a deviation of 6 levels; edges are blurred.
    apart = np.abs(found.astype(int) - expected[..., None])
    assert apart.mean() < 6 and np.ptp(found, axis=-1).max() == 0
    assert abs(found.mean() - expected.mean()) < 1
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == 15


def test_videos_of_stills_of_12_bits_and_of_another_rate(cohort: Cohort, tmp_path: Path) -> None:
    out = tmp_path / "there"
    some = ExportSettings(sequences=("S6", DEEP), processes=1)
    export(cohort.folder, to="mp4", out=out, boxes=True, settings=some)
    assert decoded(out / "S6.mp4").shape == (1, 32, 32, 3)
    assert decoded(out / f"{DEEP}.mp4").shape == (10, 32, 32, 3)
    fast = replace(sequence("S1", "P1", "RCA"), frame_time_ms=40.0)
    video.write_cine(tmp_path, fast, np.full((3, 32, 32), 100, np.uint8), [])
    assert cv2.VideoCapture(str(tmp_path / "S1.mp4")).get(cv2.CAP_PROP_FPS) == 25


def test_an_opencv_without_the_codec_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "CODEC", "none")
    frames = np.full((3, 32, 32), 100, np.uint8)
    with pytest.raises(ValueError, match="0 of 3 frames: the disk may be full, or this OpenCV"):
        video.write_cine(tmp_path, sequence("S1", "P1", "RCA"), frames, [])


def test_a_video_of_odd_sides_keeps_every_pixel(tmp_path: Path) -> None:
    frames = np.full((3, 33, 47), 200, np.uint8)
    video.write_cine(tmp_path, sequence("S1", "P1", "RCA"), frames, [])
    found = decoded(tmp_path / "S1.mp4")
    assert found.shape == (3, 34, 48, 3)
    assert abs(found[:, :33, :47].astype(int) - 200).max() < 20


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("boxes", [False, True])
def test_a_video_plays_in_a_browser(tmp_path: Path, boxes: bool) -> None:
    cohort = write_toy_cohort(tmp_path / "cohort", patients=1, views=("RCA",))
    export(cohort.folder, to="mp4", out=tmp_path / "there", boxes=boxes, settings=ALONE)
    content = base64.b64encode((tmp_path / "there" / "S00RCA.mp4").read_bytes()).decode()
    page = tmp_path / "page.html"
    page.write_text(f'<title>x</title><video muted src="data:video/mp4;base64,{content}"></video>')
    assert CHROMIUM
    with Browser(CHROMIUM) as browser:
        browser.open(page)
        how, ready, width, height, duration, grey = browser.evaluate(PLAYED)
    assert (how, ready, width, height) == ("ended", 4, 64, 64)
    assert duration == pytest.approx(8 / 15, abs=1e-3)
    assert grey == pytest.approx(cohort.cine_8bit("S00RCA")[-1].mean(), abs=4 if boxes else 1)


KILLED = """
import os, signal, sys
from preprocess.exporters import pictures
from preprocess.__main__ import main

write = pictures.write_cine

def killed(folder, sequence, *rest):
    write(folder, sequence, *rest)
    if sequence.sequence_id == "S3":
        os.kill(os.getpid(), signal.SIGKILL)

pictures.write_cine = killed
main()
"""
"""The command, killed when three of six cines are written."""


def test_killed_in_the_middle_nothing_is_taken_for_an_export(
    cohort: Cohort, tmp_path: Path
) -> None:
    out = tmp_path / "there"
    words = ["export", str(cohort.folder), "--to", "png", "--out", str(out), "--processes", "1"]
    ended = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".there.partial"]
    main(words)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert sorted(path.name for path in out.iterdir()) == sorted(cohort.sequences)


def test_damaged_frames_leave_nothing(tmp_path: Path) -> None:
    cohort = write_awkward_cohort(tmp_path / "cohort")
    (cohort.folder / "frames.zarr" / "S3" / "c" / "0" / "0" / "0").unlink()
    with pytest.raises(ValueError, match="damaged"):
        export(cohort.folder, to="cvat", out=tmp_path / "there", settings=ALONE)
    assert [path.name for path in tmp_path.iterdir()] == ["cohort"]


@pytest.mark.skipif(not (DATA / "xa_dicom").is_dir(), reason="needs ANGIORAY_REAL_DATA")
def test_real_cines_go_out_and_their_boxes_come_back(tmp_path: Path) -> None:
    src = tmp_path / "dicom"
    src.mkdir()
    (src / "lca.dcm").symlink_to(DATA / "xa_dicom" / "philips_lca_75f_jpegbaseline.dcm")
    ingest(src, out=tmp_path / "cohort", settings=IngestSettings(processes=1))
    cohort = Cohort.open(tmp_path / "cohort")
    ((name, cine),) = cohort.sequences.items()
    corners = tuple(value * 10 for value in AWKWARD)
    made: list[Box] = [box(name, t, 1, tuple(c + t * THIRD for c in corners)) for t in (3, 40)]
    write_annotations(cohort.folder, cohort.sequences.values(), made)
    before = (cohort.folder / "annotations.json").read_bytes()
    export(cohort.folder, to="cvat", out=tmp_path / "there", settings=ALONE)
    assert np.array_equal(pictures(tmp_path / "there" / name / "images"), cohort.cine_8bit(name))
    correct(cohort.folder, tmp_path / "there", CorrectSettings())
    assert (cohort.folder / "annotations.json").read_bytes() == before
    write_annotations(cohort.folder, cohort.sequences.values(), [])
    correct(cohort.folder, tmp_path / "there", CorrectSettings())
    assert (cohort.folder / "annotations.json").read_bytes() == before
    begun = cohort.cine_8bit(name)[:5]
    video.write_cine(tmp_path, cine, begun, [])
    found = decoded(tmp_path / f"{name}.mp4")[..., 0].astype(int)
    assert len(found) == 5 and np.abs(found - begun).mean() < 2
