"""Intervals: what is drawn, that draws repeat, and that paired measures see the same patients."""

import numpy as np
import pytest

from angioray.evaluation.bootstrap import Resampling
from angioray.evaluation.detection import Matched, detector_metrics
from angioray.evaluation.matching import FloatArray
from angioray.evaluation.measures import Draws, Measure, Ratio
from angioray.evaluation.views import view_measures, view_metrics
from tests.angioray.four_frames import FOUND, FRAMES, MATCHED


def share(values: np.ndarray) -> Ratio:
    return Ratio(numerator=values, denominator=np.ones(len(values)))


def test_the_interval_resamples_patients_not_frames() -> None:
    # Each patient's frames are all right or all wrong: two of four patients are right.
    patients = np.repeat(["p1", "p2", "p3", "p4"], 50).tolist()
    right = share(np.repeat([1.0, 0.0, 1.0, 0.0], 50))
    assert Resampling.of(patients).interval(right) == (0.0, 1.0)
    low, high = Resampling.of([str(i) for i in range(200)]).interval(right) or (0, 0)
    assert (low, high) == pytest.approx((0.43, 0.57), abs=0.02)  # 1.96 sqrt(.25 / 200) = 0.07


class Drawn:
    """A measure whose values in the draws are known: 0, 0.001, …, 1 in any order."""

    def values(self, draws: Draws) -> FloatArray:
        count = len(draws.weights)
        return np.random.default_rng(0).permutation(np.linspace(0, 1, count))


def test_the_interval_leaves_out_a_fortieth_at_either_end() -> None:
    resampling = Resampling.of(["p1", "p2"], resamples=1001)
    assert resampling.interval(Drawn()) == pytest.approx((0.025, 0.975))
    apart = resampling.difference(Drawn(), share(np.zeros(2))).ci95
    assert apart == pytest.approx((0.025, 0.975))


def test_the_intervals_are_reproducible_and_hold_the_value() -> None:
    probabilities = np.random.default_rng(1).dirichlet([1, 1], 60)
    labels = ["LCA", "RCA"] * 30
    patients = [f"p{i // 6}" for i in range(60)]
    metrics = view_metrics(labels, probabilities, ["LCA", "RCA"])
    for name, measure in view_measures(labels, probabilities, ["LCA", "RCA"]).items():
        interval = Resampling.of(patients).interval(measure)
        assert interval == Resampling.of(patients).interval(measure)
        if name != "ECE":  # never negative, so that resamples lie above it
            assert interval is not None and interval[0] < (metrics[name] or 0) < interval[1]


def test_every_draw_is_the_metric_of_the_frames_drawn() -> None:
    """Each measure under weights equals the same measure of frames listed so often."""
    measures = MATCHED.measures()
    draws = Resampling.of(["p", "q", "r", "s"], resamples=6, seed=2).draws
    for row, counts in enumerate(draws.weights.astype(int)):
        listed = np.repeat(np.arange(1, 5), counts)
        again = {10 * n + i: i for n, i in enumerate(listed.tolist(), start=1)}
        frames = type(FRAMES)(
            sequence={new: FRAMES.sequence[old] for new, old in again.items()},
            truth={new: FRAMES.truth[old] for new, old in again.items() if old in FRAMES.truth},
        )
        found = {new: FOUND[old] for new, old in again.items() if old in FOUND}
        expected = detector_metrics(frames, found)
        for name, measure in measures.items():
            if name.startswith("at_least_one"):
                continue  # a sequence listed twice is one sequence, one drawn twice counts twice
            got = measure.values(draws)[row]
            assert (None if np.isnan(got) else got) == pytest.approx(expected[name]), name


def test_one_patient_has_no_interval() -> None:
    assert Resampling.of(["p1"] * 5).interval(share(np.ones(5))) is None
    assert Resampling.of(["p1"] * 4).interval(MATCHED.measures()["AP@IoU0.20"]) is None
    low, high = Resampling.of(list("pqrs")).interval(MATCHED.measures()["AP@IoU0.20"]) or (1, 0)
    assert 0 <= low < 76 * 0.5 / 101 < high <= 1


def test_an_undefined_measure_has_no_interval() -> None:
    nothing = Ratio(numerator=np.zeros(4), denominator=np.zeros(4))
    resampling = Resampling.of(list("pqrs"))
    assert resampling.interval(nothing) is None
    difference = resampling.difference(nothing, share(np.ones(4)))
    assert difference.value is None and difference.ci95 is None


def test_a_difference_is_paired() -> None:
    # One is right exactly where the other is, and once more for every patient: the difference is
    # 0.25 in every draw, however much either of them varies.
    random = np.random.default_rng(0)
    patients = np.repeat([f"p{i}" for i in range(20)], 4)
    first = random.integers(0, 2, 80).astype(float)
    first[::4] = 0
    second = first.copy()
    second[::4] = 1
    difference = Resampling.of(patients.tolist()).difference(share(second), share(first))
    assert difference.value == pytest.approx(0.25)
    assert difference.ci95 == pytest.approx((0.25, 0.25))
    wide = Resampling.of(patients.tolist()).interval(share(first))
    assert wide is not None and wide[1] - wide[0] > 0.1


def test_a_detector_compared_with_itself_differs_by_nothing() -> None:
    resampling = Resampling.of(list("pqrs"))
    same: dict[str, Measure] = Matched.of(FRAMES, FOUND).measures()
    for name, measure in MATCHED.measures().items():
        difference = resampling.difference(measure, same[name])
        assert difference.value in (0, None)
        assert difference.ci95 in ((0, 0), None)
