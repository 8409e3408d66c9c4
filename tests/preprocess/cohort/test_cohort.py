"""The contract on disk: what goes in comes out, and what contradicts itself is refused."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask
from pycocotools.coco import COCO

from preprocess.cohort import (
    NO_LESION,
    Box,
    BoxSource,
    Cohort,
    ManifestRow,
    Phase,
    Sequence,
    Verdict,
    cine_is_stored,
    frames_digest,
    phantom_notice,
    polygons,
    read_manifest,
    store_cine,
    stored_sequence,
    update_attributes,
    write_annotations,
    write_manifest,
)
from preprocess.cohort.contents import facts_of
from preprocess.cohort.display import Display
from tests.preprocess.tiny_archive import noise

FRAMES = noise(6, 20, bits=12)
SEQUENCE = Sequence(
    sequence_id="S1",
    patient_id="P1",
    view="LCx/LAD",
    length=6,
    height=20,
    width=20,
    bits_stored=12,
    display=Display(lower=10.5, upper=3000, inverted=True, modality_lut=(3, 2, 1)),
    frames_digest=frames_digest(FRAMES),
    primary_angle_deg=-30.5,
    secondary_angle_deg=20.0,
    frame_time_ms=66.7,
    imager_pixel_spacing_mm=(0.2, 0.3),
    transfer_syntax_uid="1.2.840.10008.1.2.4.70",
    introducing_start=1,
    optimal_start=2,
    vanishing_start=5,
    reference_frame=3,
    ifr=(0.8, 0.91),
)
BOXES = (
    Box(sequence_id="S1", frame_index=3, box_xyxy=(1.25, 2.5, 7.75, 9.0), instance_id=1),
    Box(
        sequence_id="S1",
        frame_index=4,
        box_xyxy=(0.0, 0.0, 20.0, 20.0),
        instance_id=1,
        source=BoxSource.TRACKED,
        confidence=0.4,
        verdict=Verdict.LOST,
    ),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store_cine(tmp_path, SEQUENCE, FRAMES)
    write_annotations(tmp_path, [SEQUENCE], BOXES)
    return tmp_path


def test_round_trip(folder: Path) -> None:
    cohort = Cohort.open(folder)
    assert cohort.sequences == {"S1": SEQUENCE}
    assert cohort.boxes == BOXES
    np.testing.assert_array_equal(cohort.cine("S1"), FRAMES)
    assert list(cohort.boxes_by_frame) == [("S1", 3)], "a lost box is not used"
    assert not (folder / "frames.zarr" / "S1").joinpath("c").is_file()


def test_a_grade_is_written_where_one_is_known_and_decides_a_number(folder: Path) -> None:
    before, written = Cohort.open(folder), (folder / "annotations.json").read_text()
    assert '"grade"' not in written
    graded = (replace(BOXES[0], grade="p50_70"), BOXES[1])
    write_annotations(folder, [SEQUENCE], graded)
    after = Cohort.open(folder)
    assert [box.grade for box in after.boxes] == ["p50_70", None]
    assert after.grades == {"S1": {1: {"p50_70"}}}
    assert after.changes(before.digest, before.contents) == "other boxes of 1 sequence (S1)"
    text = (folder / "annotations.json").read_text()
    (folder / "annotations.json").write_text(text.replace('"p50_70"', "50"))
    with pytest.raises(ValueError, match=r"no longer what was written \(grade is 50\)"):
        Cohort.open(folder)
    write_annotations(folder, [SEQUENCE], BOXES)
    assert (folder / "annotations.json").read_text() == written


def test_an_outline_is_a_mask_to_coco_and_decides_a_number(folder: Path) -> None:
    before = Cohort.open(folder)
    outline = ((2.0, 2.0, 12.0, 2.0, 12.0, 12.0, 2.0, 12.5),)
    write_annotations(folder, [SEQUENCE], (replace(BOXES[0], segmentation=outline), BOXES[1]))
    after = Cohort.open(folder)
    assert [box.segmentation for box in after.boxes] == [outline, None]
    assert after.boxes == before.boxes and after.digest != before.digest
    coco = COCO(folder / "annotations.json")
    first, second = coco.loadAnns(coco.getAnnIds())
    assert mask.area(coco.annToRLE(first)) == pytest.approx(102, abs=8)
    assert "segmentation" not in second


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        {"counts": "a0", "size": [9, 9]},
        [[0, 0, 1, 1]],
        [[0, 0, 5, 0, 5, "5"]],
        [[0, 0, 5, 0, 5, 4, 0, 4]],  # the box once more, as some tools write
        [[0, 0, 5, 0, 5, 4, 0, 4, 0, 0]],  # and closed
        [[0, 0, 5, 0, float("inf"), 5]],
        [[0.1, 0.1, 0.2, 0.2, 0.3, 0.3]],
    ],
)
def test_what_is_no_polygon_is_no_outline(segmentation: Any) -> None:
    assert polygons(segmentation) is None


@pytest.mark.parametrize("part", [[], [7, 7], [1, 1, 2, 2, 3, 3], None])
def test_a_bad_part_of_an_outline_leaves_the_others(part: Any) -> None:
    triangle = (1, 1, 5, 1, 5, 5)
    assert polygons([triangle, part]) == (triangle,)


def test_a_cohort_without_grades_has_the_digest_that_it_had_before_there_were_any() -> None:
    """A study that an earlier version began goes on."""
    facts = facts_of({"S1": SEQUENCE}, BOXES, [])
    names = "sequence_id frame_index box_xyxy instance_id source confidence verdict ignored"
    assert [" ".join(box) for box in facts["boxes"]["S1"]] == [names] * 2


def test_an_area_to_ignore_is_a_crowd_to_coco_and_no_box_of_a_lesion(folder: Path) -> None:
    area = replace(BOXES[0], box_xyxy=(1, 1, 19, 19), instance_id=NO_LESION, ignored=True)
    before = Cohort.open(folder).digest
    write_annotations(folder, [SEQUENCE], [*BOXES, area])
    cohort = Cohort.open(folder)
    assert cohort.digest != before, "it decides what counts as false"
    assert (cohort.boxes, cohort.ignored) == (BOXES, (area,))
    assert list(cohort.ignored_by_frame) == [("S1", 3)]
    assert cohort.boxes_by_frame["S1", 3] == [BOXES[0]]
    assert cohort.only(["S1"]).ignored == (area,)
    coco = COCO(folder / "annotations.json")
    (crowd,) = coco.loadAnns(coco.getAnnIds(iscrowd=True))
    assert (crowd["bbox"], crowd["instance_id"]) == ([1, 1, 18, 18], None)


def test_phases_are_intervals(folder: Path) -> None:
    assert [SEQUENCE.phase(t) for t in range(6)] == [
        Phase.NO_CONTRAST,
        Phase.INTRODUCING,
        *[Phase.OPTIMAL] * 3,
        Phase.VANISHING,
    ]
    assert SEQUENCE.frames_in(Phase.OPTIMAL) == range(2, 5)
    unknown = replace(SEQUENCE, introducing_start=None, optimal_start=None, vanishing_start=None)
    assert unknown.phase(2) is None
    assert unknown.frames_in(Phase.OPTIMAL) == range(0)


def test_pycocotools_reads_it_as_it_is(folder: Path) -> None:
    coco = COCO(folder / "annotations.json")
    assert len(coco.getImgIds()) == 6
    (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=[4]))
    assert annotation["bbox"] == [1.25, 2.5, 6.5, 6.5]
    assert min(coco.getAnnIds()) == 1


def test_a_cine_is_one_file(folder: Path) -> None:
    data = [p for p in (folder / "frames.zarr" / "S1").rglob("*") if p.is_file()]
    assert len(data) == 2, "the attributes and one shard"
    assert cine_is_stored(folder, "S1")
    assert not cine_is_stored(folder, "S2")


def test_damaged_and_missing_frames_are_no_black_frames(folder: Path) -> None:
    shard = folder / "frames.zarr" / "S1" / "c" / "0" / "0" / "0"
    sound = shard.read_bytes()
    shard.write_bytes(sound[:40] + bytes([sound[40] ^ 1]) + sound[41:])
    with pytest.raises(ValueError, match=r"frames in .*S1 are damaged \(.*checksum"):
        Cohort.open(folder).cine("S1")
    shard.unlink()
    with pytest.raises(ValueError, match=r"frames in .*S1 are damaged \(c/0/0/0 is not there"):
        Cohort.open(folder).cine("S1")
    shard.write_bytes(sound)
    np.testing.assert_array_equal(Cohort.open(folder).cine("S1"), FRAMES)


def test_a_cine_of_nothing_but_black_is_read(tmp_path: Path) -> None:
    black = np.zeros_like(FRAMES)
    sequence = replace(SEQUENCE, frames_digest=frames_digest(black))
    store_cine(tmp_path, sequence, black)
    write_annotations(tmp_path, [sequence], [])
    np.testing.assert_array_equal(Cohort.open(tmp_path).cine("S1"), black)


def test_attributes_change_without_touching_frames(folder: Path) -> None:
    changed = replace(SEQUENCE, view="RCA", ifr=())
    update_attributes(folder, changed)
    assert stored_sequence(folder, "S1") == changed
    np.testing.assert_array_equal(Cohort.open(folder).cine("S1"), FRAMES)


@pytest.mark.parametrize(
    "box_xyxy",
    [(5, 5, 5, 9), (9, 5, 5, 9), (-1, 0, 5, 5), (0, 0, 21, 5), (0, 0, float("nan"), 5)],
)
def test_boxes_that_do_not_fit_are_refused(
    folder: Path, box_xyxy: tuple[float, float, float, float]
) -> None:
    before = (folder / "annotations.json").read_bytes()
    with pytest.raises(ValueError, match="does not fit"):
        write_annotations(folder, [SEQUENCE], [replace(BOXES[0], box_xyxy=box_xyxy)])
    assert (folder / "annotations.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vanishing_start": 7}, "phase bounds"),
        ({"optimal_start": 0}, "phase bounds"),
        ({"optimal_start": None}, "phase bounds"),
        ({"reference_frame": 6}, "reference frame 6 of 6"),
    ],
)
def test_contradictory_sequences_are_refused(
    folder: Path, change: dict[str, int | None], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        write_annotations(folder, [replace(SEQUENCE, **change)], BOXES)  # type: ignore[arg-type]


def test_a_box_of_an_unknown_sequence_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="unknown sequence S9"):
        write_annotations(folder, [SEQUENCE], [replace(BOXES[0], sequence_id="S9")])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "is damaged"),
        ("[1, 2]", "schema version None"),
        ('{"info": 3}', "schema version None"),
        ('{"info": {"schema_version": 2}}', "no longer what was written"),
        (
            '{"info": {"schema_version": 2}, "videos": [7], "images": [], "annotations": []}',
            "no longer what was written",
        ),
    ],
)
def test_annotations_that_hold_something_else_are_said(
    folder: Path, content: str, expected: str
) -> None:
    (folder / "annotations.json").write_text(content)
    with pytest.raises(ValueError, match=expected):
        Cohort.open(folder)


def test_no_cohort_other_version_missing_frames(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no cohort"):
        Cohort.open(tmp_path / "nowhere")
    path = folder / "annotations.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"info": {"schema_version": 99}}))
    with pytest.raises(ValueError, match="schema version 99"):
        Cohort.open(folder)
    document["videos"].append({**document["videos"][0], "id": 2, "sequence_id": "S2"})
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="1 sequences that frames"):
        Cohort.open(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"view": "RCA"}, "other view of 1 sequence (S1)"),
        ({"patient_id": "P2"}, "other patient of 1 sequence (S1)"),
        ({"reference_frame": 4}, "other reference frame of 1 sequence (S1)"),
        ({"vanishing_start": 6}, "other vanishing start of 1 sequence (S1)"),
        ({"ifr": (0.8,)}, "other ifr of 1 sequence (S1)"),
        ({"no_lesion": True}, "other no lesion of 1 sequence (S1)"),
        ({"part": "val"}, "other part of 1 sequence (S1)"),
        ({"frames_digest": "0" * 64}, "other pixels of 1 sequence (S1)"),
        (
            {"display": Display(lower=0, upper=3000), "view": None},
            "other display, view of 1 sequence (S1)",
        ),
    ],
)
def test_the_digest_sees_all_that_decides_a_number(
    folder: Path, change: dict[str, Any], said: str
) -> None:
    before = Cohort.open(folder)
    update_attributes(folder, replace(SEQUENCE, **change))
    after = Cohort.open(folder)
    assert after.digest != before.digest
    assert after.changes(before.digest, before.contents) == said
    update_attributes(folder, SEQUENCE)
    assert Cohort.open(folder).changes(before.digest, before.contents) == ""


def test_the_digest_sees_boxes_exclusions_and_sequences(folder: Path) -> None:
    before = Cohort.open(folder)
    write_annotations(folder, [SEQUENCE], BOXES[:1])
    after = Cohort.open(folder)
    assert after.changes(before.digest, before.contents) == "other boxes of 1 sequence (S1)"
    area = replace(BOXES[0], instance_id=NO_LESION, ignored=True)
    write_annotations(folder, [SEQUENCE], [*BOXES, area])
    after = Cohort.open(folder)
    assert after.changes(before.digest, before.contents) == "other boxes of 1 sequence (S1)"
    assert after.changes("another", {}) == "other contents", "a record that somebody changed"
    write_annotations(folder, [SEQUENCE], BOXES)
    excluded = ManifestRow(hmac_sha256="a", status="rejected", sequence_id="S9", exclude="implant")
    write_manifest(folder, [excluded])
    after = Cohort.open(folder)
    assert after.changes(before.digest, before.contents) == "other exclusions"
    write_manifest(folder, [])
    others = [replace(SEQUENCE, sequence_id=f"S{n}") for n in (2, 3, 4, 5)]
    for other in others:
        store_cine(folder, other, FRAMES)
    write_annotations(folder, others, [])
    after = Cohort.open(folder)
    assert after.changes(before.digest, before.contents) == (
        "4 sequences (S2, S3, S4, …) new, 1 sequence (S1) gone"
    )


def test_what_decides_nothing_is_not_in_the_digest(folder: Path) -> None:
    before = Cohort.open(folder)
    update_attributes(
        folder, replace(SEQUENCE, primary_angle_deg=1.0, manufacturer="GE", year=2019)
    )
    path = folder / "annotations.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert Cohort.open(folder).digest == before.digest


def test_what_an_earlier_version_compared_is_still_compared(folder: Path) -> None:
    earlier = hashlib.sha256((folder / "annotations.json").read_bytes())
    earlier.update(SEQUENCE.frames_digest.encode())
    digest = earlier.hexdigest()
    assert Cohort.open(folder).changes(digest, None) == ""
    write_annotations(folder, [SEQUENCE], BOXES[:1])
    assert Cohort.open(folder).changes(digest, None) == "other annotations or pixels"


def test_a_frame_read_alone_is_that_of_its_cine_or_refused(folder: Path) -> None:
    cohort = Cohort.open(folder)
    pictures = cohort.cine_8bit("S1")
    for t in (5, 0, 3):
        np.testing.assert_array_equal(cohort.frame_8bit("S1", t), pictures[t])
    shard = folder / "frames.zarr" / "S1" / "c/0/0/0"
    store_cine(folder, replace(SEQUENCE, sequence_id="S2"), noise(6, 20, bits=12, seed=1))
    shard.write_bytes((folder / "frames.zarr" / "S2" / "c/0/0/0").read_bytes())
    with pytest.raises(ValueError, match=r"S1 are damaged \(a frame is another one than it was"):
        cohort.frame_8bit("S1", 4)
    with pytest.raises(ValueError, match=r"S1 are damaged \(they are the frames of another cine"):
        Cohort.open(folder).frame_8bit("S1", 4)
    shard.unlink()
    with pytest.raises(ValueError, match=r"S1 are damaged"):
        cohort.frame_8bit("S1", 4)


def test_the_frames_of_another_cine_are_refused(folder: Path) -> None:
    other = noise(6, 20, bits=12, seed=1)
    second = replace(SEQUENCE, sequence_id="S2", frames_digest=frames_digest(other))
    store_cine(folder, second, other)
    write_annotations(folder, [SEQUENCE, second], [])
    first, second_shard = (folder / "frames.zarr" / s / "c/0/0/0" for s in ("S1", "S2"))
    sound = first.read_bytes()
    first.write_bytes(second_shard.read_bytes())
    with pytest.raises(ValueError, match=r"S1 are damaged \(they are the frames of another cine"):
        Cohort.open(folder).cine("S1")
    first.write_bytes(sound)
    # The whole array, its attributes and all.
    shutil.rmtree(folder / "frames.zarr" / "S1")
    shutil.copytree(folder / "frames.zarr" / "S2", folder / "frames.zarr" / "S1")
    with pytest.raises(ValueError, match=r"S1/zarr\.json are damaged \(it is of the sequence 'S2'"):
        Cohort.open(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"view": 3},
        {"length": "6"},
        {"ifr": [None]},
        {"ifr": "0.8"},
        {"display": None},
        {"display": {"lower": "0", "upper": 1}},
        {"display": {"lower": float("nan"), "upper": 1}},
        {"display": {"lower": 0, "upper": 10**30}},
        {"frame_time_ms": float("inf")},
        {"no_lesion": 0},
        {"reference_frame": 2.5},
        {"imager_pixel_spacing_mm": [1.0]},
        {"patient_id": None},
        {"view": "RCA\x1b[2J"},
        {"view": "RCA\x9b2J"},
    ],
)
def test_attributes_of_other_types_are_refused(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "frames.zarr" / "S1" / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="its attributes are not what was written"):
        Cohort.open(folder)


def test_a_sequence_that_is_listed_twice_is_refused(folder: Path) -> None:
    path = folder / "annotations.json"
    document = json.loads(path.read_text())
    document["videos"].append({**document["videos"][0], "id": 2})
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="S1 is listed 2 times"):
        Cohort.open(folder)


def test_the_manifest_comes_back(tmp_path: Path) -> None:
    rows = [
        ManifestRow(hmac_sha256="a", status="accepted", no_lesion=True, ifr="0.8;0.9"),
        ManifestRow(hmac_sha256="b", status="rejected", reason='odd, "quoted"', reference_boxes=3),
    ]
    write_manifest(tmp_path, rows)
    assert read_manifest(tmp_path) == rows
    assert read_manifest(tmp_path / "nowhere") == []


def test_a_manifest_that_a_spreadsheet_opens_carries_nothing_out(tmp_path: Path) -> None:
    texts = ("=1+1", "+1-1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1", "'a", "-0.5", "+7")
    behind_a_semicolon = ("a;=1+1", "a;'=1;b", "0.8;-0.5")
    rows = [
        ManifestRow(hmac_sha256="a", status="accepted", view=text, reason=text)
        for text in (*texts, *behind_a_semicolon)
    ]
    write_manifest(tmp_path, rows)
    assert read_manifest(tmp_path) == rows
    with (tmp_path / "manifest.csv").open(newline="") as file:
        cells = [row["view"] for row in csv.DictReader(file)]
    assert cells == [
        *("'=1+1", "'+1-1", "'-2+3", "'@SUM(A1)", "'\t=1", "'\r=1", "''=1", "'a"),
        *("-0.5", "+7", "a;'=1+1", "a;''=1;b", "0.8;-0.5"),
    ]


def test_a_manifest_from_before_hashes_were_keyed_is_read(tmp_path: Path) -> None:
    head = "sha256,status,reason,sequence_id,patient_id,view,exclude,no_lesion,"
    row = "reference_boxes,ifr\nab,accepted,,S1,P1,RCA,,True,2,0.8\n"
    (tmp_path / "manifest.csv").write_text(head + row)
    (read,) = read_manifest(tmp_path)
    assert (read.hmac_sha256, read.sequence_id, read.no_lesion) == ("ab", "S1", True)


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "hmac_sha256,no_lesion\nx,maybe\n"])
def test_what_is_no_manifest_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.csv").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.csv is not what was written"):
        read_manifest(tmp_path)


def test_a_cohort_from_before_phantoms_were_marked_opens(folder: Path) -> None:
    update_attributes(folder, replace(SEQUENCE, quality_control_image=True))
    assert Cohort.open(folder).sequences["S1"].quality_control_image
    path = folder / "frames.zarr" / "S1" / "zarr.json"
    document = json.loads(path.read_text())
    del document["attributes"]["quality_control_image"]
    path.write_text(json.dumps(document))
    assert Cohort.open(folder).sequences == {"S1": SEQUENCE}


@pytest.mark.parametrize(
    ("phantoms", "sequences", "expected"),
    [
        (0, 0, ""),
        (0, 3, ""),
        (3, 3, "Phantom data. No real patient is shown: all 3 sequences are marked"),
        (1, 3, "Phantom data in part: 1 of 3 sequences is marked as phantom images"),
        (2, 3, "Phantom data in part: 2 of 3 sequences are marked as phantom images"),
    ],
)
def test_phantoms_are_said(phantoms: int, sequences: int, expected: str) -> None:
    said = phantom_notice(phantoms, sequences)
    assert said.startswith(expected) and bool(said) is bool(expected)
