"""Matching: the paper's rule by hand, and against a few plain lines of Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angioray.evaluation.matching import (
    FloatArray,
    Matches,
    Predictions,
    Truth,
    box_iou,
    just_above,
    match_at_each,
    match_frames,
)


def boxes(*rows: tuple[float, float, float, float]) -> FloatArray:
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def test_an_iou_of_exactly_the_threshold_is_no_match() -> None:
    # 3 x 1 boxes that share one pixel: 1 / (3 + 3 - 1) = 0.2
    truth = {1: boxes((0, 0, 3, 1))}
    touching = {1: (boxes((2, 0, 5, 1)), np.array([0.9]))}
    closer = {1: (boxes((1.99, 0, 4.99, 1)), np.array([0.9]))}
    assert not match_frames(truth, touching, [1]).is_true_positive.any()
    assert match_frames(truth, closer, [1]).is_true_positive.all()


def test_a_lesion_is_found_once_by_the_highest_score() -> None:
    truth = {7: boxes((0, 0, 10, 10))}
    found = {7: (boxes((0, 0, 10, 8), (0, 0, 10, 10)), np.array([0.9, 0.8]))}
    matches = match_frames(truth, found, [7])
    assert matches.score.tolist() == [0.9, 0.8]
    assert matches.is_true_positive.tolist() == [True, False]
    assert matches.truth_index.tolist() == [0, -1]
    assert matches.rank.tolist() == [0, 1]


def test_a_detection_takes_the_lesion_it_overlaps_most() -> None:
    truth = {1: boxes((0, 0, 10, 10), (4, 0, 14, 10))}
    found = {1: (boxes((3, 0, 13, 10)), np.array([0.6]))}
    assert match_frames(truth, found, [1]).truth_index.tolist() == [1]


def test_frames_without_lesions_or_detections_are_counted() -> None:
    truth = {1: boxes((0, 0, 10, 10)), 9: boxes((0, 0, 5, 5))}
    found = {2: (boxes((0, 0, 10, 10)), np.array([0.7])), 8: (boxes((0, 0, 1, 1)), np.ones(1))}
    matches = match_frames(truth, found, [3, 2, 1])
    assert matches.frame_image_id.tolist() == [1, 2, 3]
    assert matches.frame_truths.tolist() == [1, 0, 0]
    assert matches.image_id.tolist() == [2]
    assert matches.frame_position.tolist() == [1]
    assert not matches.is_true_positive.any()


def test_nothing_at_all_gives_empty_arrays() -> None:
    matches = match_frames({}, {}, [1, 2])
    assert len(matches.score) == len(matches.image_id) == 0
    assert matches.frame_truths.tolist() == [0, 0]
    assert match_frames({}, {}, []).frame_truths.shape == (0,)


def test_a_repeated_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="Frame 4 is to be evaluated more than once"):
        match_frames({}, {}, [4, 4])


def test_equal_scores_keep_their_order_and_equal_overlaps_take_the_last() -> None:
    truth = {1: boxes((0, 0, 10, 10), (0, 0, 10, 10))}
    found = {1: (boxes((0, 0, 10, 9), (0, 0, 10, 10)), np.array([0.7, 0.7]))}
    matches = match_frames(truth, found, [1])
    assert matches.truth_index.tolist() == [1, 0]
    first = match_frames(truth, found, [1], max_detections=1)
    assert first.truth_index.tolist() == [1]


def test_boxes_without_area_overlap_nothing() -> None:
    assert box_iou(boxes((1, 1, 1, 5)), boxes((0, 0, 5, 5), (1, 1, 1, 5))).tolist() == [[0, 0]]


def test_the_best_of_a_matching_is_the_matching_of_the_best() -> None:
    truth, found = random_frames(np.random.default_rng(5), 50)
    best = match_frames(truth, found, found, max_detections=7).best(3)
    alone = match_frames(truth, found, found, max_detections=3)
    assert rows_of(best) == rows_of(alone)
    assert best.rank.tolist() == alone.rank.tolist()
    assert best.max_detections == 3


def iou(first: FloatArray, second: FloatArray) -> float:
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    if wide <= 0 or high <= 0:
        return 0.0
    area = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (first, second))
    return float(wide * high / (area - wide * high))


def matched_by_hand(
    truth: Truth, found: Predictions, image_ids: list[int], threshold: float, most: int
) -> list[tuple[int, float, int]]:
    """(frame, score, lesion or -1) of each kept detection; of equal overlaps the last lesion."""
    rows = []
    for image_id in sorted(image_ids):
        rectangles, scores = found.get(image_id, (boxes(), np.empty(0)))
        lesions = truth.get(image_id, boxes())
        free = set(range(len(lesions)))
        order = sorted(range(len(scores)), key=lambda i: -scores[i])[:most]
        for i in order:
            overlaps = [(iou(rectangles[i], lesions[g]), g) for g in sorted(free)]
            best = max(((o, g) for o, g in overlaps if o > threshold), default=(0.0, -1))
            free.discard(best[1])
            rows.append((image_id, float(scores[i]), best[1]))
    return rows


# Corners on a coarse grid of whole pixels: exact arithmetic, and plenty of equal overlaps.
box = st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(1, 5)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
score = st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9])
frame = st.tuples(st.lists(box, max_size=4), st.lists(st.tuples(box, score), max_size=7))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Truth, Predictions, list[int]]:
    frames = draw(st.dictionaries(st.integers(1, 50), frame, max_size=4))
    truth = {i: boxes(*lesions) for i, (lesions, _) in frames.items() if lesions}
    found = {
        i: (boxes(*[b for b, _ in detections]), np.array([s for _, s in detections]))
        for i, (_, detections) in frames.items()
        if detections
    }
    return truth, found, list(frames)


@settings(max_examples=150, deadline=None)
@given(cases(), st.sampled_from([0.2, 0.25, 0.5]), st.integers(1, 5))
def test_it_agrees_with_plain_greedy_matching(
    case: tuple[Truth, Predictions, list[int]], threshold: float, most: int
) -> None:
    truth, found, image_ids = case
    matches = match_frames(truth, found, image_ids, iou_above=threshold, max_detections=most)
    assert rows_of(matches) == matched_by_hand(truth, found, image_ids, threshold, most)
    assert (matches.is_true_positive == (matches.truth_index >= 0)).all()


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from([0.0, 0.3, 0.5]), st.integers(1, 5))
def test_stricter_thresholds_keep_a_prefix_of_the_matching(
    case: tuple[Truth, Predictions, list[int]], threshold: float, most: int
) -> None:
    truth, found, image_ids = case
    matches = match_frames(truth, found, image_ids)
    kept = matches.kept(score_above=threshold, max_detections=most)
    above = {i: (b[s > threshold], s[s > threshold]) for i, (b, s) in found.items()}
    alone = match_frames(truth, above, image_ids, max_detections=most)
    assert [row for row, keep in zip(rows_of(matches), kept, strict=True) if keep] == rows_of(alone)


def rows_of(matches: Matches) -> list[tuple[int, float, int]]:
    columns = (matches.image_id, matches.score, matches.truth_index)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def random_frames(
    random: np.random.Generator, frames: int
) -> tuple[dict[int, FloatArray], dict[int, tuple[FloatArray, FloatArray]]]:
    """Frames of up to five lesions and eight boxes, crowded; every second one on whole pixels."""
    truth, found = {}, {}
    for image_id in range(1, frames + 1):
        counts = random.integers(0, 6), random.integers(0, 9)
        corners = [random.uniform(0, 20, (count, 2)) for count in counts]
        sides = [random.uniform(1, 15, (count, 2)) for count in counts]
        scores = random.uniform(0, 1, counts[1])
        if image_id % 2:
            corners, sides = ([np.ceil(a) for a in many] for many in (corners, sides))
            scores = np.round(scores, 1)
        lesions, rectangles = (
            np.hstack([low, low + side]) for low, side in zip(corners, sides, strict=True)
        )
        truth[image_id], found[image_id] = lesions, (rectangles, scores)
    return truth, found


THRESHOLDS = [0.0, 0.2, 0.25, 0.5, 0.75, 0.95]
STRICT = [just_above(threshold) for threshold in THRESHOLDS]


@pytest.mark.parametrize("most", [1, 5, 8])
def test_thousands_of_random_frames_agree_with_plain_greedy_matching(most: int) -> None:
    truth, found = random_frames(np.random.default_rng(most), 2000)
    matched = match_at_each(truth, found, found, iou_thresholds=STRICT, max_detections=most)
    assert sum(matches.is_true_positive.sum() for matches in matched) > 1000
    for threshold, matches in zip(THRESHOLDS, matched, strict=True):
        assert rows_of(matches) == matched_by_hand(truth, found, list(found), threshold, most)


AREA = boxes((100, 0, 200, 100))


def test_a_box_in_an_ignored_area_is_neither_right_nor_false() -> None:
    truth = {1: boxes((0, 0, 10, 10))}
    found = {
        1: (
            boxes((100, 0, 110, 10), (0, 0, 10, 10), (190, 0, 210, 100), (50, 0, 60, 10)),
            np.array([0.9, 0.8, 0.7, 0.6]),
        )
    }
    (matches,) = match_at_each(
        truth, found, [1], iou_thresholds=[0.5], max_detections=5, ignored={1: AREA}
    )
    # The first lies in the area whole, the third by half of itself, which reaches the threshold.
    assert matches.score.tolist() == [0.8, 0.6]
    assert matches.is_true_positive.tolist() == [True, False]
    assert matches.truth_index.tolist() == [0, -1]
    assert matches.frame_truths.tolist() == [1]
    # Boxes are kept by their rank among all of the frame, as COCO has it.
    assert matches.rank.tolist() == [1, 3]
    assert matches.best(2).score.tolist() == [0.8]


def test_a_lesion_in_an_ignored_area_is_found_all_the_same() -> None:
    truth = {1: boxes((120, 20, 140, 40))}
    found = {1: (boxes((120, 20, 140, 40), (121, 20, 141, 40)), np.array([0.6, 0.9]))}
    (matches,) = match_at_each(
        truth, found, [1], iou_thresholds=[0.5], max_detections=5, ignored={1: AREA}
    )
    # The better score takes the lesion; the other is in the area, and not false.
    assert (matches.score.tolist(), matches.truth_index.tolist()) == ([0.9], [0])


def test_a_frame_of_nothing_but_an_ignored_area_holds_no_lesion() -> None:
    found = {2: (boxes((150, 50, 160, 60)), np.array([0.9]))}
    (matches,) = match_at_each(
        {}, found, [1, 2], iou_thresholds=[0.5], max_detections=5, ignored={1: AREA, 2: AREA}
    )
    assert matches.frame_truths.tolist() == [0, 0]
    assert matches.score.size == 0
