"""Lesions through frames: made-up motion, and human boxes on real cines."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocess.cohort import Cohort, Verdict
from preprocess.importers.danilov import import_danilov
from preprocess.tracking.boxes import KeyBox, centre, clipped, overlap, recalled, spans
from preprocess.tracking.methods import TRACKERS
from preprocess.tracking.propagate import PropagateSettings

REAL_DATA = Path(
    os.environ.get("ANGIORAY_REAL_DATA", Path(__file__).parents[4] / "shared" / "data")
)
BOX = (60.0, 50.0, 90.0, 74.0)


def textured(length: int = 6, side: int = 160) -> np.ndarray:
    noise = np.random.default_rng(5).normal(0, 1, (side, side))
    frame = 120 + 120 * cv2.GaussianBlur(noise, (0, 0), 4)
    return np.stack([np.clip(frame, 0, 255).astype(np.uint8)] * length)


@pytest.mark.parametrize("method", TRACKERS)
def test_what_does_not_move_stays_where_it_was_drawn(method: str) -> None:
    box = (60.4, 50.0, 90.0, 74.7)
    found = TRACKERS[method](textured()).track([KeyBox(frame_index=2, box_xyxy=box)], range(6))
    assert [f.frame_index for f in found] == [0, 1, 3, 4, 5]
    for tracked in found:
        assert tracked.box_xyxy == pytest.approx(box, abs=1e-9 if method == "joint" else 1.01)
        assert tracked.confidence > 0.9


@pytest.mark.parametrize("method", TRACKERS)
def test_a_lesion_that_leaves_stays_inside_and_loses_confidence(method: str) -> None:
    frames = textured(8)
    for index in range(8):
        frames[index] = np.roll(frames[index], -14 * index, axis=1)
        frames[index, :, 160 - 14 * index :] = 120
    found = TRACKERS[method](frames).track([KeyBox(frame_index=0, box_xyxy=BOX)], range(8))
    assert all(0 <= f.box_xyxy[0] < f.box_xyxy[2] <= 160 for f in found)
    assert centre(found[1].box_xyxy)[0] == pytest.approx(75 - 28, abs=3)
    assert found[-1].confidence < 0.5 < found[0].confidence


def test_a_target_hidden_for_a_frame_is_found_again() -> None:
    frames = textured(9)
    for index in range(9):
        frames[index] = np.roll(frames[index], 5 * index, axis=0)
    frames[4] = np.random.default_rng(0).integers(0, 255, frames[4].shape)
    found = TRACKERS["joint"](frames).track([KeyBox(frame_index=0, box_xyxy=BOX)], range(9))
    by_frame = {f.frame_index: f for f in found}
    assert centre(by_frame[8].box_xyxy) == pytest.approx((75, 62 + 40), abs=1)
    assert by_frame[8].confidence > 0.8
    assert by_frame[4].confidence < 0.1


def test_a_box_over_most_of_the_frame_has_no_lead_over_another_place() -> None:
    key = KeyBox(frame_index=0, box_xyxy=(5.0, 5.0, 155.0, 155.0))
    for found in TRACKERS["joint"](textured(3)).track([key], range(3)):
        assert found.evidence[1] == 0
        assert found.confidence < PropagateSettings().good


def test_in_a_tiny_frame_the_lead_is_no_more_than_the_likeness() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (4, 16, 16)).astype(np.uint8)
    key = KeyBox(frame_index=0, box_xyxy=(5.0, 5.0, 11.0, 11.0))
    for found in TRACKERS["joint"](frames).track([key], range(4)):
        assert found.evidence[1] <= found.evidence[0] <= 1
        assert found.confidence < PropagateSettings().good


def test_between_two_key_boxes_the_path_comes_home_and_the_size_follows() -> None:
    frames = textured(9)
    wide = (55.0, 50.0, 95.0, 74.0)
    keys = [KeyBox(frame_index=0, box_xyxy=BOX), KeyBox(frame_index=8, box_xyxy=wide)]
    found = TRACKERS["joint"](frames).track(keys, range(9))
    assert [f.frame_index for f in found] == list(range(1, 8))
    widths = [f.box_xyxy[2] - f.box_xyxy[0] for f in found]
    assert widths == pytest.approx([30 + 10 * share / 8 for share in range(1, 8)])
    assert all(centre(f.box_xyxy) == pytest.approx((75, 62), abs=1) for f in found)


@pytest.mark.parametrize("method", TRACKERS)
def test_what_is_kept_and_how_many_threads_work_change_no_box(method: str) -> None:
    frames = textured(9)
    for index in range(9):
        frames[index] = np.roll(frames[index], 3 * index, axis=0)
    first, moved = (KeyBox(frame_index=4, box_xyxy=(60.0 + x, 50, 90.0 + x, 74)) for x in (0, 5))
    last = KeyBox(frame_index=7, box_xyxy=(58.5, 60, 88.5, 84))
    kept = TRACKERS[method](frames, threads=2)
    for keys, wanted in (
        ([first], range(9)),
        ([first, last], range(9)),
        ([moved, last], range(9)),
        ([moved, last], range(2, 6)),
        ([first], range(9)),
    ):
        assert kept.track(keys, wanted) == TRACKERS[method](frames).track(keys, wanted)


@pytest.mark.parametrize("method", TRACKERS)
def test_a_changed_key_box_leaves_the_spans_beyond_its_neighbours_as_they_were(
    method: str,
) -> None:
    tracker = TRACKERS[method](textured(9))
    keys = [KeyBox(frame_index=index, box_xyxy=BOX) for index in (2, 5, 7)]
    before = {id(box) for box in tracker.track(keys, range(9))}
    keys[2] = KeyBox(frame_index=7, box_xyxy=(62.0, 50.0, 92.0, 74.0))
    after = tracker.track(keys, range(9))
    assert [box.frame_index for box in after if id(box) in before] == [0, 1, 3, 4]


def test_of_many_answers_the_oldest_are_forgotten() -> None:
    asked: list[str] = []

    def find(word: str) -> str:
        asked.append(word)
        return word.upper()

    memory: dict[str, str] = {}
    assert [recalled(memory, word, find, 2) for word in "abacab"] == list("ABACAB")
    assert asked == ["a", "b", "c", "b"]
    assert len(memory) == 2


def test_spans_lie_between_key_boxes() -> None:
    keys = [KeyBox(frame_index=i, box_xyxy=BOX) for i in (4, 5, 9)]
    found = spans(keys, range(2, 12))
    assert [span.frames for span in found] == [range(2, 4), range(6, 9), range(10, 12)]
    assert [(s.before, s.after) for s in found] == [
        (None, keys[0]),
        (keys[1], keys[2]),
        (keys[2], None),
    ]
    # A key box outside the wanted frames: the way there belongs to the span.
    assert [span.frames for span in spans(keys[:1], range(6, 8))] == [range(5, 8)]
    assert [span.frames for span in spans(keys[2:], range(6, 8))] == [range(6, 9)]


def test_boxes_are_clipped_at_the_frame() -> None:
    frames = np.zeros((1, 50, 40), np.uint8)
    assert clipped((-5, 10, 5, 20), frames) == (0, 10, 5, 20)
    assert clipped((39.5, 10, 60, 20), frames) is None
    assert clipped((10.3, 10, 10.3 + (1 - 1e-9), 20), frames) is not None
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)


@pytest.mark.slow
@pytest.mark.skipif(
    not (REAL_DATA / "danilov").is_dir(),
    reason="the real data are not on this machine (set ANGIORAY_REAL_DATA to their folder)",
)
def test_real_cines_are_followed_from_their_middle_frame(tmp_path: Path) -> None:
    source = tmp_path / "danilov"
    with tarfile.open(REAL_DATA / "danilov/sequences_8_patients.tar") as tar:
        tar.extractall(source, filter="data")
    shutil.copy(REAL_DATA / "danilov/labels_8_patients.csv", source)
    import_danilov(source, tmp_path / "cohort")
    cohort = Cohort.open(tmp_path / "cohort")
    cv2.setNumThreads(1)
    judge = PropagateSettings()
    ious, flagged = [], []
    for name, sequence in cohort.sequences.items():
        middle = sequence.length // 2
        human = [
            [b.box_xyxy for b in cohort.boxes_by_frame[name, t]] for t in range(sequence.length)
        ]
        key = KeyBox(frame_index=middle, box_xyxy=human[middle][0])
        for found in TRACKERS["joint"](cohort.cine_8bit(name)).track([key], range(sequence.length)):
            ious.append(max(overlap(found.box_xyxy, box) for box in human[found.frame_index]))
            flagged.append(judge.verdict(found.confidence) is not Verdict.GOOD)
    iou, flag = np.asarray(ious), np.asarray(flagged)
    assert len(iou) == 554
    assert iou.mean() >= 0.60
    assert (iou >= 0.2).mean() >= 0.88
    assert flag[iou < 0.2].mean() >= 0.80
    assert flag[iou >= 0.5].mean() <= 0.15


def test_the_edge_of_the_shutter_does_not_hold_a_lesion_back() -> None:
    texture = textured(1, 240)[0].astype(float)
    rows, columns = np.mgrid[:160, :160]
    open_beam = np.hypot(rows - 80, columns - 80) < 72
    frames = np.stack(
        [np.where(open_beam, texture[40:200, 40 - 6 * i : 200 - 6 * i], 5) for i in range(6)]
    ).astype(np.uint8)
    box = (12.0, 70.0, 42.0, 94.0)
    found = TRACKERS["joint"](frames).track([KeyBox(frame_index=0, box_xyxy=box)], range(6))
    for tracked in found:
        moved = 27 + 6 * tracked.frame_index, 82
        assert centre(tracked.box_xyxy) == pytest.approx(moved, abs=2)
        assert tracked.confidence > 0.5
