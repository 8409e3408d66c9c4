"""Boxes that went out and came back: the same to the bit, or corrected where somebody drew."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.__main__ import main
from preprocess.cohort import Box, BoxSource, Cohort, Verdict, read_manifest, write_annotations
from preprocess.cohort.reviews import read_reviews
from preprocess.exporters import cvat
from preprocess.exporters.command import ExportSettings, export
from preprocess.exporters.correct import CorrectSettings
from preprocess.exporters.correct import correct as correct_by
from preprocess.ingest.command import IngestSettings, ingest
from preprocess.review.corrections import Corrections
from preprocess.tracking.propagate import PropagateSettings, propagate
from tests.preprocess.drawn_cohort import sequence, write_drawn
from tests.preprocess.exporters.awkward_cohort import (
    AWKWARD,
    BOXES,
    NEXT_ONE,
    box,
    write_awkward_cohort,
)
from tests.preprocess.tiny_archive import SIZE, Archive, noise, write_cine

ALONE = ExportSettings(processes=1)
ELSEWHERE = (20.5, 21.25, 29.0, 30.0)
FORMATS = ("cvat", "coco")


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return write_awkward_cohort(tmp_path / "cohort")


def correct(cohort: Path, regions: Path) -> None:
    correct_by(cohort, regions, CorrectSettings(by="B"))


def annotations(cohort: Cohort) -> bytes:
    return (cohort.folder / "annotations.json").read_bytes()


def sent(cohort: Cohort, to: str) -> Path:
    """The exported files."""
    out = cohort.folder.with_name(f"sent-{to}")
    export(cohort.folder, to=to, out=out, settings=ALONE)
    return out


def edit(folder: Path, name: str, change: Callable[[ElementTree.Element], None]) -> None:
    """Change the CVAT file of a sequence."""
    path = folder / name / "annotations.xml"
    root = ElementTree.parse(path).getroot()
    change(root)
    path.write_bytes(ElementTree.tostring(root))


def moved(shape: ElementTree.Element, corners: tuple[float, ...]) -> None:
    for name, value in zip(("xtl", "ytl", "xbr", "ybr"), corners, strict=True):
        shape.set(name, f"{value:.2f}")


def shape_at(root: ElementTree.Element, lesion: int, frame: int) -> ElementTree.Element:
    """A box that is drawn, by what its marks say."""
    return next(
        shape
        for shape in root.iter("box")
        if (shape.get("frame"), shape.get("outside")) == (str(frame), "0")
        and any(a.get("name") == "instance_id" and a.text == str(lesion) for a in shape)
    )


def changes(before: Cohort, folder: Path) -> tuple[set[Box], set[Box]]:
    """The boxes that are gone, and those that are new."""
    after = Cohort.open(folder)
    old, new = {*before.boxes, *before.ignored}, {*after.boxes, *after.ignored}
    return old - new, new - old


@pytest.mark.parametrize("to", FORMATS)
def test_what_was_not_touched_comes_back_to_the_bit(
    cohort: Cohort, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = annotations(cohort)
    correct(cohort.folder, sent(cohort, to))
    assert annotations(cohort) == before
    assert "nothing is changed" in capsys.readouterr().out
    assert read_reviews(cohort.folder) == {}


@pytest.mark.parametrize("to", FORMATS)
def test_a_grade_stays_with_its_box(cohort: Cohort, to: str) -> None:
    graded = [replace(b, grade="p70_90" if b.instance_id == 7 else None) for b in BOXES]
    write_annotations(cohort.folder, cohort.sequences.values(), graded)
    before = annotations(cohort)
    out = sent(cohort, to)
    correct(cohort.folder, out)
    assert annotations(cohort) == before


def test_a_box_that_was_moved_keeps_its_grade(cohort: Cohort) -> None:
    graded = [replace(b, grade=f"p{b.instance_id}") for b in BOXES]
    write_annotations(cohort.folder, cohort.sequences.values(), graded)
    out = sent(cohort, "cvat")
    edit(out, "S1", lambda root: moved(shape_at(root, 7, 4), ELSEWHERE))
    correct(cohort.folder, out)
    (found,) = (b for b in Cohort.open(cohort.folder).boxes if b.box_xyxy == ELSEWHERE)
    assert (found.source, found.grade) == (BoxSource.CORRECTED, "p7")


@pytest.mark.parametrize("to", FORMATS)
def test_the_files_alone_have_every_box_track_and_key_frame(cohort: Cohort, to: str) -> None:
    before = annotations(cohort)
    out = sent(cohort, to)
    write_annotations(cohort.folder, cohort.sequences.values(), [])
    correct(cohort.folder, out)
    assert annotations(cohort) == before


CORNER = st.floats(0, SIZE, allow_subnormal=True)


@st.composite
def any_box(draw: st.DrawFn) -> Box:
    """A box of any corners in the frame, at least a pixel wide, of anyone."""
    (x1, x2), (y1, y2) = (
        draw(st.tuples(CORNER, CORNER).filter(lambda pair: pair[1] - pair[0] >= 1)) for _ in "xy"
    )
    lesion = draw(st.integers(1, 4))
    made = box("S1", draw(st.integers(0, 9)), lesion, (x1, y1, x2, y2))
    source = draw(st.sampled_from(BoxSource))
    if source is not BoxSource.TRACKED:
        return replace(made, source=source)
    verdict, confidence = draw(st.sampled_from(Verdict)), draw(st.floats(0, 1))
    return replace(made, source=source, verdict=verdict, confidence=confidence)


@given(
    st.lists(any_box(), min_size=1, unique_by=lambda b: (b.frame_index, b.instance_id)),
    st.sampled_from(FORMATS),
)
def test_any_box_in_the_frame_comes_back(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[Box], to: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    cohort = write_drawn(folder / "cohort", [sequence("S1", "P1", "RCA")], boxes)
    before = annotations(cohort)
    path = folder / "S1.file"
    if to == "cvat":
        path.write_bytes(cvat.annotations_xml(cohort.sequences["S1"], cohort.boxes))
    else:
        path.write_bytes(before)
    correct(cohort.folder, path)
    assert annotations(cohort) == before
    write_annotations(cohort.folder, cohort.sequences.values(), [])
    correct(cohort.folder, path)
    assert annotations(cohort) == before
    shutil.rmtree(folder)


def through_cvat(root: ElementTree.Element, *, attributes: bool) -> None:
    """What CVAT makes of a file that it reads and writes: two decimals, other numbers, frames
    between; an attribute of a track is that of its last shape."""
    tracks = root.findall("track")
    for track in tracks:
        root.remove(track)
    for number, track in enumerate([*tracks[1:], *tracks[:1]], start=100):
        track.set("id", str(number))
        of_track = {a.get("name"): a.text for a in track[-1]}
        for shape in track:
            for attribute in shape:
                if attribute.get("name") in ("instance_id", "ignore"):
                    attribute.text = of_track.get(attribute.get("name"))
            moved(shape, tuple(float(shape.get(c, "")) for c in ("xtl", "ytl", "xbr", "ybr")))
            if not attributes:
                shape[:] = []
        between = ElementTree.SubElement(track, "box", {**track[0].attrib, "keyframe": "0"})
        between.set("frame", "8")
        moved(between, ELSEWHERE)
        root.append(track)


@pytest.mark.parametrize("attributes", [True, False])
def test_what_cvat_rounds_and_numbers_anew_is_unchanged(cohort: Cohort, attributes: bool) -> None:
    """Also where the task in CVAT did not have the attributes."""
    boxes = [b for b in BOXES if attributes or (b.instance_id != 7 and not b.ignored)]
    write_annotations(cohort.folder, cohort.sequences.values(), boxes)
    before, out = annotations(cohort), sent(Cohort.open(cohort.folder), "cvat")
    for name in cohort.sequences:
        edit(out, name, lambda root: through_cvat(root, attributes=attributes))
    correct(cohort.folder, out)
    assert annotations(cohort) == before
    if attributes:  # the marks have every digit
        write_annotations(cohort.folder, cohort.sequences.values(), [])
        correct(cohort.folder, out)
        assert annotations(cohort) == before


def test_a_key_box_that_was_moved_is_a_correction_and_its_tracks_are_gone(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    out = sent(cohort, "cvat")
    edit(out, "S1", lambda root: moved(shape_at(root, 3, 4), ELSEWHERE))
    correct(cohort.folder, out)
    gone, new = changes(cohort, cohort.folder)
    assert new == {box("S1", 4, 3, ELSEWHERE, source=BoxSource.CORRECTED)}
    # The reference box, and what was tracked of lesion 3; lesion 7 keeps what it has.
    assert gone == {BOXES[0], BOXES[3], BOXES[4]}
    said = capsys.readouterr().out
    assert "Changed 1 sequences: 1 boxes corrected, 0 new, 0 gone." in said
    assert "The tracked boxes of 1 sequences were dropped" in said
    assert f"Next: python -m preprocess propagate {cohort.folder}" in said
    after = annotations(cohort)
    correct(cohort.folder, out)
    assert annotations(cohort) == after


@pytest.mark.parametrize("old", [BOXES[0], BOXES[2]])
def test_of_two_jobs_that_overlap_the_one_that_moved_a_box_counts(cohort: Cohort, old: Box) -> None:
    """Whichever is read first; and given once more, it stays so. Also of a correction."""
    frame = old.frame_index
    for number, changed in enumerate((2, 1)):
        folder = cohort.folder.with_name(f"cohort{number}")
        shutil.copytree(cohort.folder, folder)
        out = sent(Cohort.open(folder), "cvat")
        jobs = folder.with_name(f"jobs{number}")
        for job in (1, 2):
            shutil.copytree(out / "S1", jobs / f"job{job}" / "S1")
        edit(jobs / f"job{changed}", "S1", lambda root: moved(shape_at(root, 3, frame), ELSEWHERE))
        correct(folder, jobs)
        gone, new = changes(cohort, folder)
        assert new == {box("S1", frame, 3, ELSEWHERE, source=BoxSource.CORRECTED)}
        assert gone == {old, BOXES[3], BOXES[4]}
        after = (folder / "annotations.json").read_bytes()
        correct(folder, jobs)
        assert (folder / "annotations.json").read_bytes() == after
        shutil.rmtree(out)


@pytest.mark.parametrize("copies", [1, 2])
def test_a_lesion_has_one_box_on_a_frame(
    cohort: Cohort, copies: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Copied in a COCO file with its instance_id: the first copy moved it."""
    document = json.loads(annotations(cohort))
    (row,) = [a for a in document["annotations"] if a["instance_id"] == 5]
    for number in range(copies):
        document["annotations"].append({**row, "id": 900 + number, "bbox": [5 + number, 5, 9, 9]})
    path = cohort.folder.with_name("copy.json")
    path.write_text(json.dumps(document))
    for _ in range(2):
        correct(cohort.folder, path)
        (found,) = (b for b in Cohort.open(cohort.folder).boxes if b.sequence_id == "S4")
        assert (found.frame_index, found.box_xyxy) == (4, (5, 5, 14, 14))
        said = capsys.readouterr().out
        assert f"{copies} boxes are left out: another box of their lesion is drawn" in said


