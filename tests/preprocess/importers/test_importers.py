"""Sets of image files in the layouts that they are published in, made up and small."""

from __future__ import annotations

import csv
import json
import re
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from preprocess import __main__ as commands
from preprocess.annotations.mismatches import mismatches_path
from preprocess.cohort import BoxSource, Cohort, Phase, read_manifest
from preprocess.cohort.records import Exclusion
from preprocess.dicom.pseudonyms import Pseudonyms, read_key
from preprocess.importers.annotated_folder import GroupBy
from preprocess.importers.cadica import import_cadica
from preprocess.importers.coco import import_coco
from preprocess.importers.danilov import import_danilov
from preprocess.importers.voc import import_voc
from preprocess.review.corrections import Corrections
from tests.killing import kill_when
from tests.preprocess.tiny_archive import noise

SIZE = 32


def picture(path: Path, pixels: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return pixels


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())


def voc(file_name: str, *boxes: tuple[float, ...], name: str = "Stenosis") -> str:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>\n"
        for x1, y1, x2, y2 in boxes
    )
    return f"<annotation>\n<filename>{file_name}</filename>\n{objects}</annotation>"


def listed(out: Path) -> list[str]:
    """The private list, its files without their folders."""
    path = mismatches_path(out)
    lines = path.read_text().splitlines() if path.exists() else []
    lines = [line.rpartition("/src/")[2] for line in lines]
    return [re.sub(r" \((?:object|annotation|image) [^)]*\)", "", line) for line in lines]


