"""Lesions outlined by a network: its squares of frames, what it learns, and what a run writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from angioray.models.unet import UNet
from angioray.study.run_folder import Judgement
from angioray.study.segmentation import SIZE, crop, drawn, outlines, segment_lesions, window
from angioray.study.selection import CohortIndex
from angioray.study.splits import Fold
from preprocess.cohort import (
    Box,
    Cohort,
    Sequence,
    frames_digest,
    store_cine,
    write_annotations,
    write_manifest,
)
from preprocess.cohort.display import Display

VIEWS = {"RCA": ("RCA",)}


def test_a_unet_gives_a_logit_for_each_pixel() -> None:
    network = UNet()
    assert network(torch.zeros(2, 1, 48, 48)).shape == (2, 1, 48, 48)
    below = network.down[-1][0]
    assert isinstance(below, torch.nn.Conv2d) and below.in_channels == 32


def test_squares_hold_the_same_place_of_frame_and_outline() -> None:
    """Where a lumen is bright in the frame, it is inside in the mask, however it is turned."""
    frame = np.zeros((200, 300), np.uint8)
    polygon = (120.0, 80.0, 160.0, 90.0, 150.0, 105.0, 118.0, 95.0)
    corners = np.reshape(polygon, (-1, 2)) - 0.5
    cv2.fillPoly(frame, [np.round(corners * 16).astype(np.int32)], 255, shift=4)
    rng = np.random.default_rng(1)
    for at in (window((118, 80, 160, 105)), *(window((118, 80, 160, 105), rng) for _ in range(5))):
        seen, mask = crop(frame, at), drawn((polygon,), at)
        assert ((seen > seen.mean()) == (mask > 0.5)).mean() > 0.97
        (back,) = outlines(mask, at)
        assert drawn((back,), at) == pytest.approx(mask, abs=0.6)
        assert np.abs(drawn((back,), at) - mask).mean() < 0.01


@pytest.fixture
def index(tmp_path: Path) -> CohortIndex:
    """Twenty stills of dark vessels, each with an outlined lesion; the last one has no outline."""
    sequences, boxes = [], []
    rng = np.random.default_rng(0)
    for number in range(20):
        frame = np.full((1, 96, 96), 180, np.uint8)
        x, half = int(rng.integers(30, 60)), 4 + int(rng.integers(0, 3))
        frame[0, 10:86, x - half : x + half] = 60
        frame += rng.integers(0, 9, frame.shape, np.uint8)
        name = f"S{number:02d}"
        sequence = Sequence(
            sequence_id=name,
            patient_id=name,
            view="RCA",
            length=1,
            height=96,
            width=96,
            bits_stored=8,
            display=Display(lower=0, upper=255),
            frames_digest=frames_digest(frame),
            reference_frame=0,
        )
        store_cine(tmp_path, sequence, frame)
        left, right = float(x - half), float(x + half)
        lumen = (left, 30.0, right, 30.0, right, 66.0, left + 0.5, 66.0, left, 60.0)
        box = Box(
            sequence_id=name,
            frame_index=0,
            box_xyxy=(x - 20, 28, x + 20, 68),
            instance_id=number + 1,
        )
        boxes.append(replace(box, segmentation=(lumen,)) if number < 19 else box)
        sequences.append(sequence)
    write_annotations(tmp_path, sequences, boxes)
    write_manifest(tmp_path, [])
    return CohortIndex.of(Cohort.open(tmp_path), VIEWS)


def judgement(index: CohortIndex, *predictions: tuple[int, tuple[float, ...], float]) -> Judgement:
    rows = [
        {"image_id": image_id, "category_id": 1, "bbox": [*box], "score": score}
        for image_id, box, score in predictions
    ]
    ids = [index.cohort.image_id(s, 0) for s in index.cohort.sequences]
    return Judgement(rows, ids, {}, {})


def segment(index: CohortIndex, train: range, held_out: range, found: Judgement) -> Any:
    names = [*index.cohort.sequences]
    fold = Fold(tuple(names[i] for i in train), tuple(names[i] for i in held_out))
    return segment_lesions(index, fold, found, 25, 0, torch.device("cpu"))


def test_a_network_learns_outlines_and_looks_into_both_kinds_of_boxes(index: CohortIndex) -> None:
    box = index.cohort.boxes[16].box_xyxy
    shifted = (box[0] + 2, box[1], box[2] - box[0], box[3] - box[1])
    found = judgement(index, (17, (0, 0, 9, 9), 0.9), (17, shifted, 0.6), (18, (0, 0, 9, 9), 0.9))
    document = segment(index, range(16), range(16, 20), found)
    lesions = document["lesions"]
    assert [lesion["sequence_id"] for lesion in lesions] == ["S16", "S17", "S18"]
    assert [lesion["found"] is not None for lesion in lesions] == [True, False, False]
    assert lesions[0]["found"]["score"] == 0.6
    assert np.mean([lesion["reader"]["dice"] for lesion in lesions]) > 0.6
    assert document == segment(index, range(16), range(16, 20), found)


def test_too_few_outlines_are_said_and_none_say_nothing(index: CohortIndex) -> None:
    document = segment(index, range(3), range(16, 20), judgement(index))
    assert document["reason"] == "3 outlined training lesions: 10 are needed."
    assert document["lesions"] == []
    assert segment(index, range(16), range(19, 20), judgement(index)) is None
    assert SIZE % 8 == 0
