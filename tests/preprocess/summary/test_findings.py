"""What a summary calculates from boxes, angles and intervals, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from preprocess.cohort import BoxSource, Verdict
from preprocess.cohort.display import Display
from preprocess.summary.anchors import AnchorAgreement, anchor_sides, best_iou, box_sides
from preprocess.summary.angles import angle_outliers
from preprocess.summary.figures import ifr_bins
from preprocess.summary.findings import findings
from preprocess.summary.intervals import aligned_phases, phase_shares
from tests.preprocess.drawn_cohort import box, placed, sequence, still, write_drawn


def test_the_anchors_are_the_papers() -> None:
    sides = anchor_sides()
    assert len(sides) == 5 * 12
    assert [32, 32] in sides.tolist()
    assert [16, 64] in sides.tolist(), "4:1 is four times as high as wide"
    assert np.isclose(sides, [32 * 2**0.5 * 2**0.5, 32 * 2**0.5 / 2**0.5]).all(axis=1).any()


def test_best_iou_by_hand() -> None:
    boxes = [(32, 32), (16, 16), (10, 12), (128, 4), (1024, 1024)]
    # 16 x 16 in 32 x 32: 256 / 1024. 10 x 12: 120 / 1024, for all the smallest have that area.
    # 128 x 4 against 90.5 x 45.3 (ratio 1:2, 64 px): 362 / (512 + 4096 - 362).
    wide = 90.5097 * 4
    by_hand = [1, 0.25, 120 / 1024, wide / (512 + 4096 - wide), 1]
    assert best_iou(np.array(boxes, float))[[0, 1, 2, 4]] == pytest.approx(
        [by_hand[i] for i in (0, 1, 2, 4)]
    )
    assert best_iou(np.array(boxes, float))[3] >= by_hand[3]


def test_best_iou_is_that_of_the_best_of_all_anchors() -> None:
    sides = np.random.default_rng(0).uniform(4, 700, (50, 2))
    for (width, height), best in zip(sides, best_iou(sides), strict=True):
        overlaps = []
        for w, h in anchor_sides():
            shared = min(width, w) * min(height, h)
            overlaps.append(shared / (width * height + w * h - shared))
        assert best == pytest.approx(max(overlaps))


def test_shares_of_boxes_without_an_anchor() -> None:
    sides = np.array([(32, 32), (32, 14), (21, 21), (16, 16)], float)
    # 32 x 14 against 45.25 x 22.63: 448 / 1024 = 0.4375. 21 x 21 against 32 x 32: 441 / 1024.
    fit = AnchorAgreement.of(sides)
    assert fit is not None
    assert (fit.boxes, fit.below_foreground, fit.below_background) == (4, 0.75, 0.25)
    assert fit.median_side_px == pytest.approx(math.sqrt((441 + 448) / 2))
    assert AnchorAgreement.of(np.empty((0, 2))) is None


def test_box_sides_are_scaled_per_axis_and_leave_lost_boxes_out(tmp_path: Path) -> None:
    drawn = write_drawn(
        tmp_path,
        [sequence("S1", "P1", "RCA")],
        [box("S1", 4, 1), box("S1", 5, 1, BoxSource.TRACKED, Verdict.LOST)],
    )
    assert box_sides(drawn.boxes, drawn.sequences).tolist() == [[512 * 10 / 32, 512 * 12 / 32]]


def test_a_left_view_where_only_right_ones_lie_is_named() -> None:
    right = [placed("RCA", 40 + i % 5, i // 5, f"R{i}") for i in range(10)]
    left = [placed("LCA", -30 + i % 5, -25 + i // 5, f"L{i}") for i in range(10)]
    wrong = placed("LCA", 42, 1, "wrong")
    assert angle_outliers([*right, *left]) == {}
    assert angle_outliers([*right, *left, wrong]) == {
        "wrong": "labelled LCA, but of 10 others within 10° of LAO 42 CRA 1, 10 are RCA"
    }


def test_few_neighbours_are_no_evidence() -> None:
    # Of 21, 11 are left: 4 neighbours happen not to be with probability (10 / 21)^4 = 0.051.
    right = [placed("RCA", 40 + i, 0, f"R{i}") for i in range(4)]
    more = [placed("RCA", 0, 30 + i, f"M{i}") for i in range(6)]
    left = [placed("LCA", -30 + i, -25, f"L{i}") for i in range(10)]
    assert angle_outliers([*right, *more, *left, placed("LCA", 42, 1, "doubtful")]) == {}
    fifth = placed("RCA", 44, 0, "R4")
    found = angle_outliers([*right, fifth, *more, *left, placed("LCA", 42, 1, "doubtful")])
    assert list(found) == ["doubtful"], "(11 / 22)^5 = 0.031"


def test_chance_is_binomial_and_bears_thousands() -> None:
    from preprocess.summary.angles import _out_of_place

    # P(at most 1 of 100 at a share of 0.05) = 0.95^100 + 100 * 0.05 * 0.95^99 = 0.0371.
    assert _out_of_place(1, 100, 0.05)
    assert not _out_of_place(1, 90, 0.05), "0.95^90 + 90 * 0.05 * 0.95^89 = 0.0567"
    assert not _out_of_place(3, 100, 0.5), "three of a hundred are too many"
    assert _out_of_place(100, 6000, 0.3)


def test_a_sequence_far_from_all_others_is_named() -> None:
    others = [placed("RCA", 40 + i, 0, f"R{i}") for i in range(5)]
    alone = placed("RCA", -80, 0, "alone")
    assert angle_outliers([*others, alone]) == {
        "alone": "RAO 80 CRA 0 is 120° from the nearest other sequence"
    }
    assert angle_outliers([alone]) == {}


@pytest.mark.parametrize("views", [("RCA", "RCA"), ("LCA", "RCA"), ("LCA", "LCA", "RCA")], ids=str)
def test_standard_projections_of_a_small_group_are_not_doubted(views: tuple[str, ...]) -> None:
    at = [(40.0, 0.0), (-30.0, 0.0), (-20.0, 30.0)]
    few = [placed(view, *at[n], f"S{n}") for n, view in enumerate(views)]
    assert angle_outliers(few) == {}
    # Nor where another view has many.
    many = [placed("LCx", 100 + i, -25, f"M{i}") for i in range(10)]
    assert angle_outliers([*few, *many]) == {}


def test_every_kind_of_finding(tmp_path: Path) -> None:
    tracked = BoxSource.TRACKED
    sequences = [
        replace(sequence("healthy", "P", "RCA", healthy=True), reference_frame=4),
        sequence("no_box", "P", "RCA"),
        sequence("lost", "P", "RCA"),
        sequence("half_lost", "P", "RCA"),
        replace(sequence("reference", "P", "RCA"), reference_frame=8),
        sequence("elsewhere", "P", "RCA"),
        replace(sequence("short", "P", "RCA"), vanishing_start=5),
        replace(
            sequence("unlabelled", "P", "RCA"),
            introducing_start=None,
            optimal_start=None,
            vanishing_start=None,
        ),
        replace(
            sequence("unfilled", "P", "RCA", healthy=True),
            introducing_start=None,
            optimal_start=None,
            vanishing_start=None,
            phases_proposed=True,
        ),
        sequence("view", "P", None),
        sequence("sound", "P", "RCA"),
        sequence("narrow", "P", "RCA"),
        replace(sequence("text", "P", "RCA", healthy=True), may_hold_text=True),
        replace(sequence("black", "P", "RCA", healthy=True), grey_range=3),
        replace(sequence("grey", "P", "RCA", healthy=True), grey_range=24),
        replace(
            sequence("window", "P", "RCA", healthy=True),
            display=Display(lower=400, upper=3600, replaces_header=True),
        ),
        replace(sequence("overlay", "P", "RCA", healthy=True), cleared_values=165),
    ]
    boxes = [
        box("healthy", 4, 1),
        *(box("lost", t, 2, tracked, Verdict.LOST, 0.1) for t in (5, 6)),
        *(box("lost", t, 2, tracked) for t in (3,)),
        *(box("lost", t, 3, tracked) for t in (3, 5, 6)),
        box("lost", 4, 2),
        box("half_lost", 4, 4),
        box("half_lost", 5, 4, tracked),
        box("half_lost", 6, 4, tracked, Verdict.LOST),
        box("reference", 8, 5),
        box("elsewhere", 5, 6),
        box("short", 4, 7),
        box("unlabelled", 4, 8),
        box("view", 4, 9),
        box("sound", 4, 10),
        replace(box("narrow", 4, 11), box_xyxy=(2, 3, 3, 31)),
    ]
    found = {f.kind: dict(f.sequences) for f in findings(write_drawn(tmp_path, sequences, boxes))}
    assert found == {
        "text": {
            "text": "letters seem to stand in its pixels; if they name a patient, exclude the cine"
        },
        "one_grey": {"black": "3 of 256 grey levels between their dark and their bright parts"},
        "display": {
            "window": "the header's own has hardly any contrast; this one is from the pixels"
        },
        "cleared": {
            "overlay": "165 values had bits beyond the 8 stored, an old overlay "
            "perhaps; look whether traces of it are left"
        },
        "view": {"view": "most others have one"},
        "healthy": {"healthy": "1 box"},
        "no_box": {"no_box": "draw its boxes, or label it as no_lesion"},
        "lost": {
            "lost": "2 of 6 tracked boxes are lost and not trained on",
            "half_lost": "1 of 2 tracked boxes are lost and not trained on",
        },
        "reference": {
            "reference": "frame 8 is outside the optimal 3 to 6",
            "elsewhere": "frame 4 has no box, other frames have",
        },
        "intervals": {"short": "optimal frames: 2 of 10"},
        "unlabelled": {"unlabelled": "most others have them"},
        "unfilled": {"unfilled": "perhaps it never came, or frames are too few"},
        "anchors": {"narrow": "16 x 448 px at 512 x 512, IoU under 0.4 with every one"},
    }


def test_stills_without_anything_give_no_finding(tmp_path: Path) -> None:
    assert findings(write_drawn(tmp_path, [still("A"), still("B")], [])) == []


def test_what_half_of_a_cohort_lacks_is_no_finding(tmp_path: Path) -> None:
    with_view = [sequence(f"A{i}", "P", "RCA", healthy=True) for i in range(2)]
    without = [sequence(f"B{i}", "P", None, healthy=True) for i in range(2)]
    assert findings(write_drawn(tmp_path, [*with_view, *without], [])) == []


def test_phase_shares_by_hand() -> None:
    # Ten frames with bounds 2, 3, 7, and five frames with bounds 1, 1, 5: no frame introduces,
    # none vanishes.
    short = replace(
        sequence("B", "P", "RCA"), length=5, introducing_start=1, optimal_start=1, vanishing_start=5
    )
    shares = phase_shares([sequence("A", "P", "RCA"), short])
    assert shares[:, 0].tolist() == [100, 0, 0, 0]
    assert shares[:, 25].tolist() == [0, 50, 50, 0]
    assert shares[:, 50].tolist() == [0, 0, 100, 0]
    assert shares[:, 99].tolist() == [0, 0, 50, 50]
    assert shares.sum(axis=0).tolist() == [100] * 100


def test_phases_are_aligned_at_the_first_optimal_frame() -> None:
    short = replace(
        sequence("B", "P", "RCA"), length=5, introducing_start=1, optimal_start=1, vanishing_start=5
    )
    begin, numbers = aligned_phases([sequence("A", "P", "RCA"), short])
    gap = float("nan")
    assert begin == 3
    np.testing.assert_array_equal(
        numbers,
        [[0, 0, 1, 2, 2, 2, 2, 3, 3, 3], [gap, gap, 0, 2, 2, 2, 2, gap, gap, gap]],
    )


@pytest.mark.parametrize(
    "values",
    [[0.89], [0.87, 0.89, 0.91], [0.5, 1.0], [0.95, 1.2], [0.2, 0.3], [0.8900001]],
    ids=str,
)
def test_every_ifr_has_a_bar_on_its_side_of_the_threshold(values: list[float]) -> None:
    bins = ifr_bins(values, 0.89)
    counts, _ = np.histogram(values, bins)
    below = np.array(bins)[1:] <= 0.89 + 2e-9
    assert counts.sum() == len(values)
    assert counts[below].sum() == sum(value <= 0.89 for value in values)
