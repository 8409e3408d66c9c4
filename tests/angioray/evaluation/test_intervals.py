"""Intervals: by hand, as scipy has them, and that paired measures see the same patients."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from angioray.evaluation.calibration import CalibrationError
from angioray.evaluation.detection import Matched, detector_metrics
from angioray.evaluation.intervals import Jackknife, holm
from angioray.evaluation.matching import FloatArray
from angioray.evaluation.measures import COUNTS, LOSSES, Draws, Measure, Ratio, Rules, means
from angioray.evaluation.views import view_measures, view_metrics
from tests.angioray.four_frames import FOUND, FRAMES, MATCHED

TEN = [f"p{i}" for i in range(10)]


def share(values: FloatArray) -> Ratio:
    return Ratio(numerator=values, denominator=np.ones(len(values)))


def test_the_interval_of_a_share_by_hand() -> None:
    # Four of ten patients, a frame each: the variance of the mean is 0.24 / 9, as of nine
    # independent answers. Student's t of nine degrees of freedom is 2.262, k = 2.262² / 9.
    right = np.repeat([1.0, 0.0], [4, 6])
    interval = Jackknife.of(TEN).interval(share(right))
    assert interval == pytest.approx((0.1391, 0.7334), abs=1e-4)
    # More frames of the same patients that say the same are no more patients.
    again = Jackknife.of(np.repeat(TEN, 5).tolist()).interval(share(np.repeat(right, 5)))
    assert again == pytest.approx(interval)


def test_patients_who_all_agree_are_as_many_answers_as_they_are() -> None:
    # Nothing varies: 1 / (1 + 2.262² / 10).
    low, high = Jackknife.of(TEN).interval(share(np.ones(10))) or (0, 0)
    assert (low, high) == pytest.approx((0.6615, 1), abs=1e-4)
    # Patients without a lesion say nothing of recall, and only eight others are left: t is 2.365.
    some = Ratio(numerator=np.repeat([1.0, 0.0], [8, 2]), denominator=np.repeat([1.0, 0.0], [8, 2]))
    low, high = Jackknife.of(TEN).interval(some) or (0, 0)
    assert (low, high) == pytest.approx((1 / (1 + 2.3646**2 / 8), 1), abs=1e-4)


def test_a_mean_loss_is_as_wide_on_the_logarithm() -> None:
    losses = np.tile([0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 0.4, 0.5, 0.8, 1.0], 4)
    measure = Ratio(numerator=losses, denominator=np.ones(len(losses)), rules=LOSSES)
    assert Jackknife.of(TEN * 4).interval(measure) is None  # ten patients are too few
    half = 2.02269 * losses.std(ddof=1) / np.sqrt(40) / 0.4
    interval = Jackknife.of([f"p{i}" for i in range(40)]).interval(measure)
    assert interval == pytest.approx((0.4 / np.exp(half), 0.4 * np.exp(half)), rel=1e-4)


class Mean:
    """A measure without limits."""

    rules = Rules()

    def __init__(self, values: FloatArray) -> None:
        self.ratio = share(values)

    def values(self, draws: Draws) -> FloatArray:
        return self.ratio.values(draws)


def test_a_measure_without_limits_has_the_interval_of_the_t_test() -> None:
    values = np.random.default_rng(0).normal(0, 1, 10)
    expected = ttest_1samp(values, 0).confidence_interval()
    assert Jackknife.of(TEN).interval(Mean(values)) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("rules", [COUNTS, LOSSES])
def test_the_mean_of_several_seeds_has_the_rules_of_each(rules: Rules) -> None:
    """Losses and false boxes per frame above 1; two equal seeds have the interval of one."""
    one = Ratio(numerator=np.arange(40) / 10, denominator=np.ones(40), rules=rules)
    both = means([{"it": one}, {"it": one}])["it"]
    patients = [f"p{i}" for i in range(40)]
    interval = Jackknife.of(patients).interval(both)
    assert interval is not None and interval[1] > 1.95 > interval[0]
    assert interval == Jackknife.of(patients).interval(one)
    few = Jackknife.of([f"p{i // 3}" for i in range(40)])  # fourteen patients
    assert few.interval(both) is None
    assert few.difference(both, one).ci95 is None


def test_limits_are_those_of_the_kind_and_not_of_the_data() -> None:
    patients = [f"p{i}" for i in range(40)]
    low = Ratio(numerator=np.arange(40) % 2.0, denominator=np.ones(40), rules=COUNTS)
    low_interval = Jackknife.of(patients).interval(low) or (0, 0)
    more = Ratio(numerator=2 * low.numerator, denominator=np.ones(40), rules=COUNTS)
    assert Jackknife.of(patients).interval(more) == pytest.approx(2 * np.array(low_interval))
    nothing = Ratio(numerator=np.zeros(40), denominator=np.ones(40), rules=COUNTS)
    assert Jackknife.of(patients).interval(nothing) is None
    with pytest.raises(ValueError, match=r"A measure is 1\.5, and its rules say 0 to 1"):
        Jackknife.of(patients).interval(share(3 * low.numerator))


def test_intervals_hold_the_value_and_keep_to_its_limits() -> None:
    probabilities = np.random.default_rng(1).dirichlet([1, 1], 60)
    labels = ["LCA", "RCA"] * 30
    patients = [f"p{i // 6}" for i in range(60)]
    metrics = view_metrics(labels, probabilities, ["LCA", "RCA"])
    for name, measure in view_measures(labels, probabilities, ["LCA", "RCA"]).items():
        interval = Jackknife.of(patients).interval(measure)
        if name in ("ECE", "cross_entropy"):
            assert interval is None
        else:
            assert interval is not None
            assert 0 < interval[0] < (metrics[name] or 0) < interval[1] <= 1


def test_every_draw_is_the_metric_of_the_frames_drawn() -> None:
    """Each measure under weights equals the same measure of frames listed so often."""
    measures = MATCHED.measures()
    random = np.random.default_rng(2)
    drawn = random.multinomial(4, np.full(4, 1 / 4), size=6)
    left_out = Jackknife.of(["p", "q", "r", "s"]).draws
    assert left_out.weights.sum(axis=1).tolist() == [3, 3, 3, 3]
    weights = np.vstack([drawn, left_out.weights])
    for row, counts in enumerate(weights.astype(int)):
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
            got = measure.values(Draws(group=left_out.group, weights=weights))[row]
            assert (None if np.isnan(got) else got) == pytest.approx(expected[name]), name


def test_many_patients_are_left_out_in_blocks() -> None:
    """Of 1050 patients 200 blocks of five or six; the standard error is that of the t-test."""
    values = np.random.default_rng(0).normal(0, 1, 1050)
    patients = [f"p{i:04}" for i in range(1050)]
    many = Jackknife.of(patients)
    assert many.patients == 1050 and many.draws.weights.shape == (200, 200)
    found = many.spread(Mean(values))
    assert (found.patients, found.blocks) == (1050, 200)
    assert found.error == pytest.approx(values.std(ddof=1) / np.sqrt(1050), rel=0.1)
    # Of seven patients who have a lesion, no number of others makes an interval.
    rare = (np.arange(1050) % 150 == 0).astype(float)
    assert many.interval(Ratio(numerator=rare, denominator=rare)) is None


def test_no_interval_is_given_that_is_not_honest() -> None:
    right = np.repeat([1.0, 0.0], 5)
    # Seven patients are too few; ten of whom seven have a lesion are seven.
    assert Jackknife.of(TEN[:7]).interval(share(right[:7])) is None
    seven = Ratio(numerator=right * 0, denominator=(np.arange(10) < 7).astype(float))
    assert Jackknife.of(TEN).interval(seven) is None
    assert Jackknife.of(TEN).interval(share(right)) is not None
    sure = CalibrationError(frame=np.arange(10), confidence=np.full(10, 0.9), right=right > 0)
    assert Jackknife.of(TEN).interval(sure) is None


def test_an_undefined_measure_has_no_interval() -> None:
    nothing = Ratio(numerator=np.zeros(10), denominator=np.zeros(10))
    jackknife = Jackknife.of(TEN)
    assert jackknife.interval(nothing) is None
    difference = jackknife.difference(nothing, share(np.ones(10)))
    assert difference.value is None and difference.ci95 is None and difference.p is None


def test_a_difference_is_the_paired_t_test_of_patients() -> None:
    random = np.random.default_rng(0)
    first, second = random.integers(0, 2, (2, 40)).astype(float)
    patients = [f"p{i}" for i in range(40)]
    expected = ttest_rel(first, second)
    found = Jackknife.of(patients).difference(share(first), share(second))
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.p == pytest.approx(expected.pvalue)
    assert found.ci95 == pytest.approx(tuple(expected.confidence_interval()))
    assert (found.value or 0) / (found.error or 1) == pytest.approx(expected.statistic)


def test_a_difference_is_paired() -> None:
    # One is right exactly where the other is, and once more for every patient: the difference is
    # 0.25 in every draw, however much either of them varies.
    random = np.random.default_rng(0)
    patients = np.repeat([f"p{i}" for i in range(20)], 4)
    first = random.integers(0, 2, 80).astype(float)
    first[::4] = 0
    second = first.copy()
    second[::4] = 1
    difference = Jackknife.of(patients.tolist()).difference(share(second), share(first))
    assert difference.value == pytest.approx(0.25)
    assert difference.ci95 == pytest.approx((0.25, 0.25))
    assert difference.p == pytest.approx(0)
    wide = Jackknife.of(patients.tolist()).interval(share(first))
    assert wide is not None and wide[1] - wide[0] > 0.1


def test_a_detector_compared_with_itself_differs_by_nothing() -> None:
    jackknife = Jackknife.of(list("pqrs"))
    same: dict[str, Measure] = Matched.of(FRAMES, FOUND).measures()
    for name, measure in MATCHED.measures().items():
        difference = jackknife.difference(measure, same[name])
        assert difference.value in (0, None)
        assert difference.ci95 in ((0, 0), None)
        assert difference.p in (1, None)


def test_holm_by_hand() -> None:
    # 0.01 x 4, 0.02 x 3, 0.03 x 2 is no smaller than the one before, and 0.5 x 1.
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([]) == []
