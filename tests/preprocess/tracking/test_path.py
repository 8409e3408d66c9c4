"""The best path, against every path there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from preprocess.tracking.path import IMPOSSIBLE, best_through, highest, lead

Place = tuple[int, int]
ROWS, COLUMNS, LENGTH = 3, 4, 3
COST, LONGEST = 0.1, 2
PLACES = list(itertools.product(range(ROWS), range(COLUMNS)))


def axis_cost(step: int) -> float:
    """The next power of two counts, squared; beyond the longest step nothing goes."""
    step = abs(step)
    if step > LONGEST:
        return np.inf
    return COST * (0, 1, 4)[step]


def step_cost(a: Place | None, b: Place | None) -> float:
    if a is None or b is None:
        return 0.0
    return axis_cost(a[0] - b[0]) + axis_cost(a[1] - b[1])


def brute_force(
    likeness: np.ndarray, first: Place | None, last: Place | None
) -> list[dict[Place, float]]:
    best = [dict.fromkeys(PLACES, -np.inf) for _ in range(LENGTH)]
    for way in itertools.product(PLACES, repeat=LENGTH):
        steps = zip([first, *way], [*way, last], strict=True)
        score = sum(likeness[i][p] for i, p in enumerate(way)) - sum(
            step_cost(a, b) for a, b in steps
        )
        for index, place in enumerate(way):
            best[index][place] = max(best[index][place], score)
    return best


@pytest.mark.parametrize("first", [None, (0, 1)])
@pytest.mark.parametrize("last", [None, (2, 3)])
def test_scores_are_those_of_the_best_of_all_paths(first: Place | None, last: Place | None) -> None:
    likeness = np.random.default_rng(3).random((LENGTH, ROWS, COLUMNS)).astype(np.float32)
    found = best_through(list(likeness), first, last, step_cost=COST, longest_step=LONGEST)
    for scores, expected in zip(found, brute_force(likeness, first, last), strict=True):
        for place in PLACES:
            if np.isfinite(expected[place]):
                assert scores[place] == pytest.approx(expected[place], abs=1e-5)
            else:
                assert scores[place] < IMPOSSIBLE / 2


def test_one_bad_frame_is_passed_by() -> None:
    likeness = np.zeros((5, 9, 9), np.float32)
    likeness[:, 4, 4] = 1
    likeness[2, 4, 4], likeness[2, 0, 0] = 0.2, 0.9
    found = best_through(list(likeness), (4, 4), None, step_cost=0.05, longest_step=8)
    assert [highest(scores) for scores in found] == [(4, 4)] * 5


def test_a_step_from_where_the_flow_leads_costs_nothing() -> None:
    likeness = np.zeros((3, 9, 30), np.float32)
    for frame in range(3):
        likeness[frame, 4, 8 * frame + 8] = 0.5
    places = np.arange(9 * 30, dtype=np.int32).reshape(9, 30)
    back, forth = np.maximum(places - 8, 0), np.minimum(places + 8, 269)

    def through(flows: list[tuple[np.ndarray, np.ndarray]] | None) -> list[np.ndarray]:
        return best_through(
            list(likeness), (4, 0), None, step_cost=0.05, longest_step=8, flows=flows
        )

    with_flow = through([(back, forth)] * 4)
    assert [highest(scores) for scores in with_flow] == [(4, 8), (4, 16), (4, 24)]
    assert [scores.max() for scores in with_flow] == pytest.approx([1.5] * 3)
    assert [scores.max() for scores in through(None)] == pytest.approx([0] * 3)


def test_the_lead_counts_what_lies_elsewhere() -> None:
    scores = np.zeros((6, 6), np.float32)
    scores[1, 1], scores[2, 2], scores[5, 0] = 1.0, 0.9, 0.4
    assert lead(scores, 1, 1) == pytest.approx(0.6)
    assert lead(scores, 0, 0) == pytest.approx(0.1)


def test_a_path_leads_nothing_where_no_other_place_is_left() -> None:
    scores = np.zeros((3, 3), np.float32)
    scores[1, 1] = 5.0
    assert lead(scores, 1, 1) == 0.0
    assert lead(scores, 1, 0) == 5.0
