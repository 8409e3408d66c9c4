"""Spaces: every mistake of a file at once, conditions, wholes, and the settings that come out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from angioray import CONFIGS
from angioray.models.settings import AnchorSettings
from angioray.study.settings import StudySettings, settings_from_dict
from tests.angioray.settings import TOY
from tune.space.space import AS_CONFIGURED, Space
from tune.space.space_file import SPACES, read_space, refusals


def space_of(tmp_path: Path, text: str, base: StudySettings = TOY, task: str = "detector") -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return read_space(path, base, task)


def problems(tmp_path: Path, text: str, task: str = "detector") -> list[str]:
    with pytest.raises(ValueError, match="cannot be searched") as caught:
        space_of(tmp_path, text, task=task)
    return str(caught.value).split("\n  - ")[1:]


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        """\
detector.focal_alhpa: {low: 0, high: 1}
detector.focal_gamma: {low: 3, high: 1}
detector.optimiser.learning_rate: {low: 0, high: 1e-2, log: true}
detector.optimiser.momentum: {low: 0.8, high: 0.9, when: {detector.optimiser.nam: sgd}}
detector.optimiser.name: {choices: [sgd, adam]}
detector.optimiser.warmup_steps: {low: 0.5, high: 10}
detector.optimiser.weight_decay: {low: 0, high: 1, steps: 3}
detector.steps: {low: 1, high: 4}
detector.judged_frames: {choices: [reference, optimal]}
detector.smooth_l1_beta: 0.5
detector.box_weight: {choices: [1.0]}
view.frozen_epochs: {low: 0, high: 3}
detector.anchors: {choices: {a: {ratios: [1.0]}, b: {ratios: [2.0]}}}
detector.anchors.base_size_strides: {low: 2.0, high: 4.0}
""",
    )
    assert said == [
        "detector.focal_alhpa: there is no such setting; the nearest is detector.focal_alpha",
        "detector.focal_gamma: low is 3, expected less than high, which is 1",
        "detector.optimiser.learning_rate: low is 0, expected more than 0 for a log scale",
        "detector.optimiser.warmup_steps: the setting is a whole number, expected whole low, high "
        "and step",
        "detector.optimiser.weight_decay: unknown steps; known are choices, of, when, high, log, "
        "low, points, step",
        "detector.steps: it sets what a trial may cost, which is the same for all; set it in "
        "--config",
        "detector.judged_frames: it decides what trials are judged on, which is the same for all",
        "detector.smooth_l1_beta: found 0.5, expected {low: .., high: ..} or {choices: [..]}",
        "detector.box_weight: choices are [1.0], expected two or more",
        "view.frozen_epochs: it changes nothing here: only settings under detector. make a "
        "difference",
        "detector.anchors.base_size_strides: it is part of detector.anchors, which is searched as "
        "a whole; leave one of them out",
        "detector.optimiser.momentum: its condition names detector.optimiser.nam, which is not "
        "searched; the nearest is detector.optimiser.name",
    ]


def test_conditions_that_cannot_be(tmp_path: Path) -> None:
    circle = """\
detector.optimiser.name: {choices: [sgd, adam], when: {detector.optimiser.decay: none}}
detector.optimiser.decay: {choices: [none, cosine], when: {detector.optimiser.name: sgd}}
"""
    assert "conditions go in a circle" in problems(tmp_path, circle)[0]
    said = problems(
        tmp_path,
        """\
detector.optimiser.name: {choices: [sgd, adam], when: [detector.focal_alpha]}
detector.optimiser.momentum: {low: 0.8, high: 0.9, when: {detector.optimiser.name: sdg}}
detector.optimiser.weight_decay: {low: 0.8, high: 0.9, when: {detector.focal_alpha: 0.1}}
detector.focal_alpha: {low: 0.1, high: 0.9}
""",
    )
    assert "expected {other setting: its value}" in said[0]
    assert "wants detector.optimiser.name to be sdg, which is none of its choices" in said[1]
    assert "names detector.focal_alpha, which has a range" in said[2]


def test_what_the_settings_refuse_is_refused_before_anything_runs(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        """\
detector.optimiser.name: {choices: [sgd, adamm]}
detector.optimiser.momentum: {low: 0.8, high: 1.2, when: {detector.optimiser.name: sgd}}
detector.anchors:
  choices: {whole: {ratios: [1.0], scales: [1.0]}, broken: {ratios: [0.5], scales: [-1]}}
""",
    )
    assert len(said) == 3
    assert "adamm" in said[0] and "expected sgd, adam or adamw" in said[0]
    assert "scales[0] is -1; it must be above 0" in said[1] and "anchors broken" in said[1]
    assert "detector.optimiser.momentum is 1.2; it must be 0 or more and below 1" in said[2]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("detector.nms_iou: {low: 0.3, high: 7}", "detector.nms_iou is 7; it must be from 0 to 1"),
        ("detector.focal_alpha: {low: -3, high: 0.5}", "detector.focal_alpha is -3; it must be"),
        (
            "detector.max_predictions: {choices: [3, 100]}",
            "max_predictions is 3; it must be",
        ),
        ("detector.optimiser.warmup_steps: {low: -5, high: 5}", "warmup_steps is -5; it must be 0"),
    ],
)
def test_a_space_of_values_out_of_range_is_refused(tmp_path: Path, line: str, said: str) -> None:
    assert said in problems(tmp_path, line)[0]


def test_two_settings_that_do_not_fit_together_are_found_before_a_trial_has_both(
    tmp_path: Path,
) -> None:
    # Each fits beside the base (0.5 and 0.4), and so do both lows and both highs.
    (said,) = problems(
        tmp_path,
        """\
