"""What the benchmark of lesions counts, against a cine worked out on paper."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HERE, THERE = np.array([0.0, 0, 10, 10]), np.array([50.0, 50, 60, 60])


def test_measures_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "measuring", raising=False)
    names = runpy.run_path(str(BENCHMARKS / "lesions.py"))
    frames = np.zeros((4, 64, 64), np.uint8)
    truth = [dict.fromkeys(range(4), HERE)]
    cine = names["Cine"](patient="A", frames=frames, looked_at=[0, 1, 2, 3], boxes=[], truth=truth)
    pieces = [(0.9, {0: HERE, 1: HERE}), (0.8, {3: HERE}), (0.7, {2: THERE, 3: THERE})]
    judged = names["Judged"](cines=[cine], predicted=[pieces])
    assert judged.threshold(0.5) == pytest.approx(0.9)
    assert judged.threshold(0.75) == pytest.approx(0.8)
    assert judged.threshold(1.0) is None
    assert {name: each.ratio.value for name, each in judged.measures(0.5).items()} == {
        "recall": 0.75,
        "false boxes a frame": 0.5,
        "false boxes a cine": 2,
        "lesions found": 1,
        "lesions found as one": 1,  # the first piece alone is half of it
        "pieces of a lesion": 2,
        "flicker": pytest.approx(2 / 3),  # on, on, off, on
        "false lesions a cine": 1,
    }
