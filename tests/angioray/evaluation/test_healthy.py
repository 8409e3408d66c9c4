"""Healthy arteries: numbers worked out on paper, and a plain loop over patients."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from angioray.evaluation.detection import JudgedFrames, detector_metrics
from angioray.evaluation.healthy import FRAME_AUC, healthy_measures, healthy_metrics
from angioray.evaluation.measures import Draws
from tests.angioray.four_frames import CINES, FOUND, FRAMES, NOWHERE, TRUTH, A, B

SPECIFICITY = "healthy/specificity_patient@score0.50"

# Beside the four frames: two of cine e, the first silent, the second with two boxes that count, one
# of cine f with boxes that do not (score 0.5; in an area to ignore), and one of cine g, silent.
BESIDE = {5: "e", 6: "e", 7: "f", 8: "g"}
SAID = {
    6: (np.array([A, B, NOWHERE]), np.array([0.9, 0.6, 0.2])),
    7: (np.array([B, A]), np.array([0.8, 0.5])),
}
ALL = JudgedFrames(sequence=CINES | BESIDE, truth=TRUTH, ignored={7: np.array([B])})
# Cines e and g are of patient p, f of q, whose other artery in this view has a lesion.
HEALTHY = {5: "p", 6: "p", 7: None, 8: "p"}


def test_healthy_arteries_by_hand() -> None:
    assert healthy_metrics(ALL, FOUND | SAID, HEALTHY) == pytest.approx(
        {
            "healthy/false_boxes_per_frame@score0.50/max5": 2 / 4,
            "healthy/false_boxes_per_sequence@score0.50/max5": 2 / 3,
            "healthy/specificity_sequence@score0.50": 2 / 3,  # f and g
            SPECIFICITY: 0 / 1,  # p has boxes in cine e
            # best boxes: .9, .95, .7 and none against none, .9, .8 and none
            "AUC@frame": (3.5 + 4 + 2 + 1) / 16,
            "precision@IoU0.20/score0.50/max5/all_frames": 2 / (5 + 2),
            # .95 no, .9 yes and no, .8 no, .7 no, .6 yes and no, .5 no, .4 yes: with the best
            # precision from there on, 3 / 9 at recall 1/4, 2/4 and 3/4
            "AP@IoU0.20/all_frames": 76 / 101 / 3,
        }
    )


def test_boxes_on_healthy_arteries_change_nothing_of_the_papers_numbers() -> None:
    assert detector_metrics(FRAMES, FOUND | SAID) == detector_metrics(FRAMES, FOUND)


def test_without_healthy_frames_there_is_no_specificity_and_precision_is_the_papers() -> None:
    metrics = healthy_metrics(FRAMES, FOUND, {})
    assert {name for name, value in metrics.items() if value is None} == {
        name for name in metrics if name.startswith("healthy/") or name == FRAME_AUC
    }
    paper = detector_metrics(FRAMES, FOUND)
    for name in ("precision@IoU0.20/score0.50/max5", "AP@IoU0.20"):
        assert metrics[f"{name}/all_frames"] == paper[name]


@pytest.mark.parametrize("seed", range(20))
def test_specificity_is_what_a_plain_loop_over_drawn_patients_counts(seed: int) -> None:
    random = np.random.default_rng(seed)
    patients = {i: f"p{random.integers(6)}" for i in range(1, 25)}
    negative = {f"p{n}": bool(random.random() < 0.7) for n in range(6)}
    cines = {i: f"{patient}-{random.integers(3)}" for i, patient in patients.items()}
    scores = {i: random.uniform(0, 0.6, random.integers(4)).round(1) for i in patients}
    found = {i: (np.tile(A, (len(s), 1)), np.sort(s)[::-1]) for i, s in scores.items()}
    healthy = {i: patient if negative[patient] else None for i, patient in patients.items()}
    measures = healthy_measures(JudgedFrames(sequence=cines, truth={}), found, healthy)
    # Each patient counts as often as a draw has them.
    names = sorted(set(patients.values()))
    group = np.array([names.index(patients[i]) for i in sorted(patients)])
    times = random.integers(0, 3, len(names))
    draws = Draws(group=group, weights=times[None].astype(float))

    def speaks(frames: list[int]) -> bool:
        return any(score > 0.5 for i in frames for score in scores[i])

    for name, unit_of in (
        ("healthy/specificity_sequence@score0.50", cines),
        (SPECIFICITY, {i: p for i, p in patients.items() if negative[p]}),
    ):
        silent = total = 0
        for unit in set(unit_of.values()):
            frames = [i for i, of in unit_of.items() if of == unit]
            drawn = times[names.index(patients[frames[0]])]
            total += drawn
            silent += drawn * (not speaks(frames))
        (value,) = measures[name].values(draws)
        assert value == pytest.approx(silent / total if total else np.nan, nan_ok=True)


def test_lesion_or_none_is_ranked_as_scikit_learn_ranks_it_with_ties_and_silent_frames() -> None:
    random = np.random.default_rng(0)
    ids = range(60)
    scores = {i: random.integers(0, 5, random.integers(0, 4)) / 5 for i in ids}
    found = {i: (np.tile(A, (len(s), 1)), np.sort(s)[::-1]) for i, s in scores.items() if len(s)}
    frames = JudgedFrames(sequence={i: f"c{i}" for i in ids}, truth={i: np.array([B]) for i in ids})
    healthy = {i: f"p{i}" for i in range(0, 60, 3)}
    best = [max(scores[i], default=-1.0) for i in ids]
    expected = roc_auc_score([i not in healthy for i in ids], best)
    assert healthy_metrics(frames, found, healthy)[FRAME_AUC] == pytest.approx(expected)
