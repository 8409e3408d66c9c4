"""Lesions through time, followed by hand on paper."""

from __future__ import annotations

import pytest

from preprocess.annotations.lesions import follow, overlap

Box4 = tuple[float, float, float, float]


def square(x: float, y: float, side: float = 10) -> Box4:
    return (x, y, x + side, y + side)


@pytest.mark.parametrize(
    ("frames", "numbers"),
    [
        # One lesion that beats by three of its sides, and comes back.
        ([[square(0, 0)], [square(30, 0)], [square(0, 5)]], [[0], [0], [0]]),
        # Too far off: another lesion.
        ([[square(0, 0)], [square(41, 0)]], [[0], [1]]),
        # Two that stay in order of place, not of listing.
        ([[square(0, 0), square(50, 0)], [square(48, 2), square(3, 2)]], [[0, 1], [1, 0]]),
        # One vanishes; the one that is left is the nearer one. Then a new one appears.
        (
            [[square(0, 0), square(15, 0)], [square(13, 0)], [square(12, 0), square(35, 0)]],
            [[0, 1], [1], [1, 2]],
        ),
        # A frame without any ends them all.
        ([[square(0, 0)], [], [square(0, 0)]], [[0], [], [1]]),
        ([], []),
    ],
)
def test_boxes_of_one_lesion_follow_each_other(
    frames: list[list[Box4]], numbers: list[list[int]]
) -> None:
    assert follow(frames) == numbers


def test_overlap() -> None:
    assert overlap(square(0, 0), square(0, 0)) == 1
    assert overlap(square(0, 0), square(5, 0)) == pytest.approx(50 / 150)
    assert overlap(square(0, 0), square(10, 0)) == 0
