"""Which frames a run sees, counted by hand on the toy cohort (ten lesion patients, two healthy)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from angioray.study.frame_index import FrameIndex
from angioray.study.selection import CohortIndex
from preprocess.cohort import NO_LESION, BoxSource, Cohort, Verdict
from tests.toy_cohort import write_toy_cohort

CLASSES = {"RCA": "RCA", "LCA": "LCA"}


def test_variants_add_what_their_letters_say(toy_cohort: Cohort) -> None:
    index = CohortIndex.of(toy_cohort, CLASSES)
    ids = [member.sequence_id for member in index.detector_members("RCA")]
    assert len(ids) == 12
    counts = {v: len(index.detector_frames(ids, v)) for v in ("B", "BG", "NL", "BGNL")}
    # 10 sequences x 5 optimal frames; 1 frame without contrast each; 2 healthy x 5 frames.
    assert counts == {"B": 50, "BG": 60, "NL": 60, "BGNL": 70}


def test_a_detector_is_judged_on_reference_frames_of_diseased_sequences(
    toy_cohort: Cohort,
) -> None:
    index = CohortIndex.of(toy_cohort, CLASSES)
    ids = [member.sequence_id for member in index.detector_members("LCA")]
    reference = index.judged_frames(ids, "reference")
    assert len(reference) == 10 and {t for _, t in reference} == {4}
    assert len(index.judged_frames(ids, "optimal")) == 50


def test_a_healthy_sequence_is_judged_on_one_frame_or_on_all_with_contrast(
    toy_cohort: Cohort,
) -> None:
    index = CohortIndex.of(toy_cohort, CLASSES)
    ids = [member.sequence_id for member in index.detector_members("RCA")]
    assert index.healthy_frames(ids, "reference") == [("S10RCA", 4), ("S11RCA", 4)]
    assert index.healthy_frames(ids, "optimal") == [
        (name, t) for name in ("S10RCA", "S11RCA") for t in (2, 3, 4, 5, 6)
    ]
    # A label and a box may contradict each other: a box then counts.
    sequence = replace(toy_cohort.sequences["S00RCA"], no_lesion=True)
    sequences = {**toy_cohort.sequences, "S00RCA": sequence}
    changed = Cohort(toy_cohort.folder, sequences, toy_cohort.boxes)
    assert ("S00RCA", 4) not in CohortIndex.of(changed, CLASSES).healthy_frames(ids, "reference")


def test_a_box_of_whose_place_tracking_is_not_sure_is_an_area_to_ignore(toy_cohort: Cohort) -> None:
    tracked, *others = (box for box in toy_cohort.boxes if box.source is BoxSource.TRACKED)
    readers = next(box for box in toy_cohort.boxes if box.source is BoxSource.REFERENCE)
    doubted = [
        replace(tracked, verdict=Verdict.CHECK, confidence=0.3),
        replace(readers, verdict=Verdict.CHECK, confidence=0.0),  # a reader's box never is
    ]
    changed = Cohort(toy_cohort.folder, toy_cohort.sequences, (*doubted, *others))
    ids = [changed.image_id(box.sequence_id, box.frame_index) for box in doubted]
    judged = FrameIndex(cohort=changed).judged(ids)
    assert {i: boxes.tolist() for i, boxes in judged.ignored.items()} == {
        ids[0]: [list(tracked.box_xyxy)]
    }
    assert list(judged.truth) == [ids[1]]
    # It is judged and trained on as before.
    key = (tracked.sequence_id, tracked.frame_index)
    index = CohortIndex.of(changed, CLASSES)
    assert key in index.judged_frames([key[0]], "optimal")
    assert key in index.detector_frames([key[0]], "B")


def test_a_frame_with_a_lost_box_is_not_trained_on(toy_cohort: Cohort) -> None:
    lost = toy_cohort.boxes[0]
    boxes = (replace(lost, verdict=Verdict.LOST), *toy_cohort.boxes[1:])
    changed = Cohort(toy_cohort.folder, toy_cohort.sequences, boxes)
    index = CohortIndex.of(changed, CLASSES)
    frames = index.detector_frames([lost.sequence_id], "B")
    assert (lost.sequence_id, lost.frame_index) not in frames and len(frames) == 4


def test_a_frame_with_an_area_to_ignore_is_judged_and_not_trained_on(toy_cohort: Cohort) -> None:
    """Of a cine with lesions the reference frame, of a healthy one an optimal frame."""
    reference = next(box for box in toy_cohort.boxes if box.sequence_id == "S00LCA")
    areas = [
        replace(reference, sequence_id=name, frame_index=4, instance_id=NO_LESION, ignored=True)
        for name in ("S00LCA", "S11LCA")
    ]
    changed = Cohort(toy_cohort.folder, toy_cohort.sequences, (*toy_cohort.boxes, *areas))
    before, index = CohortIndex.of(toy_cohort, CLASSES), CohortIndex.of(changed, CLASSES)
    ids = ["S00LCA", "S11LCA"]
    trained = set(before.detector_frames(ids, "BGNL"))
    assert set(index.detector_frames(ids, "BGNL")) == trained - {(name, 4) for name in ids}
    assert index.judged_frames(ids, "optimal") == before.judged_frames(ids, "optimal")
    # What is true of the judged frame has both, apart.
    image_id = changed.image_id("S00LCA", 4)
    judged = FrameIndex(cohort=changed).judged([image_id])
    lesions = [box.box_xyxy for box in toy_cohort.boxes_by_frame["S00LCA", 4]]
    np.testing.assert_array_equal(judged.truth[image_id], lesions)
    assert judged.ignored[image_id].tolist() == [list(reference.box_xyxy)]


def test_views_are_learned_from_evenly_spaced_optimal_frames(toy_cohort: Cohort) -> None:
    index = CohortIndex.of(toy_cohort, CLASSES)
    assert [t for (_, t), _ in index.view_frames(["S00RCA"], None)] == [2, 3, 4, 5, 6]
    assert [t for (_, t), _ in index.view_frames(["S00RCA"], 2)] == [3, 5]
    assert index.view_frame("S00RCA") == ("S00RCA", 4)
    assert index.view_frame("S11LCA") == ("S11LCA", 4)  # healthy: the middle optimal frame


def test_an_unknown_view_is_a_sentence(toy_cohort: Cohort) -> None:
    with pytest.raises(ValueError, match=r"views without a class: LCA.*view_classes"):
        CohortIndex.of(toy_cohort, {"RCA": "RCA"})


def test_without_views_one_detector_sees_everything(tmp_path: Path) -> None:
    cohort = write_toy_cohort(tmp_path, patients=3, views=(None,))
    index = CohortIndex.of(cohort, CLASSES)
    assert index.detector_views == ["all"] and index.classes == []
    assert len(index.detector_members("all")) == 5
