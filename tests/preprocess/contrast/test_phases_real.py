"""Proposed phases of real cines, against what a person sees in them."""

from __future__ import annotations

import os
import tarfile
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocess.contrast.filling import measure_filling
from preprocess.contrast.phases import phase_bounds, quiet_frame
from preprocess.dicom.reader import read_cine

DATA = Path(os.environ.get("ANGIORAY_REAL_DATA", Path(__file__).parents[4] / "shared" / "data"))
CLIPS = DATA / "danilov" / "sequences_8_patients.tar"


@pytest.mark.skipif(
    not (DATA / "xa_dicom").is_dir(),
    reason="the real data are not on this machine (set ANGIORAY_REAL_DATA to their folder)",
)
@pytest.mark.parametrize(
    ("name", "introducing", "optimal", "vanishing"),
    [
        # Contrast leaves the catheter in frame 16; the thin branches are full from 28 to 34 on;
        # the main stem clears from 67 on, and the arteries fade.
        ("philips_lca_75f_jpegbaseline.dcm", range(10, 17), range(24, 35), range(60, 70)),
        # Contrast comes in frame 17; the distal branches are full from 36 to 46 on, to the end.
        ("rubo_0002_rca_96f_jpegbaseline.dcm", range(10, 18), range(36, 47), range(96, 97)),
    ],
)
def test_whole_passages(name: str, introducing: range, optimal: range, vanishing: range) -> None:
    cine = read_cine(DATA / "xa_dicom" / name)
    filling = measure_filling(cine.acquisition.display.apply(cine.frames))
    bounds = phase_bounds(filling)
    assert bounds is not None
    for bound, expected in zip(bounds, (introducing, optimal, vanishing), strict=True):
        assert bound in expected
    # Between the latest full and the earliest fading frame, everybody calls the arteries filled.
    assert quiet_frame(filling, range(*bounds[1:])) in range(optimal[-1], vanishing[0])


@pytest.mark.skipif(
    not (DATA / "xa_dicom").is_dir(),
    reason="the real data are not on this machine (set ANGIORAY_REAL_DATA to their folder)",
)
@pytest.mark.parametrize(
    ("name", "bare", "level"),
    [
        ("philips_lca_75f_jpegbaseline.dcm", 10, [36, 42, 48, 60]),
        ("rubo_0002_rca_96f_jpegbaseline.dcm", 16, [48, 72]),
    ],
)
def test_parts_before_contrast_and_amid_it(name: str, bare: int, level: list[int]) -> None:
    cine = read_cine(DATA / "xa_dicom" / name)
    frames = cine.acquisition.display.apply(cine.frames)
    for length in (8, bare):
        assert phase_bounds(measure_filling(frames[:length])) is None
    for first in level:
        assert phase_bounds(measure_filling(frames[first : first + 8])) == (0, 0, 8)


@pytest.mark.skipif(
    not CLIPS.is_file(),
    reason="the real clips are not on this machine (set ANGIORAY_REAL_DATA to their folder)",
)
def test_clips_that_show_a_lesion_in_every_frame() -> None:
    """They begin while the arteries fill, or later: no frame of them is without contrast."""
    clips: dict[str, list[tuple[int, np.ndarray]]] = defaultdict(list)
    with tarfile.open(CLIPS) as tar:
        for member in tar:
            clip, _, number = Path(member.name).stem.rpartition("_")
            file = tar.extractfile(member)
            assert file is not None
            picture = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_GRAYSCALE)
            clips[clip].append((int(number), picture))
    assert len(clips) == 25
    optimal = frames = 0
    for numbered in clips.values():
        pictures = np.stack([picture for _, picture in sorted(numbered, key=lambda item: item[0])])
        bounds = phase_bounds(measure_filling(pictures))
        assert bounds is not None
        assert bounds[0] == 0
        optimal += bounds[2] - bounds[1]
        frames += len(pictures)
    assert optimal > 0.5 * frames
