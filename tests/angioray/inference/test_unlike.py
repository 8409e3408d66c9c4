"""A cine that is unlike all training cines is named, with the fact; a like one never is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from angioray.inference.unlike import unlike
from angioray.study.acquisitions import RECORDED, Acquisitions
from angioray.training.frame_placement import Share
from angioray.training.frames import StreamedFrames, load_frames
from preprocess.cohort import (
    Cohort,
    Sequence,
    frames_digest,
    store_cine,
    write_annotations,
    write_manifest,
)
from preprocess.cohort.display import Display

KNOWN = Acquisitions(
    sides=((512, 512), (960, 720)),
    frame_time_ms=(33.3, 66.7),
    mean_grey=(80.0, 140.0),
    angles_deg=((-30, -20), (30, 0)),
)
LIKE = Sequence(
    sequence_id="s0",
    patient_id="p0",
    view=None,
    length=3,
    height=512,
    width=512,
    bits_stored=8,
    display=Display(lower=0, upper=255),
    frames_digest="",
    primary_angle_deg=-25.0,
    secondary_angle_deg=-20.0,
    frame_time_ms=40.0,
)


@pytest.mark.parametrize(
    ("change", "grey"),
    [
        ({}, 100.0),
        ({"height": 540, "width": 530}, 71.0),
        ({"frame_time_ms": 30.5, "primary_angle_deg": 30.0, "secondary_angle_deg": 19.0}, 149.0),
        ({"frame_time_ms": None, "primary_angle_deg": None, "secondary_angle_deg": 80.0}, None),
    ],
)
def test_a_like_cine_and_missing_facts_give_no_sentence(
    change: dict[str, Any], grey: float | None
) -> None:
    assert unlike(KNOWN, replace(LIKE, **change), grey) == ()


@pytest.mark.parametrize(
    ("change", "grey", "said"),
    [
        (
            {"height": 1024, "width": 1024},
            100.0,
            "It has 1024 x 1024 pixels; the models were trained on 512 x 512, 960 x 720.",
        ),
        (
            {"height": 512, "width": 960},  # both sides are known, but of two cines
            100.0,
            "It has 960 x 512 pixels; the models were trained on 512 x 512, 960 x 720.",
        ),
        (
            {"frame_time_ms": 1000 / 7.5},
            100.0,
            "It has 7.5 frames/s; the models were trained on 15 to 30.",
        ),
        (
            # 3-4-5: 30 and 40 degrees from (30, 0); 110 from the other
            {"primary_angle_deg": 60.0, "secondary_angle_deg": 40.0},
            100.0,
            "Its C-arm angles (LAO 60 CRA 40) are 50 degrees from those of the nearest training "
            "cine.",
        ),
        (
            {},
            69.0,
            "It is darker than 99 % of the training cines: the mean grey level of a frame with "
            "contrast is 69 of 255, theirs 80 to 140.",
        ),
        (
            {},
            151.0,
            "It is brighter than 99 % of the training cines: the mean grey level of a frame with "
            "contrast is 151 of 255, theirs 80 to 140.",
        ),
    ],
)
def test_each_way_of_being_unlike_has_its_sentence(
    change: dict[str, Any], grey: float, said: str
) -> None:
    assert unlike(KNOWN, replace(LIKE, **change), grey) == (said,)
    assert unlike(Acquisitions(), replace(LIKE, **change), grey) == ()


def test_a_cine_in_which_no_artery_fills_is_told() -> None:
    assert unlike(KNOWN, replace(LIKE, phases_proposed=True), 100.0) == (
        "No filling of its arteries was found: perhaps contrast never came. The models were "
        "trained on filled arteries.",
    )


def test_models_judge_together_what_any_of_them_was_trained_on() -> None:
    other = Acquisitions(sides=((512, 512),), frame_time_ms=(40, 133.3), angles_deg=((90, 0),))
    read = [json.loads(json.dumps({RECORDED: each.as_json()})) for each in (KNOWN, other)]
    assert Acquisitions.together(read[:1]) == KNOWN
    assert Acquisitions.together(read) == Acquisitions(
        sides=((512, 512), (960, 720)),
        frame_time_ms=(33.3, 133.3),
        mean_grey=(80.0, 140.0),
        angles_deg=((-30, -20), (30, 0), (90, 0)),
    )
    assert Acquisitions.together([*read, {}]) == Acquisitions()  # one is of an earlier version
    assert Acquisitions.together([]) == Acquisitions()


@pytest.mark.parametrize("share", [None, Share(host=1e-8)])
def test_a_run_records_its_cines_wherever_their_frames_lie(
    tmp_path: Path, share: Share | None
) -> None:
    facts: list[dict[str, Any]] = [
        {"frame_time_ms": 66.7, "primary_angle_deg": 29.6, "secondary_angle_deg": -0.4},
        {"frame_time_ms": 33.3, "primary_angle_deg": 30.4, "secondary_angle_deg": 0.4},
        {"primary_angle_deg": 10.0},
    ]
    sequences = []
    for number, fact in enumerate(facts):
        # The middle frame of the three has the grey level 50, 60 or 70.
        frames = np.empty((3, 8 + 8 * number, 16), np.uint8)
        frames[:] = np.array([0, 50 + 10 * number, 255])[:, None, None]
        sequence = replace(
            LIKE,
            **{"primary_angle_deg": None, "secondary_angle_deg": None, "frame_time_ms": None},
            **{"sequence_id": f"s{number}", "height": frames.shape[1], "width": 16},
            frames_digest=frames_digest(frames),
        )
        sequences.append(replace(sequence, **fact))
        store_cine(tmp_path, sequences[-1], frames)
    write_annotations(tmp_path, sequences, [])
    write_manifest(tmp_path, [])
    cohort = Cohort.open(tmp_path)
    keys = [(s.sequence_id, t) for s in sequences for t in range(3)]
    store = load_frames(cohort, keys, size=8, device=torch.device("cpu"), share=share)
    assert isinstance(store, StreamedFrames) is (share is not None)
    assert Acquisitions.of(cohort, store, keys) == Acquisitions(
        sides=((16, 8), (16, 16), (16, 24)),
        frame_time_ms=(33.3, 66.7),
        mean_grey=(50.2, 69.8),  # 1 and 99 % of the way from 50 by 60 to 70
        angles_deg=((30, 0),),
    )
    of_one = Acquisitions.of(cohort, store, keys[6:])
    assert of_one == Acquisitions(sides=((16, 24),), mean_grey=(70.0, 70.0))
