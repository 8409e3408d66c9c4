"""From annotation files to the boxes of a cohort: which cine, which frame, which lesion."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from preprocess.annotations.mismatches import mismatches_path
from preprocess.cohort import Box, BoxSource, Cohort, read_manifest, write_annotations
from preprocess.ingest.command import IngestSettings, ingest
from tests.preprocess.tiny_archive import SIZE, Archive, noise, write_cine

ROW = "RCA,1,0,1,4,,,"
BOX = (4.0, 5.0, 20.0, 18.0)
OTHER = (22.0, 20.0, 30.0, 31.0)


def run(archive: Archive, **settings: Any) -> Cohort:
    out = archive.folder / "cohort"
    ingest(
        archive.src,
        labels=archive.labels,
        out=out,
        rois=archive.rois,
        settings=IngestSettings(size=SIZE, processes=1, **settings),
    )
    return Cohort.open(out)


def listed(cohort: Cohort, name: str = "") -> list[str]:
    """The private list, its files without their folders."""
    path = mismatches_path(cohort.folder)
    lines = path.read_text().splitlines() if path.exists() else []
    lines = [line.rpartition("/archive/")[2] for line in lines if name in line]
    return [re.sub(r" \(annotation [^)]*\)", "", line) for line in lines]


def cine(archive: Archive, name: str = "cine7.dcm", row: str = ROW, **more: Any) -> None:
    archive.rois.mkdir(exist_ok=True)
    archive.add(name, row, frames=noise(5), **more)


def coco_file(archive: Archive, boxes: dict[str, list[dict[str, Any]]], name: str = "a") -> Path:
    """A COCO file of annotations by ``file_name``; boxes as x1, y1, x2, y2."""
    images = [{"id": n, "file_name": file_name} for n, file_name in enumerate(boxes)]
    annotations = []
    for image, found in zip(images, boxes.values(), strict=True):
        for said in found:
            x1, y1, x2, y2 = said["box"]
            bbox = [x1, y1, x2 - x1, y2 - y1]
            annotations.append({"image_id": image["id"], "category_id": 1, "bbox": bbox, **said})
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "Stenosis"}, {"id": 2, "name": "catheter"}],
    }
    path = archive.rois / f"{name}.json"
    path.write_text(json.dumps(document, indent=1))
    return path


def placed(cohort: Cohort) -> list[tuple[int, tuple[float, ...], str]]:
    return [(b.frame_index, b.box_xyxy, b.source.value) for b in cohort.boxes]


@pytest.mark.parametrize("file_name", ["cine7_000001.png", "any/p1/cine7/frame_1.png", "cine7.png"])
def test_pictures_find_their_cine_and_frame(archive: Archive, file_name: str) -> None:
    cine(archive, "p1/cine7.dcm")
    coco_file(archive, {file_name: [{"box": BOX}]})
    cohort = run(archive)
    # A picture without a number is the reference frame.
    assert placed(cohort) == [(1, BOX, "reference")]
    assert listed(cohort) == []


def test_a_still_needs_no_frame_number_a_cine_without_reference_frame_does(
    archive: Archive,
) -> None:
    cine(archive, row="RCA,,,,,,,")
    archive.add("still.dcm", "RCA,,,,,,,", frames=noise(1, seed=1))
    coco_file(archive, {"cine7.png": [{"box": BOX}], "still.png": [{"box": OTHER}]})
    cohort = run(archive)
    assert placed(cohort) == [(0, OTHER, "reference")]
    assert listed(cohort) == ["rois/a.json:13: no frame number: the cine has 5 frames"]


def test_a_name_of_two_cines_is_reported_and_not_guessed(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    for patient in ("p1", "p2"):
        cine(archive, f"{patient}/cine7.dcm", instance=f"1.2.{patient[1]}")
    names = {"cine7_1.png": [{"box": BOX}], "p2/cine7_1.png": [{"box": OTHER}]}
    coco_file(archive, names)
    cohort = run(archive)
    assert placed(cohort) == [(1, OTHER, "reference")]
    assert listed(cohort) == ["rois/a.json:13: ambiguous: it names 'cine7_1'"]
    said = capsys.readouterr().out
    assert "1 regions name more than one sequence and are left out" in said
    assert "cine7" not in said
    assert mismatches_path(cohort.folder).stat().st_mode & 0o777 == 0o600


def test_a_folder_or_a_longer_name_decides_between_frame_and_cine(archive: Archive) -> None:
    """A cine that is called as a frame of another one would be: neither is guessed."""
    cine(archive, "IM.dcm")
    cine(archive, "IM_1.dcm")
    coco_file(archive, {"IM_1.png": [{"box": BOX}], "IM_2.png": [{"box": BOX}]})
    cohort = run(archive, other_frames=True)
    assert [box.frame_index for box in cohort.boxes] == [2]
    assert listed(cohort, "ambiguous") == ["rois/a.json:13: ambiguous: it names 'IM_1'"]


def test_every_kind_of_mismatch_comes_with_its_line_and_stops_nothing(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    cine(archive)
    archive.add("late.dcm", "RCA,,,,,,,true", frames=noise(5, seed=1))
    archive.add("short.dcm", "RCA,1,0,1,9,,,", frames=noise(5, seed=2))
    archive.rows.append("gone.dcm,RCA,,,,,,,")
    boxes = [
        {"box": BOX},
        {"box": (4, 5, 20, 18)},
        {"box": (30, 31, 22, 20)},
        {"box": (28, 1, 40, 9)},
        {"box": (40, 1, 50, 9)},
        {"box": (4, 5, 4.5, 9)},
        {"box": BOX, "category_id": 2},
        {"box": BOX, "bbox": ["x"]},
    ]
    frames = {"cine7_1.png": boxes, "cine7_2.png": [{"box": BOX}], "cine7_9.png": [{"box": BOX}]}
    coco_file(archive, {**frames, "late_1.png": [{"box": BOX}], "cine8_1.png": [{"box": BOX}]})
    cohort = run(archive, other_frames=True)
    assert placed(cohort) == [
        (1, BOX, "reference"),
        (1, OTHER, "reference"),
        (1, (28, 1, 32, 9), "reference"),
        (2, BOX, "reference"),
    ]
    assert [line.partition(": ")[2] for line in listed(cohort, "a.json")] == [
        "twice: frame 1",
        "inverted: now 22, 20, 30, 31",
        "clipped: 28, 1, 40, 9 in a frame of 32 x 32",
        "outside: 40, 1, 50, 9 in a frame of 32 x 32",
        "too small: 4, 5, 4.5, 9 in a frame of 32 x 32",
        "other category: 'catheter'",
        "no box: no bbox of four numbers",
        "no such frame: frame 9 of 5 (from 0)",
        "unknown sequence: it names 'cine8_1'",
    ]
    text = (archive.rois / "a.json").read_text().splitlines()
    for line in listed(cohort, "a.json"):
        number = int(line.split(":")[1])
        assert text[number - 1] == "  {", line
    assert listed(cohort, "sequences.csv") == [
        "sequences.csv:3: no lesion: labelled no_lesion, but boxes are drawn on it",
        "sequences.csv:4: label error: label: vanishing_start 9 of 5 frames",
        "sequences.csv:5: no file",
    ]
    said = capsys.readouterr().out
    assert "1 labels do not fit their cine, which is left out" in said
    assert f"its file and line: {mismatches_path(cohort.folder)} (private)" in said


def test_a_list_without_an_entry_is_taken_away(archive: Archive) -> None:
    cine(archive)
    path = coco_file(archive, {"cine8_1.png": [{"box": BOX}]})
    coco_file(archive, {"cine7_1.png": [{"box": BOX}]}, name="b")
    cohort = run(archive)
    assert len(listed(cohort)) == 1
    path.unlink()
    assert listed(run(archive)) == []
    assert not mismatches_path(cohort.folder).exists()


def test_regions_of_which_no_box_is_kept_are_an_error_that_says_why_and_loses_nothing(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    cine(archive)
    coco_file(archive, {"cine7_1.png": [{"box": BOX}]})
    before = (run(archive).folder / "annotations.json").read_bytes()
    archive.add("out.dcm", "RCA,1,0,1,4,,implant,", frames=noise(5, seed=1))
    boxes = [{"box": BOX, "category_id": 2}, {"box": (40, 1, 50, 9)}]
    names = {"cine7_1.png": boxes, "Quimby_1.png": [{"box": BOX}], "out_1.png": [{"box": BOX}]}
    coco_file(archive, names)
    with pytest.raises(ValueError, match="rois was read, and no region of it became a box") as stop:
        run(archive)
    for cause in (
        "1 regions name sequences that are not known here",
        "1 regions are of another category than stenosis and are left out",
        "1 regions are left out: outside the frame",
        "1 regions lie on cines that are rejected (manifest.csv says why)",
        "give the same command again: it reads no cine twice. Or leave --rois out.",
    ):
        assert cause in str(stop.value)
    assert "Quimby" not in str(stop.value)
    # What an earlier run kept is as it was, and the frames are there.
    assert (archive.folder / "cohort/annotations.json").read_bytes() == before
    coco_file(archive, {"cine7_1.png": [{"box": OTHER}]})
    capsys.readouterr()
    assert placed(run(archive)) == [(1, OTHER, "reference")]
    assert "2 of 2 files were finished by an earlier run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("boxes", "cause"),
    [
        ([], "its files hold no box that somebody drew"),
        ([{"box": BOX, "keyframe": False}], "its files hold no box that somebody drew"),
        ([{"box": BOX, "source": "tracked"}], "1 boxes marked as tracked are left out"),
        ([{"box": BOX, "iscrowd": 1}], "1 regions mark areas to ignore"),
    ],
)
def test_regions_of_which_no_box_is_kept_always_have_a_cause(
    archive: Archive, boxes: list[dict[str, Any]], cause: str
) -> None:
    cine(archive)
    coco_file(archive, {"cine7_1.png": boxes})
    with pytest.raises(ValueError, match=f"no region of it became a box:\n  {cause}"):
        run(archive)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (
            (1, 1, 1),
            "3 of 3 regions lie 1 frames before the reference frame of their cine: "
            "sequences.csv seems to count frames from 1",
        ),
        (
            (3, 3, 3),
            "3 of 3 regions lie 1 frames after the reference frame of their cine: "
            "the regions seem to count frames from 1",
        ),
        ((4, 4, 4), "3 of 3 regions lie 2 frames after"),
        ((1, 1, 2), ""),
        ((2, 2, 2), ""),
        ((1,), ""),
    ],
)
def test_regions_that_all_lie_off_by_the_same_number_of_frames_are_told(
    archive: Archive, frames: tuple[int, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for n, _ in enumerate(frames):
        cine(archive, f"cine{n}.dcm", "RCA,2,0,1,5,,,", instance=f"1.2.{n}")
    boxes = {f"cine{n}_{t}.png": [{"box": BOX}] for n, t in enumerate(frames)}
    coco_file(archive, boxes)
    if 2 in frames:
        run(archive)
        said = capsys.readouterr().out
    else:
        with pytest.raises(ValueError, match="no region of it became a box") as stop:
            run(archive)
        said = str(stop.value)
        # Asked for, they are kept, and it is told all the same.
        run(archive, other_frames=True)
        assert expected in capsys.readouterr().out
    assert (expected or "of their cine") in said if expected else "of their cine" not in said


def test_areas_to_ignore_are_in_the_cohort_and_are_no_lesions(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    cine(archive)
    archive.add("healthy.dcm", "RCA,1,0,1,4,,,true", frames=noise(5, seed=1), instance="1.2.9")
    area = {"box": (0, 0, 30, 20), "iscrowd": 1}
    boxes = {"cine7_1.png": [{"box": BOX}, area, {**area, "box": BOX}], "healthy_1.png": [area]}
    coco_file(archive, boxes)
    for _ in range(2):
        cohort = run(archive)
        assert placed(cohort) == [(1, BOX, "reference")]
        assert sorted(box.box_xyxy for box in cohort.ignored) == [
            *([(0, 0, 30, 20)] * 2),
            BOX,
        ]
        assert [row.reference_boxes for row in read_manifest(cohort.folder)] == [1, 0]
        said = capsys.readouterr().out
        assert "3 regions mark areas to ignore" in said and "10 frames, 1 boxes." in said
        document = json.loads((cohort.folder / "annotations.json").read_text())
        crowds = [a for a in document["annotations"] if a["iscrowd"] == 1]
        assert [a["instance_id"] for a in crowds] == [None] * 3
        # The cohort's own file among the regions says the same.
        (archive.rois / "a.json").write_text(json.dumps(document))


def test_an_area_to_ignore_counts_on_every_frame(archive: Archive) -> None:
    cine(archive)
    crowd = {"box": (0, 0, 30, 20), "iscrowd": 1}
    coco_file(archive, {"cine7_1.png": [{"box": BOX}], "cine7_3.png": [crowd]})
    cohort = run(archive)
    assert placed(cohort) == [(1, BOX, "reference")]
    assert [(b.frame_index, b.box_xyxy) for b in cohort.ignored] == [(3, (0, 0, 30, 20))]


@pytest.mark.parametrize(
    ("names", "kept", "told"),
    [
        (("lesion", "nonlesion", "no_stenosis"), [0], "2 regions are of another category"),
        (("Stenosis", "LESION", "severe stenosis"), [0, 1, 2], ""),
        (("p50_70", "p0_20", "nonlesion"), [0, 1], "2 regions are of categories whose names"),
        (("catheter", "background", "x"), [2], "1 regions are of categories whose names"),
        (("stenosis-free", "lesion_videos", "lesions"), [2], "2 regions are of another category"),
    ],
)
def test_categories_are_known_by_whole_names(
    archive: Archive, names: tuple[str, ...], kept: list[int], told: str, capsys: Any
) -> None:
    cine(archive)
    boxes = [(float(8 * n), 5.0, 8.0 * n + 7, 18.0) for n in range(3)]
    path = coco_file(
        archive,
        {"cine7_1.png": [{"box": b, "category_id": n} for n, b in enumerate(boxes)]},
    )
    document = json.loads(path.read_text())
    document["categories"] = [{"id": n, "name": name} for n, name in enumerate(names)]
    path.write_text(json.dumps(document))
    assert [box for _, box, _ in placed(run(archive))] == [boxes[n] for n in kept]
    assert told in capsys.readouterr().out


def test_a_category_that_a_file_knows_and_did_not_draw_says_what_the_others_are(
    archive: Archive,
) -> None:
    cine(archive)
    coco_file(archive, {"cine7_1.png": [{"box": BOX, "category_id": 2}]})
    coco_file(archive, {"cine7_1.png": [{"box": OTHER}]}, name="b")
    assert placed(run(archive)) == [(1, OTHER, "reference")]


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        ({"width": 64, "height": 64}, (8, 10, 40, 36), (4, 5, 20, 18)),
        ({"width": "16", "height": 16.0}, (2, 2.5, 10, 9), (4, 5, 20, 18)),
        ({"width": 0, "height": 0}, BOX, BOX),
        ({"width": None}, BOX, BOX),
        ({"width": 64, "height": 48}, BOX, "other size"),
        ({"width": 64}, BOX, "unreadable value"),
        ({"width": -32, "height": -32}, BOX, "unreadable value"),
        ({"width": "x", "height": 32}, BOX, "unreadable value"),
    ],
)
def test_regions_of_a_picture_of_another_size_are_scaled_or_left_out(
    archive: Archive, size: dict[str, Any], box: Any, expected: Any, capsys: Any
) -> None:
    cine(archive)
    cine(archive, "any.dcm")
    coco_file(archive, {"any_1.png": [{"box": OTHER}]})
    path = coco_file(archive, {"cine7_1.png": [{"box": box}]}, name="b")
    document = json.loads(path.read_text())
    document["images"][0].update(size)
    path.write_text(json.dumps(document, indent=1))
    cohort = run(archive)
    found = [box for _, box, _ in placed(cohort) if box != OTHER]
    said = capsys.readouterr().out
    if isinstance(expected, str):
        assert found == []
        assert expected in listed(cohort)[0]
    else:
        assert found == [expected]
        assert ("another size and were scaled" in said) == (box != expected)


def test_cines_whose_names_other_systems_spell_otherwise_get_their_boxes(archive: Archive) -> None:
    nfd = unicodedata.normalize("NFD", "Größe_é")
    for n, name in enumerate((f"{nfd}/k1.dcm", "set\\k2.dcm", "d/k3 é.dcm")):
        write_cine(archive.src / name, noise(5), instance=f"1.2.{n}")
    labels = archive.folder / "labels.csv"
    rows = [f"1.2.{n},RCA,1,0,1,4" for n in range(3)]
    header = "sop_instance_uid,view,reference_frame,introducing_start,optimal_start,vanishing_start"
    labels.write_text("\n".join([header, *rows]))
    archive.rois.mkdir()
    names = ("Größe_é/k1_1.png", "set/k2_1.png", "d/k3%20%C3%A9_1.png")
    coco_file(archive, {name: [{"box": BOX}] for name in names})
    out = archive.folder / "cohort"
    settings = IngestSettings(size=SIZE, processes=1)
    ingest(archive.src, labels=labels, out=out, rois=archive.rois, settings=settings)
    assert len({box.sequence_id for box in Cohort.open(out).boxes}) == 3
    assert not mismatches_path(out).exists()


def test_two_labels_for_one_cine_keep_it_out_and_the_rest_goes_on(archive: Archive) -> None:
    archive.add("a.dcm", None, instance="1.2.3")
    archive.add("b.dcm", None, instance="1.2.4")
    labels = archive.folder / "labels.csv"
    labels.write_text("file,sop_instance_uid,view\na.dcm,,RCA\n,1.2.3,LCA\nb.dcm,,RCA\n")
    out = archive.folder / "cohort"
    settings = IngestSettings(size=SIZE, processes=1)
    ingest(archive.src, labels=labels, out=out, settings=settings)
    reasons = [row.reason for row in read_manifest(out)]
    assert reasons == ["two rows of sequences.csv label it", ""]
    assert mismatches_path(out).read_text() == (
        f"{labels}:2: two labels: two rows of sequences.csv label it; the other is line 3\n"
    )


CVAT = """<annotations><version>1.1</version><meta><task><source>cine7</source></task></meta>
<track id="0" label="stenosis">
<box frame="1" outside="0" keyframe="1" xtl="4" ytl="5" xbr="20" ybr="18"/>
<box frame="2" outside="0" keyframe="0" xtl="5" ytl="5" xbr="21" ybr="18"/>
<box frame="3" outside="0" keyframe="1" xtl="6" ytl="5" xbr="22" ybr="18"/>
</track>
<track id="1" label="stenosis">
<box frame="3" outside="0" keyframe="1" xtl="1" ytl="1" xbr="9" ybr="9"/>
</track>
</annotations>"""


def test_key_frames_of_a_track_are_one_lesion_and_corrections_off_the_reference_frame(
    archive: Archive,
) -> None:
    cine(archive)
    (archive.rois / "any.xml").write_text(CVAT)
    cohort = run(archive)
    assert placed(cohort) == [
        (1, BOX, "reference"),
        (3, (6, 5, 22, 18), "corrected"),
        (3, (1, 1, 9, 9), "corrected"),
    ]
    assert [box.instance_id for box in cohort.boxes] == [1, 1, 2]
    before = (cohort.folder / "annotations.json").read_bytes()
    assert (run(archive).folder / "annotations.json").read_bytes() == before


def test_one_lesion_that_two_files_call_differently_stays_one(archive: Archive) -> None:
    """The cohort's own file beside the CVAT file that it came from, to which a frame was added."""
    cine(archive)
    (archive.rois / "any.xml").write_text(CVAT)
    own = (run(archive).folder / "annotations.json").read_bytes()
    (archive.rois / "annotations.json").write_bytes(own)
    more = '<box frame="2" outside="0" keyframe="1" xtl="5" ytl="6" xbr="21" ybr="18"/>\n</track>'
    (archive.rois / "any.xml").write_text(CVAT.replace("</track>", more, 1))
    found = [(box.frame_index, box.instance_id) for box in run(archive).boxes]
    assert found == [(1, 1), (2, 1), (3, 1), (3, 2)]


