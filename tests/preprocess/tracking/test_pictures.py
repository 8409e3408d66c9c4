"""Frames as a tracker compares them."""

from __future__ import annotations

import numpy as np
import pytest

from preprocess.tracking.pictures import Pictures


def test_light_and_contrast_of_the_whole_frame_do_not_matter() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (128, 128))
    dim = np.clip(100 + 20 * noise, 0, 255).astype(np.uint8)
    bright = np.clip(120 + 30 * noise, 0, 255).astype(np.uint8)
    pictures = Pictures(np.stack([dim, bright]))
    a, b = (pictures.local_contrast(index, 128) for index in (0, 1))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99
    assert a.std() == pytest.approx(b.std(), rel=0.1)


def test_the_longer_side_is_what_was_asked_for() -> None:
    pictures = Pictures(np.full((1, 60, 120), 90, np.uint8))
    assert pictures.local_contrast(0, 64).shape == (32, 64)
    assert pictures.local_contrast(0, 240).shape == (120, 240)


def test_nothing_is_seen_behind_the_shutter_nor_at_its_edge() -> None:
    frames = np.full((2, 128, 128), 150, np.uint8)
    frames[:, :, :20] = 4
    frames[:, 60:70, 60:70] = 10  # dark, but not at the edge: no shutter
    contrast = Pictures(frames).local_contrast(0, 128)
    assert np.abs(contrast[:, :30]).max() < 1e-3
    assert contrast[65, 65] < -0.5


def test_what_was_dark_in_some_frames_only_is_no_shutter() -> None:
    frames = np.full((2, 128, 128), 150, np.uint8)
    frames[0, :, :20] = 4
    assert Pictures(frames).local_contrast(0, 128)[64, 15] < -0.3


def test_frames_too_narrow_for_optical_flow_do_not_move() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 600, 8)).astype(np.uint8)
    flow = Pictures(frames).flow(0, 1, 256)
    assert np.array_equal(flow, np.arange(256 * 3).reshape(256, 3))
