"""The order of runs and their GPUs, against arithmetic and against the lower bound."""

from __future__ import annotations

import pytest

from angioray.cluster.schedule import RANK_EFFICIENCY, Piece, best_schedule, lower_bound, makespan
from benchmarks.plan_simulation import published, simulate


def test_makespan_by_hand() -> None:
    assert makespan([3.0, 3.0, 2.0, 2.0, 2.0], 2) == 7.0
    assert makespan([3.0, 2.0], 4) == 3.0
    assert lower_bound([3.0, 3.0, 2.0, 2.0, 2.0], 2) == 6.0
    assert lower_bound([9.0, 1.0], 4) == 9.0


def test_longest_first() -> None:
    pieces = [Piece("short", 1.0), Piece("long", 5.0), Piece("mid", 3.0)]
    schedule = best_schedule(pieces, [2])
    assert schedule.narrow == ("long", "mid", "short")
    assert schedule.wide == ()
    assert schedule.makespan_s == 5.0


def test_fewer_runs_than_gpus_get_several_each() -> None:
    schedule = best_schedule([Piece(f"r{i}", 100.0, 8) for i in range(2)], [8])
    assert (schedule.narrow, schedule.ranks) == ((), 4)
    assert schedule.makespan_s == pytest.approx(100 / (4 * RANK_EFFICIENCY[4]))


def test_the_odd_runs_of_the_last_round_are_spread() -> None:
    # Ten runs on eight GPUs: two rounds of 100 s, or one and two runs on four GPUs each.
    pieces = [Piece(f"r{i}", 100.0, 8) for i in range(10)]
    schedule = best_schedule(pieces, [8], lane_start_s=10.0)
    assert (len(schedule.narrow), len(schedule.wide), schedule.ranks) == (8, 2, 4)
    assert schedule.makespan_s == pytest.approx(100 + 10 + 100 / (4 * RANK_EFFICIENCY[4]))


def test_runs_that_ranks_would_change_stay_on_one() -> None:
    schedule = best_schedule([Piece("view", 100.0, 1)], [8])
    assert (schedule.narrow, schedule.wide) == (("view",), ())


def test_ranks_stay_within_a_node() -> None:
    pieces = [Piece("r", 100.0, 8)]
    assert best_schedule(pieces, [2] * 32).ranks == 2
    assert best_schedule(pieces, [1] * 64).ranks == 1
    assert best_schedule(pieces, [1] * 56 + [8]).ranks == 8


def test_a_lane_of_several_ranks_forms_only_where_a_node_has_them_all() -> None:
    # Two runs: on the one node of four one after the other, or beside each other on two each.
    pieces = [Piece(f"r{i}", 100.0, 4) for i in range(2)]
    schedule = best_schedule(pieces, [4, 1, 1, 1, 1])
    assert schedule.ranks == 2
    assert schedule.makespan_s == pytest.approx(100 / (2 * RANK_EFFICIENCY[2]))


@pytest.mark.parametrize("runs", [50, 200, 2000])
@pytest.mark.parametrize("gpus", [1, 4, 8, 16, 64, 512])
def test_the_queue_keeps_near_the_lower_bound(runs: int, gpus: int) -> None:
    pieces = published(runs)
    bound = lower_bound([piece.seconds for piece in pieces], gpus)
    assert simulate(pieces, gpus, lane_start_s=0.0) <= 1.05 * bound
