"""Reader against reader: six sequences counted by hand, what is undefined, and kappa."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from angioray.evaluation.agreement import (
    ANY_LESION,
    ANY_LESION_KAPPA,
    AT_LEAST_ONE,
    F1,
    MEAN_IOU,
    PRECISION,
    RECALL,
    SAME_VIEW,
    SAME_VIEW_KAPPA,
    Agreement,
    Kappa,
    Reading,
    agreements,
)
from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.measures import value
from tests.angioray.four_frames import A, B

NEAR_A = (2.0, 0.0, 12.0, 10.0)
"""Overlaps A by 80 of 120 square pixels."""


def reading(
    patient_id: str, view: str | None, *boxes: tuple[float, ...], known: bool = True
) -> Reading:
    return Reading(
        patient_id=patient_id,
        view=view,
        has_lesion=bool(boxes),
        boxes_xyxy=np.array(boxes, dtype=float).reshape(-1, 4) if known else None,
    )


# Sequence:   s1        s2        s3        s4        s5                   s6        s7
# one:        A         A, B      nothing   nothing   A                    A         A
# two:        A         near A    A         nothing   somewhere else       nothing   not read
# views:      RCA RCA   LCA LCA   RCA LCA   LCA LCA   RCA RCA              LCA none
ONE = {
    "s1": reading("p1", "RCA", A),
    "s2": reading("p1", "LCA", A, B),
    "s3": reading("p2", "RCA"),
    "s4": reading("p2", "LCA"),
    "s5": reading("p3", "RCA", A),
    "s6": reading("p3", "LCA", A),
    "s7": reading("p4", "LCA", A),
}
TWO = {
    "s1": reading("p1", "RCA", A),
    "s2": reading("p1", "LCA", NEAR_A),
    "s3": reading("p2", "LCA", A),
    "s4": reading("p2", "LCA"),
    "s5": reading("p3", "RCA", A, known=False),
    "s6": reading("p3", None),
}


def between(truth: str, reader: str, view: str) -> Agreement:
    (found,) = (
        pair
        for pair in agreements({"one": ONE, "two": TWO})
        if (pair.truth, pair.reader, pair.view) == (truth, reader, view)
    )
    return found


def test_six_sequences_counted_by_hand() -> None:
    found = between("one", "two", "all")
    assert (found.sequences, found.patients, found.frames) == (6, 3, 5)
    values = {name: agreed.value for name, agreed in found.metrics.items()}
    assert values == {
        AT_LEAST_ONE: pytest.approx(2 / 3),  # s1 and s2, of s1, s2 and s6
        RECALL: pytest.approx(2 / 4),
        PRECISION: pytest.approx(2 / 3),
        F1: pytest.approx(2 * 2 / (4 + 3)),
        MEAN_IOU: pytest.approx((1 + 80 / 120) / 2),
        ANY_LESION: pytest.approx(4 / 6),  # s1, s2, s4 and s5
        # Each says yes to 4 of 6: chance is (4 * 4 + 2 * 2) / 36.
        ANY_LESION_KAPPA: pytest.approx((4 / 6 - 20 / 36) / (1 - 20 / 36)),
        SAME_VIEW: pytest.approx(4 / 5),  # all but s3; s6 has no view
        # RCA is said to 3 of 5 by one, to 2 of 5 by the other.
        SAME_VIEW_KAPPA: pytest.approx((4 / 5 - 12 / 25) / (1 - 12 / 25)),
    }


def test_the_other_way_round_recall_and_precision_change_places() -> None:
    found, turned = between("one", "two", "all"), between("two", "one", "all")
    assert turned.metrics[RECALL].value == pytest.approx(2 / 3)
    assert turned.metrics[PRECISION].value == pytest.approx(2 / 4)
    for name in (F1, MEAN_IOU, ANY_LESION, ANY_LESION_KAPPA, SAME_VIEW, SAME_VIEW_KAPPA):
        assert turned.metrics[name].value == pytest.approx(found.metrics[name].value), name


def test_each_view_by_itself_as_the_first_reader_names_it() -> None:
    found = between("one", "two", "RCA")  # s1, s3 and s5
    assert (found.sequences, found.patients, found.frames) == (3, 3, 2)
    assert found.metrics[RECALL].value == 1
    assert found.metrics[PRECISION].value == pytest.approx(1 / 2)
    assert SAME_VIEW not in found.metrics
    assert between("two", "one", "RCA").sequences == 2  # the second names it for s1 and s5 alone


def test_mean_iou_takes_each_box_with_the_lesion_that_it_found() -> None:
    """In whatever order the boxes are listed; a box on nothing enters precision alone."""
    one = {"s1": reading("p1", None, A, B)}
    two = {"s1": reading("p1", None, B, (80.0, 0.0, 90.0, 10.0), NEAR_A)}
    pair = next(agreements({"one": one, "two": two}))
    assert pair.metrics[MEAN_IOU].value == pytest.approx((1 + 80 / 120) / 2)
    assert pair.metrics[PRECISION].value == pytest.approx(2 / 3)


def test_intervals_are_of_patients_and_keep_to_the_limits() -> None:
    # The readers agree on all lesions of five patients, and on none of the other five: an interval
    # as of nine independent answers, by Student's t of nine degrees of freedom (2.262).
    one = {f"s{i}": reading(f"p{i % 10}", "RCA", A) for i in range(40)}
    two = {f"s{i}": reading(f"p{i % 10}", "RCA", A if i % 2 else B) for i in range(40)}
    both = next(agreements({"one": one, "two": two}))
    assert both.metrics[RECALL].value == pytest.approx(1 / 2)
    half = 2.26216 / 2 / np.sqrt(9 + 2.26216**2)
    assert both.metrics[RECALL].ci95 == pytest.approx((0.5 - half, 0.5 + half), abs=1e-5)
    for name, agreed in both.metrics.items():
        if agreed.value is not None and agreed.ci95 is not None:
            assert agreed.ci95[0] <= agreed.value <= agreed.ci95[1] <= 1 + 1e-12, name


def test_one_patient_has_values_and_no_intervals() -> None:
    pair = next(agreements({"one": {"s1": ONE["s1"]}, "two": {"s1": TWO["s1"]}}))
    assert (pair.view, pair.sequences, pair.patients) == ("RCA", 1, 1)
    assert pair.metrics[RECALL].value == pair.metrics[MEAN_IOU].value == 1
    assert all(agreed.ci95 is None for agreed in pair.metrics.values())


def test_without_any_box_metrics_of_boxes_are_undefined() -> None:
    nothing = {name: reading(f"p{name}", None) for name in ("s1", "s2", "s3")}
    pair = next(agreements({"one": nothing, "two": nothing}))
    assert pair.metrics[ANY_LESION].value == 1
    for name in (AT_LEAST_ONE, RECALL, PRECISION, F1, MEAN_IOU, ANY_LESION_KAPPA, SAME_VIEW):
        assert pair.metrics[name].value is None and pair.metrics[name].ci95 is None, name


def test_a_reader_who_read_nothing_is_compared_with_nobody() -> None:
    found = list(agreements({"one": ONE, "nobody": {}, "two": TWO}))
    assert {(pair.truth, pair.reader) for pair in found} == {("one", "two"), ("two", "one")}
    assert list(agreements({"one": ONE})) == []


def test_who_says_nothing_of_lesions_is_compared_by_view_alone() -> None:
    unlabelled = {
        name: Reading(patient_id=said.patient_id, view=said.view, has_lesion=None, boxes_xyxy=None)
        for name, said in ONE.items()
    }
    *_, pair = agreements({"two": TWO, "cohort": unlabelled})
    assert (pair.view, pair.frames) == ("all", 0)
    assert pair.metrics[RECALL].value is None and pair.metrics[ANY_LESION].value is None
    assert pair.metrics[SAME_VIEW].value == pytest.approx(4 / 5)


def test_kappa_is_that_of_scikit_learn_in_every_draw() -> None:
    random = np.random.default_rng(0)
    first = random.integers(0, 3, 40)
    second = np.where(random.random(40) < 0.6, first, random.integers(0, 3, 40))
    answered = random.random(40) < 0.9
    kappa = Kappa(np.where(answered, first, -1), np.where(answered, second, -1))
    expected = cohen_kappa_score(first[answered], second[answered])
    assert value(kappa, 40) == pytest.approx(expected)
    draws = Jackknife.of([str(i) for i in range(40)]).draws
    # Patients are numbered in the order of their names.
    for got, weights in zip(kappa.values(draws), draws.weights[:, draws.group], strict=True):
        listed = np.repeat(np.arange(40), weights.astype(int) * answered)
        assert got == pytest.approx(cohen_kappa_score(first[listed], second[listed]))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 1, 0, 1], [0, 1, 0, 1], 1),
        ([0, 1, 0, 1], [1, 0, 1, 0], -1),
        ([0, 0, 1, 1], [0, 1, 0, 1], 0),
        ([1, 1, 1], [1, 1, 1], None),
        ([-1, -1], [-1, -1], None),
    ],
)
def test_kappa_at_its_ends(first: list[int], second: list[int], expected: float | None) -> None:
    assert value(Kappa(np.array(first), np.array(second)), len(first)) == expected
