"""What a sweep says as it goes on: news once, how it stands, and how long the rest takes."""

from __future__ import annotations

import re
import time

import pytest

from tune.search.board import Progress
from tune.search.progress import Standing, SweepProgress
from tune.trials import BY_BASE, BY_SEARCH, Trial


def standing(*trials: Trial, running: dict[int, int], losses: tuple[str, ...] = ()) -> Standing:
    values = {"loss": 0.5, "frames_per_s": 20.0}
    current = {number: Progress(done, values if done else {}) for number, done in running.items()}
    return Standing(trials, current, losses)


def test_news_are_told_once_and_the_rest_is_foretold(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    rate = {"detector.optimiser.learning_rate": 0.000123456}
    base, other = Trial(0, rate, BY_BASE), Trial(1, rate, BY_SEARCH)
    with SweepProgress(4, (10, 30, 90), "AP@IoU0.20") as progress:
        progress.show(standing(base, other, running={0: 0, 1: 0}))
        assert "0 of 4 trials ended" in capsys.readouterr().err
        clock[0] = 200.0  # processes started, and cines were read: that is no pace
        progress.show(standing(base, other, running={0: 10, 1: 0}))
        clock[0] = 245.0
        base.curve, base.state = [(10, 0.2), (30, 0.3), (90, 0.4)], "finished"
        other.curve = [(10, 0.1)]
        lost = ("trial 001 lost its process, and goes on in another",)
        progress.show(standing(base, other, running={1: 10}, losses=lost))
        said = capsys.readouterr().err.splitlines()[-4:]
        # 90 steps in 45 s. Three trials of 90 steps are left, of which 10 are done: 130 s.
        assert said == [
            "trial 000 finished at step 90: AP@IoU0.20 0.400, learning_rate 0.0001235",
            "trial 001 lost its process, and goes on in another",
            "1 of 4 trials ended (1 finished, 0 stopped, 0 failed), best 0.400 by trial 000, "
            "trial 000 0.400, about 2 min 10 s left",
            "  001  training  10/90  1 x  0.100  loss 0.500  20 frames/s  learning_rate 0.0001235",
        ]
        progress.show(standing(base, other, running={1: 20}, losses=lost))
        assert capsys.readouterr().err == "", "no news, and it is too early to say it again"
        other.reason, other.state = "the loss is not finite", "failed"
        progress.show(standing(base, other, running={}, losses=lost))
        assert "trial 001 failed: the loss is not finite\n" in capsys.readouterr().err


def test_a_sweep_that_goes_on_does_not_repeat_what_was_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = Trial(0, {}, BY_BASE, [(10, 0.2)], state="finished")
    with SweepProgress(2, (10,), "accuracy") as progress:
        progress.show(standing(base, Trial(1, {}, BY_SEARCH), running={}))
    said = capsys.readouterr().err
    assert "trial 000 finished" not in said
    assert re.search(r"1 of 2 trials ended \(1 finished.*best 0\.200 by trial 000", said)