def test_a_tracked_box_that_was_moved_is_a_correction(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is told as one; so is an area to ignore that is gone, which is no box of a lesion."""
    out = sent(cohort, "cvat")
    edit(out, "S1", lambda root: moved(shape_at(root, 7, 5), ELSEWHERE))
    edit(out, "S2", lambda root: root.remove(root.findall("track")[1]))
    correct(cohort.folder, out)
    gone, new = changes(cohort, cohort.folder)
    assert new == {box("S1", 5, 7, ELSEWHERE, source=BoxSource.CORRECTED)}
    assert gone == {BOXES[5], cohort.ignored[0]}
    said = capsys.readouterr().out
    assert "Changed 2 sequences: 1 boxes corrected, 0 new, 0 gone.\n" in said
    assert "Changed 1 areas to ignore." in said


def test_a_tracked_box_may_be_called_corrected_where_it_is(cohort: Cohort) -> None:
    """In a copy of the cohort's own file, as it was always done."""
    document = json.loads(annotations(cohort))
    (row,) = [a for a in document["annotations"] if a["confidence"] == 0.4321]
    row["source"] = "corrected"
    path = cohort.folder.with_name("copy.json")
    path.write_text(json.dumps(document))
    correct(cohort.folder, path)
    gone, new = changes(cohort, cohort.folder)
    assert new == {box("S1", 5, 3, BOXES[4].box_xyxy, source=BoxSource.CORRECTED)}
    assert gone == {BOXES[3], BOXES[4]}


def test_a_tracked_box_that_was_moved_and_not_marked_is_told(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file from before the last `propagate` looks the same: nobody can tell."""
    document = json.loads(annotations(cohort))
    (row,) = [a for a in document["annotations"] if a["confidence"] == 0.4321]
    row["bbox"] = [1.0, 1.0, 9.0, 9.0]
    path = cohort.folder.with_name("copy.json")
    path.write_text(json.dumps(document))
    before = annotations(cohort)
    correct(cohort.folder, path)
    assert annotations(cohort) == before
    assert "1 tracked boxes are not where the cohort has them" in capsys.readouterr().out


@pytest.mark.parametrize("to", FORMATS)
def test_boxes_that_were_deleted_are_gone(cohort: Cohort, to: str) -> None:
    """A key box of a lesion with two, a whole lesion, and an area to ignore."""
    out = sent(cohort, to)
    if to == "cvat":
        edit(out, "S1", lambda root: shape_at(root, 3, 6).set("outside", "1"))
        edit(out, "S2", lambda root: [root.remove(track) for track in root.findall("track")[:2]])
    else:
        document = json.loads((out / "annotations.json").read_text())
        (area,) = [b for b in cohort.ignored if b.box_xyxy[0] == 0]
        document["annotations"] = [
            a
            for a in document["annotations"]
            if a["instance_id"] != 12
            and a["bbox"][:2] != list(NEXT_ONE[:2])
            and not (a["iscrowd"] and a["bbox"][0] == area.box_xyxy[0])
        ]
        (out / "annotations.json").write_text(json.dumps(document))
    correct(cohort.folder, out)
    gone, new = changes(cohort, cohort.folder)
    first_area, *_ = cohort.ignored
    tracked_of_3 = {b for b in cohort.boxes if b.instance_id == 3 and b.source == "tracked"}
    of_12 = {b for b in cohort.boxes if b.instance_id == 12}
    assert gone == {BOXES[2], *tracked_of_3, *of_12, first_area} and new == set()


def test_a_tracked_box_that_is_not_drawn_any_more_stays_and_is_told(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    """One was set outside, one was deleted; a frame that is not shown says nothing."""
    before, out = annotations(cohort), sent(cohort, "cvat")

    def change(root: ElementTree.Element) -> None:
        shape_at(root, 7, 5).set("outside", "1")
        (track,) = (t for t in root.findall("track") if shape_at(root, 3, 5) in list(t))
        track.remove(shape_at(root, 3, 5))
        track.remove(shape_at(root, 3, 3))
        root.find("meta/task/start_frame").text = "4"

    edit(out, "S1", change)
    correct(cohort.folder, out)
    assert annotations(cohort) == before
    assert "Note: 2 tracked boxes are not drawn any more and stay: " in capsys.readouterr().out


def test_a_lesion_that_loses_its_last_reader_s_box_is_told(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    out = sent(cohort, "cvat")
    edit(out, "S1", lambda root: shape_at(root, 7, 4).set("outside", "1"))
    edit(out, "S2", lambda root: [root.remove(track) for track in root.findall("track")[:1]])
    correct(cohort.folder, out)
    gone, new = changes(cohort, cohort.folder)
    of_7 = {b for b in cohort.boxes if b.instance_id == 7}
    assert gone == of_7 | {b for b in cohort.boxes if b.instance_id == 12} and new == set()
    assert "Note: 1 lesions have lost their last reader's box" in capsys.readouterr().out


def test_a_new_track_is_a_new_lesion(cohort: Cohort) -> None:
    out = sent(cohort, "cvat")

    def draw(root: ElementTree.Element) -> None:
        track = ElementTree.SubElement(root, "track", {"id": "9", "label": "stenosis"})
        for frame, corners in ((4, ELSEWHERE), (6, (1.0, 2.0, 9.5, 9.0))):
            state = {"frame": str(frame), "keyframe": "1", "outside": "0", "occluded": "0"}
            shape = ElementTree.SubElement(track, "box", state)
            moved(shape, corners)
            for name in cvat.NAMES:
                ElementTree.SubElement(shape, "attribute", {"name": name})

    edit(out, "S1", draw)
    correct(cohort.folder, out)
    assert changes(cohort, cohort.folder) == (
        set(),
        {
            box("S1", 4, 13, ELSEWHERE),
            box("S1", 6, 13, (1.0, 2.0, 9.5, 9.0), source=BoxSource.CORRECTED),
        },
    )


def test_a_new_track_over_a_known_lesion_does_not_take_its_place(cohort: Cohort) -> None:
    """Whatever the order of the tracks is, and although the new box overlaps the known one."""
    out = sent(cohort, "cvat")
    x1, y1, x2, y2 = AWKWARD
    corners = (x1 + 1.25, y1, x2 + 1.25, y2)

    def draw(root: ElementTree.Element) -> None:
        track = ElementTree.Element("track", {"id": "9", "label": "stenosis"})
        state = {"frame": "4", "keyframe": "1", "outside": "0", "occluded": "0"}
        moved(ElementTree.SubElement(track, "box", state), corners)
        root.insert(2, track)

    edit(out, "S1", draw)
    correct(cohort.folder, out)
    gone, (new,) = changes(cohort, cohort.folder)
    assert (gone, new.instance_id, new.frame_index) == (set(), 13, 4)


def test_a_copied_track_is_a_lesion_of_its_own(cohort: Cohort) -> None:
    out = sent(cohort, "cvat")

    def copy(root: ElementTree.Element) -> None:
        original = next(t for t in root.findall("track") if shape_at(root, 7, 4) in list(t))
        copied = ElementTree.fromstring(ElementTree.tostring(original))
        copied.set("id", "9")
        for number, shape in enumerate(copied):
            moved(shape, tuple(value + number for value in ELSEWHERE))
        root.append(copied)

    edit(out, "S1", copy)
    correct(cohort.folder, out)
    gone, new = changes(cohort, cohort.folder)
    assert gone == set() and {b.instance_id for b in new} == {13}
    assert {b.frame_index for b in new} == {4, 5}


def test_a_file_says_nothing_of_what_it_does_not_show(cohort: Cohort) -> None:
    """A job of frames 5 to 9, other labels, and one box that cannot be read."""
    before, out = annotations(cohort), sent(cohort, "cvat")

    def job(root: ElementTree.Element) -> None:
        for track in root.findall("track"):
            root.remove(track)
        root.find("meta/task/start_frame").text = "7"

    def others(root: ElementTree.Element) -> None:
        for track in root.findall("track"):
            root.remove(track)
        root.find("meta/task/labels/label/name").text = "catheter"

    def unreadable(root: ElementTree.Element) -> None:
        for track in root.findall("track"):
            for shape in track:
                shape.set("xtl", "?")

    edit(out, "S1", job)
    edit(out, "S2", others)
    edit(out, "S4", unreadable)
    correct(cohort.folder, out)
    assert annotations(cohort) == before


def test_boxes_on_pictures_of_another_shape_delete_nothing(cohort: Cohort) -> None:
    before, out = annotations(cohort), sent(cohort, "cvat")
    edit(
        out,
        "S1",
        lambda root: root.find("meta/task/original_size/width").__setattr__("text", "99"),
    )
    correct(cohort.folder, out)
    assert annotations(cohort) == before
    listed = cohort.folder.with_name("cohort.correct.mismatches.private.txt").read_text()
    assert "other size" in listed


def test_a_sequence_that_is_labelled_as_healthy_gets_no_box(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    before, out = annotations(cohort), sent(cohort, "cvat")
    drawn = cvat.annotations_xml(cohort.sequences["S5"], [box("S5", 4, 3, AWKWARD)])
    (out / "S5" / "annotations.xml").write_bytes(drawn)
    correct(cohort.folder, out)
    assert annotations(cohort) == before
    said = capsys.readouterr().out
    assert (
        "labelled no_lesion, but bear boxes" in said
        and "in the cohort with `preprocess review`" in said
    )


def test_files_of_other_names_are_refused(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    out = sent(cohort, "cvat")
    (out / "S1").rename(out / "other")
    for name in ("S2", "S3", "S4", "S5", "S6"):
        shutil.rmtree(out / name)
    edit(out, "other", lambda root: root.find("meta/task/name").__setattr__("text", "Task 3"))
    with pytest.raises(SystemExit):
        main(["correct", str(cohort.folder), str(out)])
    said = capsys.readouterr().err
    assert "nothing in it names a sequence" in said and "Task 3" not in said
    # The folder that CVAT's file was unpacked into may be called as the sequence.
    (out / "other").rename(out / "S1")
    before = annotations(cohort)
    correct(cohort.folder, out)
    assert annotations(cohort) == before


def test_a_cohort_may_be_called_by_a_point(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is derived from it lies beside it."""
    monkeypatch.chdir(cohort.folder)
    main(["export", ".", "--to", "cvat", "--processes", "1"])
    out = cohort.folder.with_name("cohort-cvat")
    edit(out, "S1", lambda root: moved(shape_at(root, 3, 4), ELSEWHERE))
    main(["correct", ".", str(out)])
    assert box("S1", 4, 3, ELSEWHERE, source=BoxSource.CORRECTED) in Cohort.open(Path()).boxes
    names = {path.name for path in cohort.folder.parent.iterdir()}
    assert names == {"cohort", "cohort-cvat", "cohort.correct.mismatches.private.txt"}


KILLED = """
import os, signal
from preprocess.exporters import correct
from preprocess.__main__ import main

correct.write_annotations = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main()
"""
"""The command, killed when the journal is written and the cohort is not yet."""


def test_killed_in_the_middle_the_same_command_completes_it(cohort: Cohort) -> None:
    out = sent(cohort, "cvat")
    edit(out, "S1", lambda root: moved(shape_at(root, 3, 4), ELSEWHERE))
    undisturbed = cohort.folder.with_name("undisturbed")
    shutil.copytree(cohort.folder, undisturbed)
    correct(undisturbed, out)
    before = annotations(cohort)
    words = ["correct", str(cohort.folder), str(out), "--by", "B"]
    ended = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True)
    assert ended.returncode == -signal.SIGKILL and annotations(cohort) == before
    main(words)
    assert annotations(cohort) == (undisturbed / "annotations.json").read_bytes()
    found, expected = (read_reviews(folder)["S1"] for folder in (cohort.folder, undisturbed))
    assert (found.state, found.before) == (expected.state, expected.before)


def run(archive: Archive, out: str, rois: Path) -> Cohort:
    settings = IngestSettings(size=SIZE, processes=1)
    folder = archive.folder / out
    labels = archive.labels
    key = archive.folder / "key"
    ingest(archive.src, labels=labels, rois=rois, out=folder, key=key, settings=settings)
    return Cohort.open(folder)


def test_an_export_among_the_regions_gives_the_same_cohort(archive: Archive) -> None:
    """Ingested into new cohorts, and tracked: reference, tracked and corrected boxes."""
    (archive.folder / "key").write_text("00" * 32)
    texture = noise(1, seed=3)[0]
    for number in range(2):
        frames = noise(5, seed=number) // 8 + texture // 2
        drawn = [(4.25, 5.125, 20.3, 18.7), (22.1, 20.2, 30.4, 31.0)]
        archive.add(f"{number}.dcm", "RCA,2,0,1,5,0.8,,", boxes={2: drawn}, frames=frames)
    cohort = run(archive, "first", archive.rois)
    alone = PropagateSettings(processes=1)
    propagate(cohort.folder, alone)
    cohort = Cohort.open(cohort.folder)
    out = sent(cohort, "cvat")
    name = next(box.sequence_id for box in cohort.boxes if box.instance_id == 2)
    edit(out, name, lambda root: moved(shape_at(root, 2, 4), (20.1, 19.2, 29.33, 30.0)))
    correct(cohort.folder, out)
    propagate(cohort.folder, alone)
    cohort = Cohort.open(cohort.folder)
    assert {box.source for box in cohort.boxes} == set(BoxSource)
    shutil.rmtree(out)
    for to in FORMATS:
        again = run(archive, f"from-{to}", sent(cohort, to))
        propagate(again.folder, alone)
        assert annotations(again) == annotations(cohort)


def test_a_later_ingest_keeps_what_was_corrected(archive: Archive) -> None:
    """A reader's box that was deleted in CVAT does not come back with the readers' files."""
    (archive.folder / "key").write_text("00" * 32)
    drawn = [(4.0, 5.0, 20.0, 18.0), (22.0, 20.0, 30.0, 31.0)]
    archive.add("7.dcm", "RCA,3,0,1,7,0.8,,", boxes={3: drawn}, frames=noise(8))
    cohort = run(archive, "first", archive.rois)
    ((name, _),) = cohort.sequences.items()
    out = sent(cohort, "cvat")
    edit(out, name, lambda root: root.remove(root.findall("track")[1]))
    correct(cohort.folder, out)
    (kept,) = Cohort.open(cohort.folder).boxes
    assert kept.box_xyxy == drawn[0]
    assert [row.reference_boxes for row in read_manifest(cohort.folder)] == [1]
    review = read_reviews(cohort.folder)[name]
    assert review.state.boxes == (kept,) and len(review.before.boxes) == 2
    assert (review.by, review.revision, review.accepted) == ("B", 1, False)
    assert run(archive, "first", archive.rois).boxes == (kept,)


def test_the_archive_is_not_needed(archive: Archive, tmp_path: Path) -> None:
    """Files of Pascal VOC that call the cines as the cohort does are read too."""
    write_cine(archive.src / "7.dcm", noise(5), patient="P")
    ingest(archive.src, out=tmp_path / "cohort", settings=IngestSettings(size=SIZE, processes=1))
    shutil.rmtree(archive.src)
    cohort = Cohort.open(tmp_path / "cohort")
    ((name, _),) = cohort.sequences.items()
    corners = "<xmin>4.5</xmin><ymin>5</ymin><xmax>20</xmax><ymax>18</ymax>"
    voc = (
        f"<annotation><filename>{name}_000002.png</filename>"
        f"<object><name>stenosis</name><bndbox>{corners}</bndbox></object></annotation>"
    )
    (tmp_path / "a.xml").write_text(voc)
    correct(cohort.folder, tmp_path / "a.xml")
    (found,) = Cohort.open(cohort.folder).boxes
    assert (found.frame_index, found.box_xyxy) == (2, (4.5, 5.0, 20.0, 18.0))


def test_what_is_corrected_elsewhere_is_to_be_looked_at_again(cohort: Cohort) -> None:
    lesion = next(b for b in cohort.boxes if b.source is BoxSource.REFERENCE)
    name = lesion.sequence_id
    corrections = Corrections(cohort.folder, reader=None, by="A")
    state = corrections.review(name).state
    corrections.decide(name, 0, accepted=True, state=state)
    with pytest.raises(ValueError, match="open in a review"):
        correct(cohort.folder, cohort.folder)
    corrections.close()
    out = sent(cohort, "cvat")
    edit(
        out,
        name,
        lambda root: moved(shape_at(root, lesion.instance_id, lesion.frame_index), ELSEWHERE),
    )
    correct(cohort.folder, out)
    review = read_reviews(cohort.folder)[name]
    assert (review.revision, review.by, review.accepted) == (2, "B", False)
    assert review.before.key_boxes == state.key_boxes
