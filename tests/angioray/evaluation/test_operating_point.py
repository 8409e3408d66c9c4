"""The chosen score threshold: by hand, and never from the fold that it is used on."""

import numpy as np
import pytest

from angioray.evaluation.detection import Matched
from angioray.evaluation.operating_point import best_score, chosen_scores
from tests.angioray.four_frames import MATCHED, NOWHERE, A, judged


def fold(image_id: int, *boxes: tuple[tuple[float, ...], float]) -> Matched:
    found = {image_id: (np.array([b for b, _ in boxes]), np.array([s for _, s in boxes]))}
    return Matched.of(judged({image_id: np.array([A])}, image_id), found)


def test_the_best_f1_by_hand() -> None:
    # .95 no, .9 yes, .8 no, .7 no, .6 yes, .4 yes; 4 lesions. F1 after each:
    # 0/5, 2/6, 2/7, 2/8, 4/9, 6/10. The best is after .4, and nothing comes below it.
    assert best_score([MATCHED]) == pytest.approx(0.2)


def test_the_threshold_lies_midway_and_equals_come_together() -> None:
    # Right at .8; a right and a wrong one at .6 change 2/2 to 4/... over two lesions.
    one, two = fold(1, (A, 0.8), (NOWHERE, 0.3)), fold(2, (NOWHERE, 0.6), (A, 0.6))
    # After .8: 2/3; after both of .6: 4/5; after .3: 4/6.
    assert best_score([one, two]) == pytest.approx((0.6 + 0.3) / 2)


def test_of_equally_good_ones_the_highest() -> None:
    # After .9: 2/(2+1); after .7: 2/4; after .5: 4/(2+4), which is no better.
    folds = [fold(1, (A, 0.9), (NOWHERE, 0.7)), fold(2, (NOWHERE, 0.6), (A, 0.5))]
    assert 2 / 3 == 4 / 6
    assert best_score(folds) == pytest.approx((0.9 + 0.7) / 2)


def test_a_folds_own_frames_say_nothing() -> None:
    folds = {i: fold(i, (A, score), (NOWHERE, 0.1)) for i, score in enumerate((0.9, 0.5, 0.3), 1)}
    chosen = chosen_scores(folds)
    assert chosen == pytest.approx({1: (0.3 + 0.1) / 2, 2: (0.3 + 0.1) / 2, 3: (0.5 + 0.1) / 2})
    changed = folds | {3: fold(3, (NOWHERE, 0.99))}
    assert chosen_scores(changed)[3] == chosen[3]


def test_where_nothing_is_right_nothing_is_chosen() -> None:
    wrong = fold(1, (NOWHERE, 0.9))
    assert best_score([wrong]) is None
    assert best_score([]) is None
    assert chosen_scores({1: wrong}) == {1: None}
