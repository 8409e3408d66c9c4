"""Boxes that follow what they were drawn on, and say when they lost it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from preprocess.cohort import (
    NO_LESION,
    Box,
    BoxSource,
    Cohort,
    Phase,
    Sequence,
    Verdict,
    frames_digest,
    store_cine,
    update_attributes,
    write_annotations,
)
from preprocess.cohort.display import Display
from preprocess.tracking.propagate import LiveTracking, PropagateSettings, propagate

LENGTH, SIZE, REFERENCE = 16, 160, 8
HERE = PropagateSettings(processes=1)


def truth(index: int) -> tuple[float, float, float, float]:
    """Where the blob is: 3 pixels to the right and 1.5 down each frame."""
    x, y = 40 + 3.0 * (index - REFERENCE), 60 + 1.5 * (index - REFERENCE)
    return x, y, x + 30, y + 24


def blob_cine(*, vanishes_from: int = LENGTH, seed: int = 0) -> np.ndarray:
    """A dark textured blob that moves over a grey, noisy ground (uint8[T, H, W])."""
    generator = np.random.default_rng(seed)
    ground = 160 + 10 * np.sin(np.arange(SIZE) / 9)[None, :] + np.zeros((SIZE, 1))
    texture = generator.integers(0, 90, (6, 5)).repeat(5, 0).repeat(5, 1)[:24, :25]
    texture = np.pad(texture, ((0, 0), (0, 5)), mode="edge")
    frames = np.empty((LENGTH, SIZE, SIZE), np.uint8)
    for index in range(LENGTH):
        frame = ground + generator.normal(0, 3, (SIZE, SIZE))
        if index < vanishes_from:
            x1, y1, x2, y2 = (round(v) for v in truth(index))
            frame[y1:y2, x1:x2] = texture[: y2 - y1, : x2 - x1]
        frames[index] = np.clip(frame, 0, 255)
    return frames


def shifted(box: tuple[float, float, float, float], by: float) -> tuple[float, float, float, float]:
    """The box moved to the right."""
    return box[0] + by, box[1], box[2] + by, box[3]


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (area - width * height)


def blob_cohort(folder: Path, cines: dict[str, np.ndarray]) -> Cohort:
    sequences, boxes = [], []
    for number, (name, frames) in enumerate(cines.items(), start=1):
        sequences.append(
            Sequence(
                sequence_id=name,
                patient_id="P1",
                view="RCA",
                length=LENGTH,
                height=SIZE,
                width=SIZE,
                bits_stored=8,
                display=Display(lower=0, upper=255),
                frames_digest=frames_digest(frames),
                introducing_start=1,
                optimal_start=3,
                vanishing_start=15,
                reference_frame=REFERENCE,
            )
        )
        store_cine(folder, sequences[-1], frames)
        boxes.append(
            Box(
                sequence_id=name,
                frame_index=REFERENCE,
                box_xyxy=truth(REFERENCE),
                instance_id=number,
            )
        )
    write_annotations(folder, sequences, boxes)
    return Cohort.open(folder)


def test_boxes_follow_a_known_motion(tmp_path: Path) -> None:
    blob_cohort(tmp_path, {"S1": blob_cine()})
    propagate(tmp_path, HERE)
    boxes = Cohort.open(tmp_path).boxes
    assert [box.frame_index for box in boxes] == list(range(3, 15))
    tracked = [box for box in boxes if box.source is BoxSource.TRACKED]
    assert len(tracked) == 11
    assert np.mean([iou(box.box_xyxy, truth(box.frame_index)) for box in tracked]) > 0.8
    assert {box.verdict for box in tracked} == {Verdict.GOOD}
    assert {box.instance_id for box in boxes} == {1}


def test_areas_to_ignore_stay_and_are_not_tracked(tmp_path: Path) -> None:
    cohort = blob_cohort(tmp_path, {"S1": blob_cine()})
    (reference,) = cohort.boxes
    area = replace(reference, box_xyxy=(1, 1, 20, 20), instance_id=NO_LESION, ignored=True)
    write_annotations(tmp_path, cohort.sequences.values(), [reference, area])
    propagate(tmp_path, HERE)
    found = Cohort.open(tmp_path)
    assert found.ignored == (area,)
    assert len(found.boxes) == 12 and {box.instance_id for box in found.boxes} == {1}


@pytest.mark.parametrize("method", ["joint", "csrt"])
def test_a_target_that_disappears_is_lost_and_not_trained_on(
    tmp_path: Path, method: Literal["joint", "csrt"]
) -> None:
    frames = blob_cine()
    noise = np.random.default_rng(1).normal(160, 3, frames[11:].shape)
    frames[11:] = np.clip(noise, 0, 255)
    blob_cohort(tmp_path, {"S1": frames})
    propagate(tmp_path, PropagateSettings(processes=1, method=method))
    cohort = Cohort.open(tmp_path)
    late = [box for box in cohort.boxes if box.frame_index >= 11]
    assert len(late) == 4
    assert {box.verdict for box in late} == {Verdict.LOST}
    assert ("S1", 12) not in cohort.boxes_by_frame
    assert ("S1", 10) in cohort.boxes_by_frame


def test_a_target_that_leaves_a_structured_ground_behind_is_not_called_good(
    tmp_path: Path,
) -> None:
    blob_cohort(tmp_path, {"S1": blob_cine(vanishes_from=11)})
    propagate(tmp_path, HERE)
    verdicts = {box.frame_index: box.verdict for box in Cohort.open(tmp_path).boxes}
    assert Verdict.GOOD not in [verdicts[index] for index in range(11, 15)]
    assert {verdicts[index] for index in range(3, 11)} == {Verdict.GOOD}


def test_again_and_in_parallel_it_writes_the_same_bytes(tmp_path: Path) -> None:
    blob_cohort(tmp_path, {f"S{n}": blob_cine(seed=n) for n in range(2)})
    propagate(tmp_path, HERE)
    first = (tmp_path / "annotations.json").read_bytes()
    propagate(tmp_path, PropagateSettings(processes=2))
    assert (tmp_path / "annotations.json").read_bytes() == first


def test_what_a_reader_graded_keeps_its_grade(tmp_path: Path) -> None:
    cohort = blob_cohort(tmp_path, {"S1": blob_cine()})
    graded = [replace(box, grade="p50_70") for box in cohort.boxes]
    write_annotations(tmp_path, cohort.sequences.values(), graded)
    propagate(tmp_path, HERE)
    found = Cohort.open(tmp_path).boxes
    expected = {BoxSource.REFERENCE: "p50_70", BoxSource.TRACKED: None}
    assert len(found) == 12 and all(box.grade == expected[box.source] for box in found)


def test_a_correction_changes_nothing_beyond_the_next_key_frame(tmp_path: Path) -> None:
    cohort = blob_cohort(tmp_path, {"S1": blob_cine()})
    propagate(tmp_path, HERE)
    before = {box.frame_index: box for box in Cohort.open(tmp_path).boxes}
    corrected = Box(
        sequence_id="S1",
        frame_index=12,
        box_xyxy=shifted(truth(12), 6),
        instance_id=1,
        source=BoxSource.CORRECTED,
    )
    write_annotations(tmp_path, cohort.sequences.values(), [*cohort.boxes, corrected])
    propagate(tmp_path, HERE)
    after = {box.frame_index: box for box in Cohort.open(tmp_path).boxes}
    assert all(after[index] == before[index] for index in range(3, 9))
    assert after[13] != before[13]


def test_two_lesions_of_a_sequence_are_followed_each(tmp_path: Path) -> None:
    frames = blob_cine()
    frames = np.where(np.arange(SIZE)[None, :, None] < 100, frames, np.roll(frames, 66, axis=1))
    cohort = blob_cohort(tmp_path, {"S1": frames})

    def below(index: int) -> tuple[float, float, float, float]:
        x1, y1, x2, y2 = truth(index)
        return x1, y1 + 66, x2, y2 + 66

    other = Box(sequence_id="S1", frame_index=REFERENCE, box_xyxy=below(REFERENCE), instance_id=2)
    write_annotations(tmp_path, cohort.sequences.values(), [*cohort.boxes, other])
    propagate(tmp_path, HERE)
    found = Cohort.open(tmp_path).boxes
    assert len(found) == 24
    for box in found:
        expected = truth(box.frame_index) if box.instance_id == 1 else below(box.frame_index)
        assert iou(box.box_xyxy, expected) > 0.7


def test_corrected_boxes_stay_and_tracking_follows_them(tmp_path: Path) -> None:
    cohort = blob_cohort(tmp_path, {"S1": blob_cine()})
    moved = shifted(truth(12), 6)
    corrected = Box(
        sequence_id="S1",
        frame_index=12,
        box_xyxy=moved,
        instance_id=1,
        source=BoxSource.CORRECTED,
    )
    write_annotations(tmp_path, cohort.sequences.values(), [*cohort.boxes, corrected])
    propagate(tmp_path, HERE)
    by_frame = {box.frame_index: box for box in Cohort.open(tmp_path).boxes}
    assert sorted(by_frame) == list(range(3, 15))
    assert by_frame[12].box_xyxy == pytest.approx(moved)
    assert by_frame[12].source is BoxSource.CORRECTED
    assert iou(by_frame[13].box_xyxy, shifted(truth(13), 6)) > 0.8
    assert iou(by_frame[9].box_xyxy, truth(9)) > 0.8


def test_corrections_tracked_at_once_are_what_propagate_would_write(tmp_path: Path) -> None:
    cohort = blob_cohort(tmp_path, {"S1": blob_cine()})
    tracking = LiveTracking(cohort.cine_8bit("S1"), HERE, threads=2)
    (reference,), (sequence,) = cohort.boxes, cohort.sequences.values()
    corrected = replace(
        reference,
        frame_index=12,
        box_xyxy=shifted(truth(12), 6),
        source=BoxSource.CORRECTED,
    )
    other = replace(reference, box_xyxy=shifted(truth(REFERENCE), 9), instance_id=2)
    alone = replace(sequence, optimal_start=6, vanishing_start=7)
    for now, placed in (
        (sequence, [reference]),
        (sequence, [reference, other, corrected]),
        (alone, [reference, corrected]),
        (sequence, [reference]),
    ):
        update_attributes(tmp_path, now)
        write_annotations(tmp_path, [now], placed)
        propagate(tmp_path, HERE)
        written = (tmp_path / "annotations.json").read_bytes()
        boxes = tracking.boxes(now, placed)
        write_annotations(tmp_path, [now], boxes)
        assert (tmp_path / "annotations.json").read_bytes() == written
        of_first = {box.frame_index for box in boxes if box.instance_id == 1}
        assert of_first == {*now.frames_in(Phase.OPTIMAL), *(b.frame_index for b in placed)}


def test_tracked_boxes_stay_between_key_boxes_that_stayed(tmp_path: Path) -> None:
    cohort = blob_cohort(tmp_path, {"S1": blob_cine()})
    (reference,), (sequence,) = cohort.boxes, cohort.sequences.values()
    tracking = LiveTracking(cohort.cine_8bit("S1"))
    # As another tracker or a look at them left these boxes.
    known = [
        replace(box, confidence=0.1234) if box.source is BoxSource.TRACKED else box
        for box in tracking.boxes(sequence, [reference])
    ]
    corrected = replace(reference, frame_index=12, source=BoxSource.CORRECTED)
    found = {b.frame_index: b for b in tracking.boxes(sequence, [corrected, reference], known)}
    before = [box for box in known if box.frame_index < REFERENCE]
    assert [found[index] for index in range(3, REFERENCE)] == before
    anew = tracking.boxes(sequence, [corrected, reference])
    assert [found[b.frame_index] for b in anew if b.frame_index >= REFERENCE] == [
        box for box in anew if box.frame_index >= REFERENCE
    ]
    # Where some are missing, all are tracked.
    fewer = [box for box in known if box.frame_index != 4]
    assert tracking.boxes(sequence, [corrected, reference], fewer) == anew


def test_verdicts() -> None:
    judge = PropagateSettings(good=0.6, lost=0.3)
    assert [judge.verdict(c) for c in (0.6, 0.59, 0.3, 0.29)] == [
        Verdict.GOOD,
        Verdict.CHECK,
        Verdict.CHECK,
        Verdict.LOST,
    ]
    with pytest.raises(ValueError, match=r"lost is .*; it must be at most good"):
        PropagateSettings(good=0.2, lost=0.3)


def test_a_cohort_without_boxes_says_what_is_missing(tmp_path: Path) -> None:
    cohort = blob_cohort(tmp_path, {"S1": blob_cine()})
    write_annotations(tmp_path, cohort.sequences.values(), [])
    with pytest.raises(ValueError, match="has both boxes and an optimal interval"):
        propagate(tmp_path, HERE)


@pytest.mark.parametrize("method", ["joint", "csrt"])
def test_a_box_thinner_than_a_pixel_is_refused_by_name(
    tmp_path: Path, method: Literal["joint", "csrt"]
) -> None:
    cohort = blob_cohort(tmp_path, {"S1": blob_cine()})
    thin = replace(cohort.boxes[0], box_xyxy=(40.0, 60.0, 40.5, 84.0))
    write_annotations(tmp_path, cohort.sequences.values(), [thin])
    with pytest.raises(ValueError, match=r"frame 8 of sequence S1 is 0\.5 x 24 pixels"):
        propagate(tmp_path, replace(HERE, method=method))
