"""The order of runs, and the GPUs of each, so that the last one ends early."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

LANE_START_S = 12.0
"""From nothing to a lane's first step; wide lanes pay it again after narrow ones."""
RANK_EFFICIENCY = {1: 1.0, 2: 0.95, 4: 0.9, 8: 0.8}
"""Assumed share of linear speed-up of a run on so many GPUs of one node."""


@dataclass(frozen=True)
class Piece:
    """One run as the schedule sees it.

    Attributes:
        name: of the run.
        seconds: expected on one slot (a GPU, a share of one, or a lane's CPU cores).
        widest: the most ranks that leave its numbers as they are, up to rounding.
    """

    name: str
    seconds: float
    widest: int = 1


@dataclass(frozen=True)
class Schedule:
    """Narrow runs start first, longest first, on a slot each; wide ones follow on several.

    Attributes:
        narrow: names of the runs of one rank, in the order they start.
        wide: names of the runs of several ranks, in the order they start.
        ranks: of each wide run.
        makespan_s: when the last run is expected to end, lanes' starts aside.
    """

    narrow: tuple[str, ...]
    wide: tuple[str, ...]
    ranks: int
    makespan_s: float


def best_schedule(
    pieces: Sequence[Piece], slots: Sequence[int], *, lane_start_s: float = LANE_START_S
) -> Schedule:
    """The schedule with the least makespan among those tried.

    Longest first on one slot each is within a third of the best possible, and near it where there
    are many more runs than slots. Where there are few, slots stand idle at the end: then the last
    runs get several slots each, or all of them do where there are more slots than runs.

    Args:
        pieces: the runs.
        slots: how many runs of one rank go at once on each node; a wide run stays on one node.
        lane_start_s: what going over from narrow to wide lanes costs.
    """
    ordered = sorted(pieces, key=lambda piece: (-piece.seconds, piece.name))
    total = sum(slots)
    best = Schedule(_names(ordered), (), 1, makespan([p.seconds for p in ordered], total))
    for ranks in sorted(RANK_EFFICIENCY):
        lanes = lanes_of(ranks, slots)
        if ranks == 1 or not lanes:
            continue
        can = [piece for piece in ordered if piece.widest >= ranks]
        for count in _tails(len(ordered), len(can), total, lanes):
            wide = can[len(can) - count :]
            chosen = set(_names(wide))
            narrow = [piece for piece in ordered if piece.name not in chosen]
            seconds = _makespan_of_both(narrow, wide, ranks, total, lanes, lane_start_s)
            if seconds < best.makespan_s * 0.99:  # more ranks must be worth it
                best = Schedule(_names(narrow), _names(wide), ranks, seconds)
    return best


def lanes_of(ranks: int, slots: Sequence[int]) -> int:
    """How many lanes of so many ranks there is room for, each on one node."""
    return sum(node // ranks for node in slots)


def makespan(seconds: Sequence[float], slots: int) -> float:
    """When the last run ends, if each free slot takes the next one."""
    free_at = [0.0] * slots
    for each in seconds:
        heapq.heapreplace(free_at, free_at[0] + each)
    return max(free_at)


def lower_bound(seconds: Sequence[float], slots: int) -> float:
    """No schedule of undivided runs ends earlier than this."""
    return max(sum(seconds) / slots, max(seconds, default=0.0))


def on_ranks(seconds: float, ranks: int) -> float:
    """How long a run takes on so many ranks, if ``seconds`` on one."""
    return seconds / (ranks * RANK_EFFICIENCY[ranks])


def _tails(runs: int, can: int, slots: int, lanes: int) -> list[int]:
    """How many of the last runs to widen: the odd ones of the last round, and full wide rounds."""
    odd = runs % slots
    counts = {
        can,
        odd,
        odd + slots,
        max(0, runs - slots),
        *range(lanes, can, max(lanes, can // 24)),
    }
    counts |= {lanes * rounds for rounds in range(1, 13)}
    return sorted(count for count in counts if 0 < count <= can)


def _makespan_of_both(
    narrow: Sequence[Piece],
    wide: Sequence[Piece],
    ranks: int,
    slots: int,
    at_once: int,
    lane_start_s: float,
) -> float:
    free_at = [0.0] * slots
    for piece in narrow:
        heapq.heapreplace(free_at, free_at[0] + piece.seconds)
    # A wide lane forms when its slots are free, and then keeps them: slots freed together.
    free_at.sort()
    start = lane_start_s if narrow else 0.0
    lanes = [free_at[i + ranks - 1] + start for i in range(0, slots - ranks + 1, ranks)]
    lanes = lanes[: min(at_once, len(wide))]
    heapq.heapify(lanes)
    for piece in wide:
        heapq.heapreplace(lanes, lanes[0] + on_ranks(piece.seconds, ranks))
    return max(*lanes, free_at[-1])


def _names(pieces: Sequence[Piece]) -> tuple[str, ...]:
    return tuple(piece.name for piece in pieces)
