"""The page of a sweep: what it says of small sweeps, computed by hand, and of unfinished ones."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from angioray.report.page import plain_table
from preprocess.cohort import phantom_notice
from tests.hostile_names import HOSTILE, words_of
from tests.tune.synthetic_sweep import (
    PAPER,
    detector_document,
    detector_sweep,
    population,
    row,
    view_sweep,
    write_sweep,
)
from tune.page.importance import importance
from tune.page.parameters import parameters, shown
from tune.page.sweep import Sweep
from tune.page.tables import cost_table, failed_table, trials_table
from tune.page.words import headline, notices
from tune.page.writing import write_page

RATE, ALPHA = "detector.optimiser.learning_rate", "detector.focal_alpha"
OTHER = {**PAPER, RATE: 0.002, ALPHA: 0.5}


def four_trials(folder: Path) -> Sweep:
    """One trial to the end besides trial 0, one stopped that was luckier, and one that failed."""
    trials = [
        row(0, "finished", PAPER, [[100, 0.2], [300, 0.3], [900, 0.4]], origin="paper's settings"),
        row(1, "stopped", OTHER, [[100, 0.1], [300, 0.9]], seconds=5),
        row(2, "finished", OTHER, [[100, 0.3], [300, 0.5], [900, 0.65]], seconds=20),
        row(3, "failed", OTHER, [], seconds=2.4, reason="Loss <b>nan</b> & gone"),
    ]
    return Sweep.open(write_sweep(folder, detector_document(4), trials))


def test_the_best_was_trained_to_the_end(tmp_path: Path) -> None:
    sweep = four_trials(tmp_path)
    assert sweep.best is not None and sweep.best.number == 2
    assert not sweep.is_unfinished


def test_what_is_said_on_top(tmp_path: Path) -> None:
    sweep = four_trials(tmp_path)
    searched, seen, best, cost = headline(sweep, parameters(sweep))
    assert searched == (
        "Searched settings of the RCA detector, variant B: focal alpha, focal gamma, learning "
        "rate, weight decay, zoom, anchors. After 100 and 300 of 900 steps about one trial in 3 "
        "went on, the best so far."
    )
    assert seen == (
        "Trials were trained on 92 sequences of 36 patients and scored on 23 sequences of 9 "
        "patients, all from the training part of outer fold 0. No trial has seen the 28 sequences "
        "of 11 patients that fold 0 holds out."
    )
    assert best == (
        "The best is trial 2 with AP@IoU0.20 0.650, 0.250 more than trial 0 (paper's settings: "
        "0.400)."
    )
    # 900 + 300 + 900 of 4 x 900 steps; 10 + 5 + 20 + 2.4 s.
    assert cost == (
        "4 trials took 2,100 steps, 58 % of what training each to the end takes, and 37 s of "
        "computing."
    )
    flattered, failed = notices(sweep)
    assert "highest of many on the same 9 patients" in flattered
    assert failed == "1 trial failed; the reasons are below the table of all trials."


def test_costs_by_hand(tmp_path: Path) -> None:
    assert [r.cells for r in cost_table(four_trials(tmp_path)).rows] == [
        ("finished", "2", "1,800", "100 %", "30 s"),
        ("stopped", "1", "300", "33 %", "5 s"),
        ("failed", "1", "0", "0 %", "2 s"),
        ("all", "4", "2,100", "58 %", "37 s"),
    ]


def test_operations_by_hand(tmp_path: Path) -> None:
    four_trials(tmp_path)
    assert "Operations" not in _html(tmp_path) and "trainings of trial 0" not in _html(tmp_path)
    rows = json.loads((tmp_path / "trials.json").read_text())
    for trial, cost in zip(rows, (1.0, 3.0, 0.5, 2.25), strict=True):
        trial["cost"] = cost
    sweep = Sweep.open(write_sweep(tmp_path, detector_document(4) | {"most_cost": 3}, rows))
    # 900 steps; 300 of three times the cost; 900 of half the cost; none: over 900.
    assert [r.cells for r in cost_table(sweep).rows] == [
        ("finished", "2", "1,800", "100 %", "1.5", "30 s"),
        ("stopped", "1", "300", "33 %", "1.0", "5 s"),
        ("failed", "1", "0", "0 %", "0.0", "2 s"),
        ("all", "4", "2,100", "58 %", "2.5", "37 s"),
    ]
    table = trials_table(sweep, parameters(sweep))
    assert table.columns[3:6] == ("Steps", "Cost", "Time")
    assert [r.cells[:1] + r.cells[4:5] for r in table.rows] == [
        ("2", "0.5"),
        ("0", "1"),
        ("1", "3"),
        ("3", "2.25"),
    ]
    page = unescape(_html(tmp_path))
    assert "58 % of what training each to the end takes, the operations of 2.5 trainings" in page
    assert "Nothing was tried that costs more than 3 times trial 0." in page
    assert "What each trial cost: operations, in whole trainings of trial 0" in page


def test_all_trials_are_listed_the_best_first(tmp_path: Path) -> None:
    sweep = four_trials(tmp_path)
    rows = trials_table(sweep, parameters(sweep)).rows
    assert [r.cells[:3] for r in rows] == [
        ("2", "finished, best", "0.650"),
        ("0", "finished", "0.400"),
        ("1", "stopped", "0.900"),
        ("3", "failed", "–"),
    ]
    (reason,) = failed_table(sweep.of_state("failed")).rows
    assert reason.cells == ("3", "Loss <b>nan</b> & gone")
    page = Path(write_page(tmp_path)).read_text("utf-8")
    assert "Loss &lt;b&gt;nan&lt;/b&gt; &amp; gone" in page


def test_scores_are_compared_at_a_rung_that_half_of_the_trials_reached(tmp_path: Path) -> None:
    sweep = four_trials(tmp_path)
    assert sweep.comparison_rung == 900  # two of the three that were judged
    trials = [
        row(n, "stopped", PAPER, [[100, n / 10], *([[300, 0.9]] if n < 2 else [])])
        for n in range(5)
    ]
    fewer = Sweep.open(write_sweep(tmp_path / "fewer", detector_document(5), trials))
    assert fewer.comparison_rung == 100
    assert [score for _, score in fewer.comparable()] == [0, 0.1, 0.2, 0.3, 0.4]


def random_trials(count: int, score_of: str) -> list[dict[str, Any]]:
    random = np.random.default_rng(5)
    trials = []
    for number in range(count):
        params = {RATE: float(10 ** random.uniform(-5, -2)), ALPHA: float(random.uniform(0.1, 0.9))}
        score = {RATE: -np.log10(params[RATE]) / 5, ALPHA: params[ALPHA], "": 0.5}[score_of]
        if number % 2:
            params["detector.augmentation.zoom"] = 0.1
        trials.append(row(number, "finished", params, [[900, float(score)]]))
    return trials


def weighed(folder: Path, trials: list[dict[str, Any]]) -> dict[str, float] | str:
    sweep = Sweep.open(write_sweep(folder, detector_document(len(trials)), trials))
    return importance(sweep, parameters(sweep))


@pytest.mark.parametrize("decisive", [RATE, ALPHA])
def test_the_setting_that_decides_is_the_important_one(tmp_path: Path, decisive: str) -> None:
    shares = weighed(tmp_path, random_trials(30, decisive))
    assert isinstance(shares, dict)
    assert shares[decisive] > 0.9
    assert set(shares) == {RATE, ALPHA}  # half of the trials have no zoom
    assert shares == weighed(tmp_path, random_trials(30, decisive))
    words = unescape(Path(write_page(tmp_path)).read_text("utf-8"))
    assert "Not weighed, for they do not vary in every trial: focal gamma" in words


def test_importance_is_not_made_of_noise(tmp_path: Path) -> None:
    assert "9 trials were judged at the same rung" in str(
        weighed(tmp_path / "few", random_trials(9, RATE))
    )
    assert "the same score" in str(weighed(tmp_path / "equal", random_trials(12, "")))


def test_settings_as_people_read_them(tmp_path: Path) -> None:
    values = [0.25, 2.0, 0.00211, 2.42e-5, 1e-6, 0, True, "sgd", [96], [224, 512], 123456.0, None]
    assert list(map(shown, values)) == [
        *("0.25", "2", "0.00211", "2.42 × 10⁻⁵", "1 × 10⁻⁶", "0", "True", "sgd", "96", "224, 512"),
        *("1.23 × 10⁵", "none"),
    ]
    document = detector_document(1)
    document["space"] = {
        RATE: {"low": 1e-4, "high": 1e-2, "log": True},
        "detector.optimiser.name": {"choices": ["adam", "sgd"]},
        "detector.optimiser.momentum": {
            "low": 0.5,
            "high": 0.9,
            "when": {"detector.optimiser.name": ["sgd"]},
        },
        "detector.anchors": {"choices": {"paper": {"ratios": [1.0]}, "small": {"ratios": [2.0]}}},
    }
    params = {RATE: 1e-5, "detector.optimiser.name": "adam", "detector.anchors": "paper"}
    trials = [row(0, "running", params, [])]
    sweep = Sweep.open(write_sweep(tmp_path, document, trials))
    rate, name, momentum, anchors = parameters(sweep)
    # Trial 0 lies outside of the space: the axis reaches to it.
    assert rate.range == "1 × 10⁻⁵ to 0.01, logarithmic"
    assert rate.position({RATE: 1e-5}) == 0
    assert rate.position({RATE: 1e-4}) == pytest.approx(1 / 3)
    assert (name.label, name.range) == ("optimiser name", "adam, sgd")
    assert momentum.condition == "name is sgd"
    assert momentum.position(params) is None and momentum.shown(sweep.base) == "–"
    assert anchors.range == "paper, small"


def test_a_sweep_that_has_just_begun(tmp_path: Path) -> None:
    sweep = Sweep.open(view_sweep(tmp_path))
    assert sweep.best is None and sweep.is_unfinished
    unfinished, no_best = notices(sweep)
    assert "1 of 12 trials have ended and 2 are under way" in unfinished
    assert "no best one yet" in no_best
    words = unescape(Path(write_page(tmp_path)).read_text("utf-8"))
    assert "Sweep of the view classifier" in words
    assert "2 trials were judged at the same rung, and with fewer than 10" in words
    assert "focal" not in words.partition("<main")[2]
    assert "best.yaml" not in words


def test_before_the_first_trial_there_is_a_page(tmp_path: Path) -> None:
    view_sweep(tmp_path)
    (tmp_path / "trials.json").unlink()
    words = Path(write_page(tmp_path)).read_text("utf-8")
    assert "0 of 12 trials have ended" in words
    assert "How the search went" not in words


def test_without_gamma_there_is_no_map_and_a_word_of_it(tmp_path: Path) -> None:
    trials = random_trials(12, RATE)
    words = Path(write_page(write_sweep(tmp_path, detector_document(12), trials))).read_text(
        "utf-8"
    )
    assert 'id="focal"' not in words
    assert "There is no map of focal alpha and gamma" in words


def test_trial_0_as_the_best_is_said(tmp_path: Path) -> None:
    trials = [row(0, "finished", PAPER, [[900, 0.5]], origin="paper's settings")]
    sweep = Sweep.open(write_sweep(tmp_path, detector_document(1), trials))
    assert headline(sweep, parameters(sweep))[2] == (
        "The best is trial 0 with AP@IoU0.20 0.500: paper's settings, which nothing has surpassed."
    )
    assert "The best trial beside trial 0" not in Path(write_page(tmp_path)).read_text("utf-8")


def test_a_population_shows_the_course_of_its_learning_rates(tmp_path: Path) -> None:
    page = unescape(Path(write_page(population(tmp_path / "sweep"))).read_text())
    assert "After each of 3 parts of the training but the last, the worst 34% of the" in page
    assert "Population based training" in page
    assert "The learning rates that the weights of each member have seen" in page
    assert "0.004; 0.005 from 33 %" in page and "Which settings mattered" not in page
    other = Path(write_page(detector_sweep(tmp_path / "other"))).read_text()
    assert "The learning rates that" not in other


def test_patients_on_both_sides_are_said(tmp_path: Path) -> None:
    document = detector_document(1)
    document["seen"] = {
        **document["seen"],
        "outer": {"patients": 11, "sequences": 28, "patients_also_inside": 4},
    }
    sweep = Sweep.open(write_sweep(tmp_path, document, []))
    assert any(said.startswith("4 patients of outer fold 0 have other") for said in notices(sweep))


def test_the_same_files_give_the_same_page(tmp_path: Path) -> None:
    folder = detector_sweep(tmp_path / "sweep")
    first = Path(write_page(folder)).read_bytes()
    assert Path(write_page(folder)).read_bytes() == first
    assert b"://" not in first.replace(b"http://www.w3.org", b"")


def test_what_is_no_sweep_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no sweep: it has no sweep\.json"):
        write_page(tmp_path)
    four_trials(tmp_path)
    rows = json.loads((tmp_path / "trials.json").read_text())
    for damage in ('[{"number": 0}]', json.dumps([{**rows[0], "state": "asleep"}])):
        (tmp_path / "trials.json").write_text(damage)
        with pytest.raises(ValueError, match=r"trials\.json is no longer what was written"):
            write_page(tmp_path)
    (tmp_path / "trials.json").write_text("[{")
    with pytest.raises(ValueError, match=r"trials\.json is damaged"):
        write_page(tmp_path)
    (tmp_path / "sweep.json").write_text('{"schema_version": 99}')
    with pytest.raises(ValueError, match="schema version 99; this version reads 2"):
        write_page(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_numbers_with_powers_of_ten_stand_flush_right() -> None:
    table = plain_table("t", "T", ("a", "b"), [("2.42 × 10⁻⁵", "1"), ("0.001", "1 × x")])
    assert table.is_right == (True, False)


def test_a_sweep_over_phantoms_says_so(tmp_path: Path) -> None:
    document = detector_document(4)
    assert "Phantom data" not in _html(write_sweep(tmp_path / "unknown", document, []))
    document["cohort"] = {"sequences": 143, "phantoms": 143}
    assert phantom_notice(143, 143) in _html(write_sweep(tmp_path / "known", document, []))


def _html(folder: Path) -> str:
    return Path(write_page(folder)).read_text()


def test_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    html, tex = HOSTILE
    document = detector_document(2)
    document["space"] = {
        RATE: {"low": 1e-4, "high": 1e-2, "log": True},
        "detector.weights": {"choices": [html, tex]},
    }
    trials = [
        row(0, "finished", {RATE: 1e-3, "detector.weights": html}, [[900, 0.5]], origin=html),
        row(1, "finished", {RATE: 2e-3, "detector.weights": tex}, [[900, 0.6]], origin=tex),
        row(2, "failed", {RATE: 2e-3, "detector.weights": tex}, [], reason=html),
    ]
    page = Path(write_page(write_sweep(tmp_path, document, trials))).read_text()
    words = words_of(page)
    assert all(words.count(name) >= 4 for name in HOSTILE)
    assert "$\\mathdefault" not in words