def tracked(cohort: Cohort, *frames: int) -> None:
    """Boxes as propagate writes them, for every lesion."""
    more = [
        Box(
            sequence_id=reference.sequence_id,
            frame_index=frame_index,
            box_xyxy=reference.box_xyxy,
            instance_id=reference.instance_id,
            source=BoxSource.TRACKED,
            confidence=0.5,
        )
        for frame_index in frames
        for reference in cohort.boxes
        if reference.source is not BoxSource.TRACKED
    ]
    write_annotations(cohort.folder, cohort.sequences.values(), [*cohort.boxes, *more])


def test_boxes_corrected_in_the_cohort_s_own_file_come_back(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    cine(archive, boxes={1: [BOX, OTHER]})
    tracked(run(archive), 2, 3)
    cohort = Cohort.open(archive.folder / "cohort")
    moved = {"source": "corrected", "bbox": [6.0, 5.0, 16.0, 13.0]}
    document = json.loads((cohort.folder / "annotations.json").read_text())
    # Of lesion 1, the box of frame 3 was moved by the reader.
    (row,) = [a for a in document["annotations"] if a["instance_id"] == 1 and a["image_id"] == 4]
    assert row["source"] == "tracked"
    row.update(moved)
    (archive.rois / "annotations.json").write_text(json.dumps(document))
    capsys.readouterr()
    found = [(b.instance_id, b.frame_index, b.source.value, b.box_xyxy) for b in run(archive).boxes]
    # Lesion 1 is to be tracked anew; what was tracked of lesion 2 stays.
    assert found == [
        (1, 1, "reference", BOX),
        (2, 1, "reference", OTHER),
        (2, 2, "tracked", OTHER),
        (1, 3, "corrected", (6, 5, 22, 18)),
        (2, 3, "tracked", OTHER),
    ]
    said = capsys.readouterr().out
    assert "3 boxes marked as tracked are left out" in said
    assert "the tracked boxes of 1 sequences were dropped" in said


@pytest.mark.parametrize("name", ["before", "later"])
def test_a_correction_of_the_reference_box_takes_its_place(archive: Archive, name: str) -> None:
    cine(archive, boxes={1: [BOX]})
    run(archive)
    coco_file(
        archive,
        {"cine7_1.png": [{"box": (6, 5, 22, 18), "source": "corrected", "instance_id": 1}]},
        name=name,
    )
    for _ in range(2):
        assert placed(run(archive)) == [(1, (6, 5, 22, 18), "corrected")]


def test_corrections_stay_when_every_reference_box_goes(archive: Archive) -> None:
    cine(archive, boxes={1: [BOX]})
    cohort = run(archive)
    (reference,) = cohort.boxes
    correction = Box(
        sequence_id=reference.sequence_id,
        frame_index=2,
        box_xyxy=OTHER,
        instance_id=reference.instance_id,
        source=BoxSource.CORRECTED,
    )
    write_annotations(cohort.folder, cohort.sequences.values(), [reference, correction])
    (archive.rois / "cine7.dcm.xml").unlink()
    coco_file(archive, {"cine8_1.png": []})
    assert Cohort.open(run(archive).folder).boxes == (correction,)


def test_a_box_that_was_moved_a_little_is_the_same_lesion(archive: Archive) -> None:
    cine(archive)
    coco_file(archive, {"cine7_1.png": [{"box": BOX}, {"box": OTHER}]})
    run(archive)
    coco_file(archive, {"cine7_1.png": [{"box": (22, 21, 30, 31)}, {"box": (0, 20, 9, 30)}]})
    found = {box.box_xyxy: box.instance_id for box in run(archive).boxes}
    assert found == {(22, 21, 30, 31): 2, (0, 20, 9, 30): 3}
