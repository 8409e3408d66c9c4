"""Durations, and progress in a file."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from preprocess.console.progress import Pace, duration, track


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_items_pass_and_the_end_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), total=3, label="letters")) == ["a", "b", "c"]
    assert "letters 3/3, in 0 s" in capsys.readouterr().err


def test_a_start_is_no_pace() -> None:
    pace = Pace()
    assert pace.seconds_left(0, 100, now=5) is None
    assert pace.seconds_left(1, 100, now=60) is None, "a minute of start, not of work"
    assert pace.seconds_left(11, 100, now=65) == 44.5  # ten in 5 s, 89 are left
    for done in range(12, 52):  # the first ten were slow, and are forgotten
        left = pace.seconds_left(done, 100, now=65 + (done - 11) * 0.1)
    assert left == pytest.approx(4.9) and len(pace.marks) < 10
    resumed = Pace()
    assert resumed.seconds_left(80, 100, now=0) is None
    assert resumed.seconds_left(85, 100, now=10) == 30


def test_lost_work_is_no_pace_and_no_end() -> None:
    pace = Pace()
    for done in range(1, 41):
        left = pace.seconds_left(done, 100, now=float(done))
    assert left == 60
    for done in range(39, -1, -1):  # also to what a mark stands at, below the first, and to nothing
        left = pace.seconds_left(done, 100, now=41.0)
        assert left is None or left > 0
    assert pace.seconds_left(0, 100, now=50.0) is None
    assert pace.seconds_left(20, 100, now=60.0) is None, "its first sign again"
    assert pace.seconds_left(30, 100, now=65.0) == 35


def test_lines_in_a_file_foretell_the_rest_without_the_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def slow_to_start() -> Iterator[int]:
        for number in range(100):
            clock[0] += 5.0 if number else 120.0
            yield number

    for _ in track(slow_to_start(), total=100, label="cines"):
        pass
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["cines 1/100", "cines 3/100, 8 min 05 s left"]
