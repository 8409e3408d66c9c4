"""Scores of severity: the area under the ROC curve, and the shares at 0.5, computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_curve

from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.measures import Draws, value
from angioray.evaluation.severity import AreaUnderRoc, roc_curve, severity_measures

LIMITED = np.array([True, True, True, False, False])
SCORE = np.array([0.9, 0.6, 0.5, 0.6, 0.1])


def test_by_hand() -> None:
    found = {name: value(m, 5) for name, m in severity_measures(LIMITED, SCORE).items()}
    # Pairs: 0.9 is above both, 0.6 above one and equal to one, 0.5 above one. 0.5 is not above 0.5.
    assert found == pytest.approx(
        {
            "AUC": (2 + 1.5 + 1) / 6,
            "accuracy": 3 / 5,
            "NPV": 1 / 2,
            "PPV": 2 / 3,
            "sensitivity": 2 / 3,
            "specificity": 1 / 2,
            "majority": 3 / 5,
        }
    )


def test_one_side_alone_has_no_area() -> None:
    found = {name: value(m, 2) for name, m in severity_measures(~LIMITED[:2], SCORE[:2]).items()}
    assert found["AUC"] is found["sensitivity"] is found["NPV"] is None
    assert (found["specificity"], found["majority"]) == (0, 1)


rows = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=30)


@given(rows=rows.filter(lambda rows: len({limited for limited, _ in rows}) == 2))
def test_area_and_curve_are_those_of_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    limited, score = (np.array(column) for column in zip(*rows, strict=True))
    area = value(AreaUnderRoc(positive=limited, score=score), len(rows))
    assert area == pytest.approx(roc_auc_score(limited, score))
    false, found, _ = sklearn_curve(limited, score, drop_intermediate=False)
    np.testing.assert_allclose(roc_curve(limited, score), (false, found))


def test_a_draw_counts_a_patient_as_often_as_it_was_drawn() -> None:
    patients = ["a", "b", "b", "c", "d"]
    group = Jackknife.of(patients).draws.group
    drawn = np.random.default_rng(0).multinomial(4, np.full(4, 1 / 4), size=40)
    draws = Draws(group=group, weights=drawn.astype(float))
    areas = AreaUnderRoc(positive=LIMITED, score=SCORE).values(draws)
    for area, weights in zip(areas, drawn, strict=True):
        times = weights[group]
        limited, score = np.repeat(LIMITED, times), np.repeat(SCORE, times)
        both = 0 < limited.sum() < len(limited)
        expected = roc_auc_score(limited, score) if both else np.nan
        assert area == pytest.approx(expected, nan_ok=True)