detector.foreground_iou: {low: 0.4, high: 0.6}
detector.background_iou: {low: 0.3, high: 0.5}
""",
    )
    assert said == (
        "the settings refuse detector.foreground_iou 0.4, detector.background_iou 0.5: "
        "detector.background_iou is 0.5; it must be at most foreground_iou, which is 0.4."
    )


def test_numbers_that_yaml_takes_for_words_are_numbers(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        """\
detector.optimiser.learning_rate: {low: 1e-5, high: 1e-1, log: true}
detector.optimiser.weight_decay: {choices: [0, 1e-4]}
""",
    )
    assert space.settings({"detector.optimiser.weight_decay": 1e-4}).detector.optimiser == replace(
        TOY.detector.optimiser, weight_decay=1e-4
    )
    assert space.of_base() == {
        "detector.optimiser.learning_rate": 1e-2,
        "detector.optimiser.weight_decay": TOY.detector.optimiser.weight_decay,
    }
    assert not space.holds(space.of_base()), "4e-4 is no choice"


def test_a_whole_is_known_by_its_name_and_the_rest_stays(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        """\
detector.anchors:
  choices:
    flat: {ratios: [0.5], scales: [1.0], base_size_strides: 2.0}
    tall: {ratios: [2.0, 4.0], scales: [0.5], base_size_strides: 3.0}
""",
    )
    assert space.of_base() == {"detector.anchors": AS_CONFIGURED}
    assert space.holds(space.of_base()) and space.settings(space.of_base()) == TOY
    tall = AnchorSettings(ratios=(2.0, 4.0), scales=(0.5,), base_size_strides=3.0)
    expected = replace(TOY, detector=replace(TOY.detector, anchors=tall))
    assert space.settings({"detector.anchors": "tall"}) == expected
    wide = {"ratios": [0.2], "scales": [0.5], "base_size_strides": 3.0}
    wider = space.with_choice("detector.anchors", "wide", wide)
    assert list(wider.choices("detector.anchors")) == ["flat", "tall", AS_CONFIGURED, "wide"]
    assert wider.settings({"detector.anchors": "wide"}).detector.anchors.ratios == (0.2,)


def test_a_condition_decides_what_is_set(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        """\
detector.optimiser.momentum: {low: 0.5, high: 0.9, when: {detector.optimiser.name: [sgd]}}
detector.optimiser.name: {choices: [adam, sgd]}
""",
    )
    assert [parameter.name for parameter in space] == [
        "detector.optimiser.name",
        "detector.optimiser.momentum",
    ]
    assert space.holds({"detector.optimiser.name": "adam"})
    assert not space.holds({"detector.optimiser.name": "sgd"}), "its momentum is missing"
    assert not space.holds({"detector.optimiser.name": "sgd", "detector.optimiser.momentum": 0.95})


def test_grids_by_hand(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        """\
view.optimiser.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true, points: 3}
view.frozen_epochs: {low: 0, high: 4, step: 2}
view.sizes: {choices: {small: [32], large: [64]}}
""",
        task="view",
    )
    rate, epochs, sizes = (parameter.domain.grid() for parameter in space)
    assert rate == pytest.approx([1e-4, 1e-3, 1e-2])
    assert epochs == [0, 2, 4]
    assert sizes == ["small", "large"]
    assert sum(1 for _ in space.grid()) == 18
    assert problems(
        tmp_path, "view.sizes: {choices: {both: [32, 64], one: [32]}}", task="view"
    ) == ["view.sizes: a trial has one size, expected choices such as {small: [224]}"]


@pytest.mark.parametrize("task", ["detector", "view"])
@pytest.mark.parametrize("config", ["paper", "demo"])
def test_the_default_spaces_hold_the_settings_as_they_are(task: str, config: str) -> None:
    base = configured(config)
    space = read_space(SPACES / f"{task}.yaml", base, task)
    assert space.holds(space.of_base())
    assert space.settings(space.of_base()) == base
    assert not refusals(space, space.settings, space.edges(), space.pairs(), space.corners())
    assert all(parameter.domain.has_grid for parameter in space)


def test_the_default_spaces_are_about_the_settings_as_they_are() -> None:
    said = {
        config: read_space(SPACES / "view.yaml", configured(config), "view").as_json()
        for config in ("paper", "demo")
    }
    rate, sizes, frozen = "view.optimiser.learning_rate", "view.sizes", "view.frozen_epochs"
    assert said["demo"][sizes] == {"choices": {"32": [32], "64": [64], "96": [96]}}
    assert said["paper"][sizes] == {"choices": {"256": [256], "512": [512], "768": [768]}}
    # A twentieth of 0.001 and of 0.00001 to twenty times as much; 0.67 of 3 and of 30 epochs.
    assert (said["demo"][rate]["low"], said["demo"][rate]["high"]) == (5e-5, 0.02)
    assert (said["paper"][rate]["low"], said["paper"][rate]["high"]) == (5e-7, 2e-4)
    assert (said["demo"][frozen]["high"], said["paper"][frozen]["high"]) == (2, 20)


def configured(name: str) -> StudySettings:
    """The settings of a configuration, of which a search takes the classifier's first size."""
    settings = settings_from_dict(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()))
    return replace(settings, view=replace(settings.view, sizes=settings.view.sizes[:1]))


def test_a_file_that_is_no_space_is_a_sentence(tmp_path: Path) -> None:
    for text, said in (
        ("", "holds nothing, expected values by their names, such as `detector.optimiser"),
        ("{", "line 1, is no YAML"),
        ("- 1", "holds a list"),
        ("detector.steps: {choices: [1]}\ndetector.steps: {choices: [2]}", "line 2: .* in line 1"),
    ):
        with pytest.raises(ValueError, match=said):
            space_of(tmp_path, text)
