"""The time that a study says is left, on made-up runs whose true times are known."""

from __future__ import annotations

import time

import pytest

from angioray.cluster.flops import Rates
from angioray.cluster.plan import Plan
from angioray.cluster.progress import StudyProgress
from angioray.cluster.queue import QueuedRun, RunQueue
from preprocess.console.tables import LiveTable

LOADING_S, JUDGING_S, LANE_START_S = 20.0, 5.0, 30.0
STEP_S = {"detector": 0.5, "view": 0.25}
STEPS = 100
TRUE_S = {kind: LOADING_S + STEPS * step + JUDGING_S for kind, step in STEP_S.items()}


def test_the_time_left_is_near_the_truth_from_the_first_steps_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    # The plan takes the machine for ten times faster than it is, and kinds for alike.
    kinds = [*["detector"] * 8, *["view"] * 8]
    entries = tuple(QueuedRun(f"{kind}-{i}", kind, 7.5) for i, kind in enumerate(kinds))
    plan = Plan((), entries, Rates({}, 1.0, ""), 0.0, 0, None, ())
    queue, left = RunQueue(entries), {}
    progress = StudyProgress(plan, LiveTable(()))
    began: dict[int, tuple[str, float]] = {}
    while not queue.snapshot().over:
        clock[0] += 0.5
        for lane in (0, 1):
            if clock[0] < LANE_START_S:
                continue
            if lane not in began:
                if (name := queue.take(lane)) is None:
                    continue
                began[lane] = name, clock[0]
            name, since = began[lane]
            kind = name.partition("-")[0]
            steps = int((clock[0] - since - LOADING_S) / STEP_S[kind]) // 10 * 10
            if 0 < steps <= STEPS:
                queue.progress(lane, name, steps, STEPS, {"loss": 1.0, "frames_per_s": 1.0})
            if clock[0] - since >= TRUE_S[kind]:
                queue.finish(lane, name, {})
                del began[lane]
        left[clock[0]] = progress._seconds_left(queue.snapshot())
    end = clock[0]
    said = {at: seconds for at, seconds in left.items() if seconds is not None}
    assert min(said) == LANE_START_S + LOADING_S + 20 * STEP_S["view"], "the second line of a log"
    ratios = {at: seconds / (end - at) for at, seconds in said.items() if end - at > 20}
    # One kind is not seen yet at first, and no judging: the first words are a little too hopeful.
    assert min(ratios.values()) > 0.6 and max(ratios.values()) < 1.3
    late = [ratio for at, ratio in ratios.items() if at > end / 2]
    assert min(late) > 0.7 and max(late) < 1.2