@pytest.fixture
def src(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "cohort"


# Danilov


@pytest.fixture
def danilov(src: Path) -> Path:
    """Two patients; one lesion moves, a second one appears on the last frame; frame 9 is absent."""
    for t, (number, boxes) in enumerate(
        ((8, [(4, 4, 10, 10)]), (10, [(9, 4, 15, 10)]), (11, [(24, 24, 40, 30), (10, 5, 16, 11)]))
    ):
        stem = f"14_002_5_{number:04d}"
        picture(src / f"{stem}.bmp", noise(3, SIZE)[t])
        text(src / f"{stem}.xml", voc(f"{stem}.bmp", *boxes))
    picture(src / "14_010_1_0001.bmp", noise(1, 24, seed=1)[0])
    text(src / "14_010_1_0001.xml", voc("wrong.bmp", (20, 9, 2, 3)))
    return src


def test_danilov_becomes_cines_of_patients(
    danilov: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_danilov(danilov, out, processes=1)
    cohort = Cohort.open(out)
    first, second = cohort.sequences.values()
    assert (first.sequence_id, first.patient_id) == ("danilov_14_002_5", "danilov_14_002")
    assert (second.sequence_id, second.patient_id) == ("danilov_14_010_1", "danilov_14_010")
    assert (first.length, first.height, second.length, second.height) == (3, SIZE, 1, 24)
    np.testing.assert_array_equal(cohort.cine(first.sequence_id), noise(3, SIZE))
    assert first.frames_in(Phase.OPTIMAL) == range(3)
    assert (first.reference_frame, second.reference_frame) == (1, 0)
    assert not any(sequence.quality_control_image for sequence in (first, second))
    assert [(b.frame_index, b.box_xyxy, b.instance_id) for b in cohort.boxes] == [
        (0, (4, 4, 10, 10), 1),
        (1, (9, 4, 15, 10), 1),
        (2, (10, 5, 16, 11), 1),
        (2, (24, 24, 32, 30), 2),
        (0, (2, 3, 20, 9), 3),
    ]
    assert {box.source for box in cohort.boxes} == {BoxSource.REFERENCE}
    assert listed(out) == [
        "14_002_5_0011.xml:3: clipped: 24, 24, 40, 30 in a frame of 32 x 32",
        "14_010_1_0001.xml:3: inverted: now 2, 3, 20, 9",
    ]
    assert [row.reference_boxes for row in read_manifest(out)] == [1, 1, 2, 1]
    said = capsys.readouterr().out
    assert "2 sequences of 2 patients: 4 frames, 5 boxes of 3 lesions" in said
    assert "1 sequences have gaps, 1 frames in all; none was split" in said


def test_danilov_with_one_csv_and_other_images_is_the_same(
    danilov: Path, out: Path, tmp_path: Path
) -> None:
    import_danilov(danilov, tmp_path / "xml", processes=1)
    rows = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
    boxes = {
        "14_002_5_0008": ["4,4,10,10"],
        "14_002_5_0010": ["9,4,15,10"],
        "14_002_5_0011": ["24,24,40,30", "10,5,16,11"],
        "14_010_1_0001": ["20,9,2,3"],
    }
    for path in [*danilov.iterdir()]:
        if path.suffix == ".bmp":
            picture(path.with_suffix(".png"), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
            size = "24,24" if path.stem == "14_010_1_0001" else "32,32"
            rows += [f"{path.name},{size},Stenosis,{box}" for box in boxes[path.stem]]
        path.unlink()
    rows += ["14_002_5_0099.bmp,32,32,Stenosis,1,2,3,4", "14_002_5_0011.bmp,32,32,Stenosis,1,2,3,"]
    text(danilov / "labels_all.csv", "\r\n".join(rows))
    text(danilov / "other.csv", "a,b\r\n1,2\r\n")
    picture(danilov / "14_002_5_0012.png", noise(1, SIZE)[0])
    import_danilov(danilov, out, processes=1)
    assert {b.box_xyxy for b in Cohort.open(out).boxes} == {
        b.box_xyxy for b in Cohort.open(tmp_path / "xml").boxes
    }
    np.testing.assert_array_equal(Cohort.open(out).cine("danilov_14_002_5"), noise(3, SIZE))
    assert [line for line in listed(out) if "no " in line] == [
        "labels_all.csv:7: no image: 14_002_5_0099",
        "labels_all.csv:8: no box: ymax '' is no number",
    ]


def test_frames_that_do_not_fit_are_rejected_and_the_cine_goes_on(danilov: Path, out: Path) -> None:
    picture(danilov / "14_002_5_0010.bmp", noise(1, 40)[0])
    (danilov / "14_010_1_0001.bmp").write_bytes(b"BM no picture")
    import_danilov(danilov, out, processes=1)
    (sequence,) = Cohort.open(out).sequences.values()
    assert sequence.length == 2
    assert [row.reason for row in read_manifest(out)] == [
        "",
        "another size than the frames before it",
        "",
        "not readable as an 8-bit image",
    ]
    first = (out / "annotations.json").read_bytes()
    import_danilov(danilov, out, processes=1)
    assert (out / "annotations.json").read_bytes() == first


def test_again_nothing_is_decoded_and_more_frames_are_taken_up(
    danilov: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_danilov(danilov, out, processes=1)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr("preprocess.importers.image_cine._grey", None)
        import_danilov(danilov, out, processes=1)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    picture(danilov / "14_002_5_0009.bmp", noise(1, SIZE, seed=5)[0])
    text(danilov / "14_002_5_0009.xml", voc("", (5, 4, 11, 10)))
    import_danilov(danilov, out, processes=1)
    frames = Cohort.open(out).cine("danilov_14_002_5")
    np.testing.assert_array_equal(frames[1], noise(1, SIZE, seed=5)[0])


def test_what_a_reader_decided_in_the_browser_stays(danilov: Path, out: Path) -> None:
    import_danilov(danilov, out, processes=1)
    corrections = Corrections(out, reader=None, by="A")
    first, second, *_ = corrections.sequences
    state = corrections.review(first).state
    corrections.decide(first, 0, accepted=True, state=replace(state, view="LCA", boxes=()))
    excluded = replace(corrections.review(second).state, exclude=Exclusion.OTHER)
    corrections.decide(second, 0, accepted=True, state=excluded)
    corrections.close()
    names = ("annotations.json", "manifest.csv", f"frames.zarr/{first}/zarr.json")
    before = [(out / name).read_bytes() for name in names]
    import_danilov(danilov, out, processes=1)
    assert [(out / name).read_bytes() for name in names] == before
    assert Cohort.open(out).sequences[first].view == "LCA"


def test_a_changed_image_is_read_again(danilov: Path, out: Path) -> None:
    import_danilov(danilov, out, processes=1)
    picture(danilov / "14_002_5_0010.bmp", noise(1, SIZE, seed=5)[0])
    import_danilov(danilov, out, processes=1)
    frames = Cohort.open(out).cine("danilov_14_002_5")
    np.testing.assert_array_equal(frames[1], noise(1, SIZE, seed=5)[0])
    np.testing.assert_array_equal(frames[2], noise(3, SIZE)[2])


def test_two_processes_write_what_one_writes(danilov: Path, out: Path, tmp_path: Path) -> None:
    import_danilov(danilov, out, processes=1)
    import_danilov(danilov, tmp_path / "two", processes=2)
    for path in out.rglob("*"):
        if path.is_file():
            assert (tmp_path / "two" / path.relative_to(out)).read_bytes() == path.read_bytes()


def test_killed_in_the_middle_it_continues(src: Path, out: Path, tmp_path: Path) -> None:
    for patient in range(30):
        for t, frame in enumerate(noise(8, 256, seed=patient)):
            stem = f"14_{patient:03d}_1_{t:04d}"
            picture(src / f"{stem}.bmp", frame)
            text(src / f"{stem}.xml", voc(f"{stem}.bmp", (4, 4, 10, 10)))
    command = [sys.executable, "-m", "preprocess", "import", "danilov", str(src), "--out", str(out)]
    kill_when(command, lambda: len([*out.glob("frames.zarr/danilov_*")]) >= 3)
    assert not (out / "annotations.json").exists()
    subprocess.run(command, check=True, capture_output=True)
    import_danilov(src, tmp_path / "undisturbed", processes=1)
    written = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    whole = tmp_path / "undisturbed"
    assert written == {path.relative_to(whole) for path in whole.rglob("*") if path.is_file()}
    for path in written:
        assert (out / path).read_bytes() == (whole / path).read_bytes()


# CADICA


@pytest.fixture
def cadica(src: Path) -> Path:
    """Patient 1: a lesion video of five frames and a healthy one; patient 2: a healthy one."""
    videos = src / "selectedVideos"
    text(videos / "p1/lesionVideos.txt", "v3\r\n")
    text(videos / "p1/nonlesionVideos.txt", "v7\r\n\r\n")
    text(videos / "p2/nonlesionVideos.txt", "v1\r\nv9\r\n")
    for t, frame in enumerate(noise(5, SIZE), start=1):
        picture(videos / f"p1/v3/input/p1_v3_{t:05d}.png", frame)
    selected = "p1_v3_00002\r\np1_v3_00004\r\np1_v3_00008\r\n"
    text(videos / "p1/v3/p1_v3_selectedFrames.txt", selected)
    text(videos / "p1/v3/groundtruth/p1_v3_00002.txt", "4 5 6 7 p50_70\r\n20 20 5 5 p0_20\r\n")
    text(videos / "p1/v3/groundtruth/p1_v3_00004.txt", "5 6 6 7 p50_70\r\noops\r\n")
    for name in ("p1/v7", "p2/v1"):
        patient, video = name.split("/")
        picture(videos / f"{name}/input/{patient}_{video}_00001.png", noise(1, SIZE, seed=9)[0])
        text(videos / f"{name}/{patient}_{video}_selectedFrames.txt", f"{patient}_{video}_00001\n")
    return src


def test_cadica_becomes_cines_of_patients(
    cadica: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_cadica(cadica, out, processes=1)
    cohort = Cohort.open(out)
    assert {s: (c.patient_id, c.no_lesion, c.length) for s, c in cohort.sequences.items()} == {
        "cadica_p1_v3": ("cadica_p1", False, 5),
        "cadica_p1_v7": ("cadica_p1", True, 1),
        "cadica_p2_v1": ("cadica_p2", True, 1),
    }
    lesion = cohort.sequences["cadica_p1_v3"]
    assert [lesion.phase(t) for t in range(5)] == [
        Phase.INTRODUCING,
        *[Phase.OPTIMAL] * 3,
        Phase.VANISHING,
    ]
    assert [(b.frame_index, b.box_xyxy, b.instance_id, b.grade) for b in cohort.boxes] == [
        (1, (4, 5, 10, 12), 1, "p50_70"),
        (1, (20, 20, 25, 25), 2, "p0_20"),
        (3, (5, 6, 11, 13), 3, "p50_70"),
    ]
    assert cohort.grades == {"cadica_p1_v3": {1: {"p50_70"}, 2: {"p0_20"}, 3: {"p50_70"}}}
    assert lesion.reference_frame == 3
    np.testing.assert_array_equal(cohort.cine("cadica_p1_v3"), noise(5, SIZE))
    assert [line.partition("selectedVideos/")[2] for line in listed(out)] == [
        "p1/v3/groundtruth/p1_v3_00004.txt:2: no box: not x y w h class: 'oops'",
        "p1/v3/p1_v3_selectedFrames.txt:3: no image: p1_v3_00008",
        "p2/nonlesionVideos.txt:2: no image: v9",
    ]
    said = capsys.readouterr().out
    assert "1 frames lie between selected ones and were not selected themselves" in said


def test_a_video_on_both_lists_is_left_out(cadica: Path, out: Path) -> None:
    text(cadica / "selectedVideos/p1/nonlesionVideos.txt", "v7\r\nv3\r\n")
    import_cadica(cadica / "selectedVideos", out, processes=1)
    assert list(Cohort.open(out).sequences) == ["cadica_p1_v7", "cadica_p2_v1"]
    assert any(line.endswith("p1/nonlesionVideos.txt:2: two labels: v3") for line in listed(out))


def test_cadica_leaves_out_what_is_no_lesion_and_healthy_videos_with_boxes(
    cadica: Path, out: Path
) -> None:
    videos = cadica / "selectedVideos"
    text(videos / "p1/v3/groundtruth/p1_v3_00002.txt", "4 5 6 7 p50_70\n20 20 5 5 nonlesion\n")
    text(videos / "p1/v7/groundtruth/p1_v7_00001.txt", "4 5 6 7 p50_70\n")
    text(videos / "p2/v1/groundtruth/p2_v1_00001.txt", "4 5 6 7 nonlesion\n")
    import_cadica(cadica, out, processes=1)
    cohort = Cohort.open(out)
    assert list(cohort.sequences) == ["cadica_p1_v3", "cadica_p2_v1"]
    assert [box.box_xyxy for box in cohort.boxes] == [(4, 5, 10, 12), (5, 6, 11, 13)]
    said = [line.partition(": ")[2] for line in listed(out)]
    assert said.count("other category: 'nonlesion'") == 2
    assert "no lesion" in said


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_danilov_reads_its_table_as_programs_save_it(
    src: Path, out: Path, separator: str, encoding: str
) -> None:
    picture(src / "14_010_1_0001.png", noise(1, SIZE)[0])
    text(src / "b.csv", 'filename,xmin,ymin,xmax,ymax\n"14_010_1_0001.png,1,2,9,9\n' * 9000)
    with pytest.raises(ValueError, match="1 files are damaged; the first: line 2: a quote"):
        import_danilov(src, out, processes=1)
    rows = ["Filename,Class,xmin,ymin,xmax,ymax,r\u00f6", "14_010_1_0001.bmp,Stenosis,1,2,9,9"]
    table = "\n".join(rows).replace(",", separator)
    (src / "a.csv").write_bytes(table.encode(encoding))
    import_danilov(src, out, processes=1)
    assert [box.box_xyxy for box in Cohort.open(out).boxes] == [(1, 2, 9, 9)]
    (line,) = listed(out)
    assert line.startswith('b.csv: unreadable: line 2: a quote (") is opened there')


@pytest.mark.parametrize("ending", [".xml", ".csv"])
def test_danilov_leaves_out_other_categories(danilov: Path, out: Path, ending: str) -> None:
    if ending == ".xml":
        text(danilov / "14_010_1_0001.xml", voc("a", (1, 2, 9, 9), name="no_stenosis"))
    else:
        (danilov / "14_010_1_0001.xml").unlink()
        row = "14_010_1_0001.bmp,no_stenosis,1,2,9,9"
        text(danilov / "a.csv", f"filename,class,xmin,ymin,xmax,ymax\n{row}\n")
    import_danilov(danilov, out, processes=1)
    assert {box.sequence_id for box in Cohort.open(out).boxes} == {"danilov_14_002_5"}
    assert "other category: 'no_stenosis'" in "".join(listed(out))


# COCO and Pascal VOC


def coco(path: Path, images: list[dict[str, Any]], *annotations: Any, **more: Any) -> None:
    categories = [{"id": 1, "name": "stenosis"}, {"id": 2, "name": "catheter"}]
    found = [{"category_id": 1, **annotation} for annotation in annotations]
    document = {"images": images, "annotations": found, "categories": categories, **more}
    text(path, json.dumps(document, indent=1))


def links(out: Path) -> dict[str, dict[str, str]]:
    """The private table, by name."""
    path = out.with_name("cohort.links.private.csv")
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_coco_stills_and_videos_with_what_they_say(
    src: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [picture(src / f"cines/Quimby/{t}.png", noise(3, SIZE)[t]) for t in range(3)]
    picture(src / "stills/Quimby_still.jpg", np.full((24, 30), 90, np.uint8))
    picture(src / "a/same.png", frames[0])
    picture(src / "b/same.png", frames[0])
    coco(
        src / "cines.json",
        [
            # Listed against the order of time.
            {"id": 1, "file_name": "Quimby/1.png", "video_id": 4, "frame_id": 7},
            {"id": 2, "file_name": "Quimby/0.png", "video_id": 4, "frame_id": 3},
            {"id": 3, "file_name": "Quimby/2.png", "video_id": 4, "frame_id": 9},
            {"id": 4, "file_name": "Quimby/8.png", "video_id": 4, "frame_id": 9},
        ],
        {"image_id": 2, "bbox": [4, 5, 6, 7], "track_id": 12},
        {"image_id": 1, "bbox": [20, 20, 6, 7], "track_id": 12},
        {"image_id": 1, "bbox": [1, 1, 9, 9], "category_id": 2},
        {"image_id": 4, "bbox": [1, 1, 9, 9]},
        videos=[{"id": 4, "patient_id": "MRN-1", "view": "RCA"}],
    )
    coco(
        src / "stills/all.json",
        [{"id": 1, "file_name": "Quimby_still.jpg", "patient_id": "MRN-1", "view": "LCA"}],
        {"image_id": 1, "bbox": [20, 20, -10, -10]},
        {"image_id": 2, "bbox": [20, 20, -10, -10]},
    )
    coco(src / "other/any.json", [{"id": 1, "file_name": "same.png"}])
    import_coco(src, out, processes=1)
    cohort = Cohort.open(out)
    table = links(out)
    cine = cohort.sequences[table["cines.json 4"]["sequence_id"]]
    still = cohort.sequences[table["stills/Quimby_still.jpg"]["sequence_id"]]
    assert (cine.length, cine.view, still.length, still.view) == (3, "RCA", 1, "LCA")
    np.testing.assert_array_equal(cohort.cine(cine.sequence_id), noise(3, SIZE))
    key = read_key(out.with_name("cohort.private.jsonl"))
    assert cine.patient_id == still.patient_id == Pseudonyms(key).patient("MRN-1")
    boxes = {(b.sequence_id, b.frame_index): b for b in cohort.boxes}
    first, second = boxes[cine.sequence_id, 0], boxes[cine.sequence_id, 1]
    (other,) = boxes.keys() - {(cine.sequence_id, 0), (cine.sequence_id, 1)}
    assert (first.box_xyxy, second.box_xyxy) == ((4, 5, 10, 12), (20, 20, 26, 27))
    assert (other, boxes[other].box_xyxy) == ((still.sequence_id, 0), (10, 10, 20, 20))
    assert first.instance_id == second.instance_id != boxes[other].instance_id
    assert [line.partition(": ")[2] for line in listed(out)] == [
        "no image: 'Quimby/8.png'",
        "other category: 'catheter'",
        "ambiguous: 'same.png'",
        "inverted: now 10, 10, 20, 20",
        "unknown sequence: image_id 2 is not among the images",
    ]
    said = capsys.readouterr().out
    for name in ("Quimby", "MRN-1"):
        assert name not in said
        assert not any(name in str(path.relative_to(out)) for path in out.rglob("*"))
        assert not any(name.encode() in p.read_bytes() for p in out.rglob("*") if p.is_file())


def test_a_cohort_within_the_folder_is_not_read_as_part_of_it(src: Path) -> None:
    picture(src / "1.png", noise(1, SIZE)[0])
    coco(src / "a.json", [{"id": 1, "file_name": "1.png"}], {"image_id": 1, "bbox": [1, 2, 9, 9]})
    for _ in range(2):
        import_coco(src, src / "cohort", processes=1)
    assert len(Cohort.open(src / "cohort").boxes) == 1
    assert listed(src / "cohort") == []


def test_an_image_that_promises_too_much_is_rejected(danilov: Path, out: Path) -> None:
    content = bytearray((danilov / "14_010_1_0001.bmp").read_bytes())
    content[18:26] = (2**30).to_bytes(4, "little") * 2
    (danilov / "14_010_1_0001.bmp").write_bytes(content)
    import_danilov(danilov, out, processes=1)
    (row,) = [row for row in read_manifest(out) if row.status == "rejected"]
    assert row.reason == "not readable as an 8-bit image"


def test_coco_images_are_found_where_tools_put_them(src: Path, out: Path) -> None:
    """The same file names in two parts, each beside its own annotations."""
    for n, part in enumerate(("train", "val")):
        picture(src / f"{part}/1.png", noise(2, SIZE)[n])
        picture(src / f"coco/{part}2017/1.png", noise(2, SIZE, seed=1)[n])
        coco(src / f"coco/annotations/{part}2017.json", [{"id": 1, "file_name": "1.png"}])
        coco(src / f"{part}/_annotations.coco.json", [{"id": 1, "file_name": "1.png"}])
    import_coco(src, out, processes=1)
    assert set(links(out)) == {
        "coco/train2017/1.png",
        "coco/val2017/1.png",
        "train/1.png",
        "val/1.png",
    }
    assert listed(out) == []


@pytest.mark.parametrize(
    ("group_by", "patients", "said"),
    [
        (GroupBy.IMAGE, 4, "each counts as one"),
        (GroupBy.NAME, 3, "in a trailing number only count as one"),
        (GroupBy.FOLDER, 2, "those of one folder count as one"),
    ],
)
def test_voc_stills_are_grouped_as_asked_and_it_is_said(
    src: Path, out: Path, group_by: GroupBy, patients: int, said: str, capsys: Any
) -> None:
    names = ["a/cine1_0001", "a/cine1_0002", "a/cine2_0001", "b/cine1_0001"]
    for n, name in enumerate(names):
        picture(src / f"{name}.png", noise(4, SIZE)[n])
        text(src / f"{name}.xml", voc(f"{Path(name).name}.png", (n, 2, 13, 14)))
    picture(src / "b/bare.png", noise(1, SIZE)[0])
    import_voc(src, out, group_by=group_by, processes=1)
    cohort = Cohort.open(out)
    assert {len(cohort.sequences), len(cohort.boxes)} == {4}
    assert len({s.patient_id for s in cohort.sequences.values()}) == patients
    printed = capsys.readouterr().out
    assert "4 of 4 images or videos name no patient: " in printed
    assert said in printed
    assert "1 images have no XML file and are left out" in printed
    table = links(out)
    boxes = {box.sequence_id: box.box_xyxy for box in cohort.boxes}
    for n, name in enumerate(names):
        assert boxes[table[f"{name}.png"]["sequence_id"]] == (n, 2, 13, 14)


def test_voc_files_find_their_image_and_what_does_not_fit_is_listed(src: Path, out: Path) -> None:
    for name in ("JPEGImages/1.jpg", "2.png", "x/3.png", "y/3.png"):
        picture(src / name, np.full((24, 30), 90, np.uint8))
    text(src / "Annotations/1.xml", voc("1.jpg", (1, 2, 13, 14)))
    text(
        src / "2.xml", voc(r"C:\elsewhere\renamed.png", (1, 2, 3, 4), (1, 2, 3, 4), name="catheter")
    )
    text(src / "3.xml", voc("3.png", (1, 2, 3, 4)))
    text(src / "4.xml", voc("4.png", (1, 2, 3, 4)))
    text(src / "else.xml", "<plist/>")
    import_voc(src, out, processes=1)
    cohort = Cohort.open(out)
    assert (len(cohort.sequences), len(cohort.boxes)) == (2, 1)
    assert listed(out) == [
        "2.xml:3: other category: 'catheter'",
        "2.xml:4: other category: 'catheter'",
        "3.xml: ambiguous: '3.png'",
        "4.xml: no image: '4.png'",
    ]


def test_the_same_key_gives_the_same_patients(src: Path, out: Path, tmp_path: Path) -> None:
    picture(src / "1.png", noise(1, SIZE)[0])
    coco(src / "a.json", [{"id": 1, "file_name": "1.png", "patient_id": "MRN-1"}])
    import_coco(src, out, processes=1)
    for name, key in (("again", out.with_name("cohort.private.jsonl")), ("fresh", None)):
        import_coco(src, tmp_path / name, key=key, processes=1)
    patients = [
        next(iter(Cohort.open(folder).sequences.values())).patient_id
        for folder in (out, tmp_path / "again", tmp_path / "fresh")
    ]
    assert patients[0] == patients[1] != patients[2]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        *(
            ([name, place], said)
            for name in ("arcade", "cadica", "coco", "danilov", "voc")
            for place, said in (
                ("nowhere", "nowhere does not exist. Give the folder"),
                ("empty", "empty is an empty folder. Give the folder"),
                ("full/a.txt", "full/a.txt is a file, not a folder. Give the folder"),
            )
        ),
        (["arcade", "full"], "is no ARCADE folder"),
        (["cadica", "full"], "is no CADICA folder"),
        (["coco", "full"], "0 COCO files and 0 images"),
        (["danilov", "full"], "0 images named 14_PATIENT_SEQUENCE_FRAME"),
        (["voc", "full"], "0 Pascal VOC files and 0 images"),
        (["arcade", "nowhere", "--key", "k"], "leave --key out"),
        (["coco", "nowhere", "--group_by", "patient"], "group_by"),
    ],
)
def test_wrong_folders_end_in_a_sentence(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    text(tmp_path / "full/a.txt", "")
    with pytest.raises(SystemExit) as stop:
        commands.main(["import", *arguments, "--out", "c"])
    assert stop.value.code not in (0, None)
    said = capsys.readouterr().err
    assert expected in said
    assert len(said.splitlines()) <= 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full"]


@pytest.mark.parametrize(
    ("name", "damaged", "reason"),
    [
        ("coco", '{"images": [], "annotations": 3}', "no list of objects"),
        ("coco", '{"images": [', "not well-formed"),
        ("coco", "", "not well-formed"),
        ("voc", "<annotation><object></annotation>", "not well-formed"),
        ("voc", "<annotation><filename>a", "not well-formed"),
        ("voc", "<anno", "not well-formed"),
        ("voc", "<annotation><filename>a</filename><filename>b</filename></annotation>", "second"),
    ],
)
def test_a_damaged_annotation_file_is_counted_and_the_rest_imported(
    src: Path, out: Path, name: str, damaged: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ending, read = {"coco": (".json", import_coco), "voc": (".xml", import_voc)}[name]
    picture(src / "p0.png", noise(1, SIZE)[0])
    text(src / f"name_of_somebody{ending}", damaged)
    text(src / f"any{ending}", '{"a": 1}' if name == "coco" else "<plist/>")
    with pytest.raises(ValueError, match="1 files are damaged; the first: .*" + reason) as stop:
        read(src, out, processes=1)
    assert "somebody" not in str(stop.value)
    assert not out.exists()
    if name == "coco":
        coco(src / "good.json", [{"id": 1, "file_name": "p0.png"}], BOX_OF_1)
    else:
        text(src / "p0.xml", voc("p0.png", (1, 2, 9, 9)))
    read(src, out, processes=1)
    assert [box.box_xyxy for box in Cohort.open(out).boxes] == [(1, 2, 9, 9)]
    (line,) = listed(out)
    assert line.startswith(f"name_of_somebody{ending}: unreadable: ") and reason in line
    said = capsys.readouterr().out
    assert "1 annotation files are damaged or of no known form" in said
    assert "somebody" not in said


@pytest.mark.parametrize("name", ["coco", "voc"])
def test_annotations_in_utf_16_are_not_passed_over(src: Path, out: Path, name: str) -> None:
    picture(src / "p0.png", noise(1, SIZE)[0])
    if name == "coco":
        coco(src / "a.json", [{"id": 1, "file_name": "p0.png"}], BOX_OF_1)
    else:
        text(src / "a.xml", voc("p0.png", (1, 2, 9, 9)))
    (path,) = src.glob("a.*")
    path.write_bytes(path.read_text().encode("utf-16"))
    (import_coco if name == "coco" else import_voc)(src, out, processes=1)
    assert boxes_of(out) == {"p0.png": [(1, 2, 9, 9)]}


def test_a_damaged_file_of_the_danilov_set_is_counted_and_the_rest_imported(
    danilov: Path, out: Path
) -> None:
    text(danilov / "14_002_5_0010.xml", "<annotation><object>")
    import_danilov(danilov, out, processes=1)
    assert len(Cohort.open(out).boxes) == 4
    assert listed(out)[0].startswith("14_002_5_0010.xml: unreadable: not well-formed")


BOX_OF_1 = {"image_id": 1, "bbox": [1, 2, 8, 7]}


def boxes_of(out: Path) -> dict[str, list[tuple[float, ...]]]:
    """The boxes by the name of their image."""
    cohort = Cohort.open(out)
    return {
        name: [b.box_xyxy for b in cohort.boxes if b.sequence_id == row["sequence_id"]]
        for name, row in links(out).items()
    }


@pytest.mark.parametrize(
    ("width", "height", "boxes", "told"),
    [
        (60, 48, [(1, 2, 9, 9)], "1 regions were drawn on a picture of another size"),
        (30, 24, [(2, 4, 18, 18)], ""),
        (24, 30, [], "1 regions were drawn on a picture of another shape and are left out"),
        ("x", 24, [], "1 regions hold a value that cannot be read and are left out"),
    ],
)
@pytest.mark.parametrize("name", ["coco", "voc"])
def test_boxes_that_were_drawn_on_a_picture_of_another_size_are_scaled(
    src: Path, out: Path, name: str, width: Any, height: int, boxes: Any, told: str, capsys: Any
) -> None:
    picture(src / "1.png", noise(1, 30)[0, :24])
    if name == "coco":
        image = {"id": 1, "file_name": "1.png", "width": width, "height": height}
        coco(src / "a.json", [image], {"image_id": 1, "bbox": [2, 4, 16, 14]})
        import_coco(src, out, processes=1)
    else:
        size = f"<size><width>{width}</width><height>{height}</height></size>"
        content = voc("1.png", (2, 4, 18, 18)).replace("<object>", f"{size}<object>")
        text(src / "a.xml", content)
        import_voc(src, out, processes=1)
    assert boxes_of(out) == {"1.png": boxes}
    assert told in capsys.readouterr().out


def exif(content: bytes, orientation: int) -> bytes:
    """A JPEG that says how it is to be turned."""
    entry = struct.pack("<HHII", 0x0112, 3, 1, orientation)
    body = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + content[2:]


@pytest.mark.parametrize(("width", "boxes"), [(24, [(2, 4, 18, 18)]), (30, [])])
def test_an_image_that_is_to_be_turned_is_turned_before_the_boxes_and_it_is_told(
    src: Path, out: Path, width: int, boxes: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(src / "1.jpg", np.full((24, 30), 90, np.uint8))
    (src / "1.jpg").write_bytes(exif((src / "1.jpg").read_bytes(), 6))
    image = {"id": 1, "file_name": "1.jpg", "width": width, "height": 54 - width}
    coco(src / "a.json", [image], {"image_id": 1, "bbox": [2, 4, 16, 14]})
    for _ in range(2):  # an image that is stored already says so as well
        import_coco(src, out, processes=1)
        (sequence,) = Cohort.open(out).sequences.values()
        assert (sequence.width, sequence.height) == (24, 30)
        assert boxes_of(out) == {"1.jpg": boxes}
        assert "1 images say that they are to be turned (EXIF)" in capsys.readouterr().out


def test_images_videos_and_categories_of_one_id_are_left_out_of_an_import(
    src: Path, out: Path
) -> None:
    for n in range(5):
        picture(src / f"{n}.png", noise(5, SIZE)[n])
    coco(
        src / "a.json",
        [
            {"id": 1, "file_name": "0.png"},
            {"id": 1, "file_name": "1.png"},
            {"id": 2, "file_name": "2.png", "video_id": 7, "frame_index": 0},
            {"id": 3, "file_name": "3.png"},
            {"id": 3, "file_name": "3.png"},
            {"id": 4, "file_name": "4.png"},
        ],
        BOX_OF_1,
        {"image_id": 3, "bbox": [1, 2, 8, 7]},
        {"image_id": 4, "bbox": [1, 2, 8, 7], "category_id": 2},
        videos=[{"id": 7, "patient_id": "a"}, {"id": 7, "patient_id": "b"}],
        categories=[{"id": n, "name": m} for n, m in ((1, "stenosis"), (2, "stenosis"), (2, "b"))],
    )
    import_coco(src, out, processes=1)
    # The same image listed twice is one image.
    assert boxes_of(out) == {"0.png": [], "1.png": [], "3.png": [(1, 2, 9, 9)], "4.png": []}
    assert sorted(line.partition(": ")[2] for line in listed(out)) == [
        "same id: category_id 2 is that of several categories",
        "same id: image_id 1 is that of several images",
        "same id: video_id 7 is that of several videos",
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"patient_id": "a"}, {"patient_id": "b"}),
        ({"view": "LCA"}, {"view": "RCA"}),
        ({"video_id": 1, "frame_index": 0}, {"video_id": 1, "frame_index": "7"}),
        ({"video_id": 1}, {"video_id": 2}),
    ],
)
@pytest.mark.parametrize("files", [1, 2])
def test_an_image_that_is_described_in_two_ways_is_left_out(
    src: Path, out: Path, first: dict[str, Any], second: dict[str, Any], files: int, capsys: Any
) -> None:
    for name in ("1", "2"):
        picture(src / f"{name}.png", noise(1, SIZE)[0])
    one, two, good = (
        {"id": 1, "file_name": "1.png", **first},
        {"id": 2, "file_name": "1.png", **second},
        {"id": 3, "file_name": "2.png"},
    )
    videos = [{"id": 1, "name": "v"}, {"id": 2, "name": "w"}]
    other = src / ("a.json" if files == 1 else "b.json")
    coco(src / "a.json", [one], BOX_OF_1, videos=videos)
    coco(other, [two, good, *([one] if files == 1 else [])], BOX_OF_1, videos=videos)
    import_coco(src, out, processes=1)
    # Each file numbers its own videos.
    both = files == 2 and second == {"video_id": 2}
    assert len(boxes_of(out)) == (2 if both else 1)
    assert ("1 images or videos are described twice" in capsys.readouterr().out) != both


def test_a_video_of_two_patients_is_left_out(src: Path, out: Path) -> None:
    for name in ("1", "2", "3", "4"):
        picture(src / f"{name}.png", noise(1, SIZE)[0])
    said = [(1, "a"), (1, "b"), (2, None), (2, "c")]
    images = [
        {"id": n, "file_name": f"{n}.png", "video_id": video, "patient_id": patient}
        for n, (video, patient) in enumerate(said, start=1)
    ]
    coco(src / "a.json", images, BOX_OF_1, videos=[{"id": 1}, {"id": 2}])
    import_coco(src, out, processes=1)
    assert [row["named_patient"] for row in links(out).values()] == ["c"]
    assert any(line.endswith("two descriptions") for line in listed(out))
    coco(src / "a.json", images[:2], BOX_OF_1, videos=[{"id": 1}])
    with pytest.raises(ValueError, match=r"none of the 0 images .*; 1 images or videos are desc"):
        import_coco(src, out.with_name("other"), processes=1)


def test_ignored_areas_are_imported_as_such_and_negatives_are_not(src: Path, out: Path) -> None:
    for n in range(2):
        picture(src / f"{n}.png", noise(2, SIZE)[n])
    coco(
        src / "a.json",
        [{"id": n, "file_name": f"{n}.png"} for n in range(2)],
        {"image_id": 0, "bbox": [1, 2, 8, 7]},
        {"image_id": 0, "bbox": [1, 2, 8, 7]},
        {"image_id": 0, "bbox": [10, 10, 20, 20], "iscrowd": 1},
        {"image_id": 1, "bbox": [1, 2, 8, 7], "category_id": 2},
        {"image_id": 1, "bbox": [1, 2, 8, 7], "category_id": 3},
        categories=[
            {"id": n, "name": name}
            for n, name in ((1, "lesion"), (2, "nonlesion"), (3, "no_stenosis"))
        ],
    )
    import_coco(src, out, processes=1)
    assert boxes_of(out) == {"0.png": [(1, 2, 9, 9)], "1.png": []}
    (ignored,) = Cohort.open(out).ignored
    assert ignored.box_xyxy == (10, 10, 30, 30)
    assert [row.reference_boxes for row in read_manifest(out)] in ([1, 0], [0, 1])
    assert sorted(line.partition(": ")[2] for line in listed(out)) == [
        "ignored",
        "other category: 'no_stenosis'",
        "other category: 'nonlesion'",
        "twice",
    ]


def test_a_frame_whose_number_cannot_be_read_is_left_out_of_its_cine(src: Path, out: Path) -> None:
    for n in range(3):
        picture(src / f"{n}.png", noise(3, SIZE)[n])
    coco(
        src / "a.json",
        [
            {"id": n, "file_name": f"{n}.png", "video_id": video_id, "frame_index": index}
            for n, (video_id, index) in enumerate((("1", "10"), (1, "9.0"), (1.0, "x")))
        ],
        videos=[{"id": 1.0}],
    )
    import_coco(src, out, processes=1)
    (sequence,) = Cohort.open(out).sequences.values()
    np.testing.assert_array_equal(
        Cohort.open(out).cine(sequence.sequence_id), noise(3, SIZE)[[1, 0]]
    )
    assert [line.partition(": ")[2] for line in listed(out)] == [
        "no frame number: frame_index 'x' is no number"
    ]
