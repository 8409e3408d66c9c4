"""Lesions through time against cines drawn by hand, and the best path against all paths."""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from angioray.inference.findings import FoundBox, Lesion
from angioray.inference.lesions import best_path, link_lesions

SIDE = 480
BEAT = SIDE // 12
"""A step that the heart makes between two frames."""
HALF = 12


def texture(seed: int) -> np.ndarray:
    """A picture that resembles no other one."""
    return np.random.default_rng(seed).integers(0, 256, (6, 6)).repeat(4, 0).repeat(4, 1)


def drawn(*frames: Mapping[int, tuple[int, int]]) -> np.ndarray:
    """Frames with textures by their seeds, each around a place (x, y)."""
    cine = np.full((len(frames), SIDE, SIDE), 128, np.uint8)
    for frame, places in zip(cine, frames, strict=True):
        for seed, (x, y) in places.items():
            frame[y - HALF : y + HALF, x - HALF : x + HALF] = texture(seed)
    return cine


def found(frame: int, place: tuple[int, int], score: float) -> FoundBox:
    x, y = place
    box = (float(x - HALF), float(y - HALF), float(x + HALF), float(y + HALF))
    return FoundBox(frame_index=frame, box_xyxy=box, score=score)


def middles(lesion: Lesion) -> list[tuple[int, float, float]]:
    corners = [(box.frame_index, *box.box_xyxy) for box in lesion.boxes]
    return [(t, (x1 + x2) / 2, (y1 + y2) / 2) for t, x1, y1, x2, y2 in corners]


def test_lesions_that_change_places_are_told_apart_by_their_pictures() -> None:
    here, there = (200, 200), (200 + BEAT, 200)
    places = [{1: here, 2: there}, {1: there, 2: here}] * 2  # IoU alone would swap them
    boxes = [found(t, at[seed], 1 - seed / 10) for t, at in enumerate(places) for seed in (1, 2)]
    first, second = link_lesions(drawn(*places), boxes, range(4))
    assert [place[1:] for place in middles(first)] == [at[1] for at in places]
    assert [place[1:] for place in middles(second)] == [at[2] for at in places]
    assert (first.number, first.score, first.stability) == (1, pytest.approx(0.9), 1)
    assert (second.number, second.score, second.stability) == (2, pytest.approx(0.8), 1)


def test_a_short_gap_is_filled_and_lowers_the_score() -> None:
    places = [{1: (200 + 10 * t, 200)} for t in range(4)]
    boxes = [found(t, places[t][1], 0.8) for t in (0, 1, 3)]
    (lesion,) = link_lesions(drawn(*places), boxes, range(4))
    assert lesion.score == pytest.approx(0.6) and lesion.stability == 0.75
    assert middles(lesion) == [(0, 200, 200), (1, 210, 200), (2, 220, 200), (3, 230, 200)]
    assert [(box.score, box.carried) for box in lesion.boxes[1:3]] == [(0.8, False), (0, True)]
    assert not lesion.best.carried


def test_frames_that_nobody_looked_at_get_no_box() -> None:
    places = [{1: (200, 200)}] * 4
    boxes = [found(t, (200, 200), 0.8) for t in (1, 3)]
    (lesion,) = link_lesions(drawn(*places), boxes, (1, 3))
    assert (lesion.score, lesion.stability) == (pytest.approx(0.8), 1)
    assert [box.frame_index for box in lesion.boxes] == [1, 3]


def test_a_long_gap_parts_two_lesions() -> None:
    boxes = [found(t, (200, 200), 0.8) for t in (0, 1, 5)]
    lesions = link_lesions(drawn(*[{1: (200, 200)}] * 6), boxes, range(6))
    assert [[box.frame_index for box in lesion.boxes] for lesion in lesions] == [[0, 1], [5]]


def test_what_flickers_stays_above_what_flashes_once() -> None:
    boxes = [found(t, (200, 200), (0.6, 0.2)[t % 2]) for t in range(6)] + [found(3, (60, 60), 0.9)]
    lesion, flash = link_lesions(drawn(*[{1: (200, 200)}] * 6), boxes, range(6))
    assert (lesion.score, len(lesion.boxes)) == (pytest.approx(0.4), 6)
    assert (flash.score, flash.stability) == (pytest.approx(0.15), pytest.approx(1 / 6))


def test_neighbours_stay_two_lesions() -> None:
    places = [{1: (200 + t, 200), 2: (200 + t + 2 * HALF, 200)} for t in range(5)]
    boxes = [found(t, at, 0.7) for t, frame in enumerate(places) for at in frame.values()]
    lesions = link_lesions(drawn(*places), boxes, range(5))
    starts = sorted(middles(lesion)[0] for lesion in lesions)
    assert starts == [(0, 200, 200), (0, 224, 200)]
    for lesion in lesions:
        assert all(b[1] - a[1] == 1 for a, b in pairwise(middles(lesion)))


def test_boxes_of_one_frame() -> None:
    cine = drawn({1: (200, 200), 2: (300, 300)})
    again = found(0, (204, 200), 0.5)  # IoU 20 / 28 with the first
    boxes = [again, found(0, (300, 300), 0.3), found(0, (200, 200), 0.9)]
    lesions = link_lesions(cine, boxes, (0,))
    assert [(lesion.score, len(lesion.boxes)) for lesion in lesions] == [(0.9, 1), (0.3, 1)]


def test_no_boxes_are_no_lesions() -> None:
    assert link_lesions(drawn({}), [], (0,)) == ()
    assert link_lesions(drawn({}), [found(0, (200, 200), 0.001)], (0,)) == ()


def test_a_box_at_the_edge_of_a_small_frame() -> None:
    cine = np.zeros((2, 8, 8), np.uint8)
    boxes = [FoundBox(frame_index=t, box_xyxy=(0, 0, 8, 8), score=0.9) for t in range(2)]
    assert link_lesions(cine, boxes, range(2))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[float], list[list[tuple[int, float]]], list[bool]]:
    size = draw(st.integers(1, 6))
    numbers = st.integers(0, 20).map(lambda n: n / 8)  # their sums are exact
    gains = draw(st.lists(numbers, min_size=size, max_size=size))
    steps = [[(j, draw(numbers)) for j in range(i) if draw(st.booleans())] for i in range(size)]
    left = draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(any))
    return gains, steps, left


def total(
    gains: Sequence[float], steps: Sequence[Sequence[tuple[int, float]]], path: Sequence[int]
) -> float:
    costs = [dict(steps[later]).get(earlier, np.inf) for earlier, later in pairwise(path)]
    return sum(gains[i] for i in path) - sum(costs)


@given(graphs())
def test_no_path_is_better(
    graph: tuple[list[float], list[list[tuple[int, float]]], list[bool]],
) -> None:
    gains, steps, left = graph
    usable = [i for i, free in enumerate(left) if free]
    every = [p for n in range(1, len(usable) + 1) for p in combinations(usable, n)]
    path = best_path(gains, steps, left)
    assert all(left[i] for i in path)
    assert total(gains, steps, path) == max(total(gains, steps, other) for other in every)
