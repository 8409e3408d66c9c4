"""Durations, and progress in a file."""

from __future__ import annotations

import pytest

from preprocess.console.progress import duration, track


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
