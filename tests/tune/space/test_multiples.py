"""Multiples of a setting: the numbers that they come to, by hand, and what cannot be multiplied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from angioray.study.settings import StudySettings
from tests.angioray.settings import TOY
from tune.space.space import Space
from tune.space.space_file import read_space

RATE = "detector.optimiser.learning_rate"


def space_of(folder: Path, text: str, base: StudySettings = TOY) -> Space:
    (folder / "space.yaml").write_text(text)
    return read_space(folder / "space.yaml", base, text.partition(".")[0])


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        # 0.01, as the settings have it.
        (f"{RATE}: {{low: 0.05, high: 20, log: true, of: {RATE}}}", (0.0005, 0.2)),
        (f"{RATE}: {{low: 1, high: 3e1, of: {RATE}}}", (0.01, 0.3)),
        (f"{RATE}: {{low: 0.07, high: 2, of: {RATE}}}", (0.0007, 0.02)),
        (f"{RATE}: {{choices: [0.5, 1.0, 2.0], of: {RATE}}}", [0.005, 0.01, 0.02]),
        # 3 epochs: 0.67 of them are 2.01, and of 1.4 and 2.1 whole ones are left.
        ("view.frozen_epochs: {low: 0, high: 0.67, of: view.epochs}", (0, 2)),
        ("view.frozen_epochs: {choices: [0, 0.1, 0.47, 0.7], of: view.epochs}", [0, 1, 2]),
        # The factor is 0.2.
        ("view.plateau_patience: {choices: [1, 3], of: view.plateau_factor}", [0, 1]),
        # Within 0 to 1, and 32 px or more.
        ("detector.focal_alpha: {low: 0.1, high: 9, of: detector.focal_alpha}", (0.025, 1)),
        ("view.sizes: {choices: [0.1, 0.5, 1, 1.5], of: view.sizes}", {"32": [32], "64": [64]}),
        (
            "view.sizes: {choices: {half: 0.5, same: 1, twice: 2}, of: view.sizes}",
            {"half": [32], "twice": [64]},
        ),
        # The coarsest level has a stride of 16.
        ("detector.size: {choices: [0.1, 0.7, 1, 1.4], of: detector.size}", [32, 48, 64, 96]),
    ],
)
def test_multiples_by_hand(tmp_path: Path, words: str, numbers: Any) -> None:
    space = space_of(tmp_path, words)
    (found,) = space.as_json().values()
    assert (found["choices"] if "choices" in found else (found["low"], found["high"])) == numbers
    kept = "".join(f"{name}: {words}\n" for name, words in space.as_json().items())
    assert space_of(tmp_path, kept).as_json() == space.as_json(), "it can be read again as it is"


def test_what_is_once_the_base_is_the_base_to_the_last_digit(tmp_path: Path) -> None:
    text = f"{RATE}: {{low: 1, high: 2, of: {RATE}}}\n"
    optimiser = replace(TOY.detector.optimiser, learning_rate=1 / 3)
    base = replace(
        TOY,
        view=replace(TOY.view, sizes=(50,)),
        detector=replace(TOY.detector, optimiser=optimiser),
    )
    rates = space_of(tmp_path, text, base)
    assert rates.holds(rates.of_base()) and rates.settings(rates.of_base()) == base
    # No multiple of 32, but the settings allow it.
    sizes = space_of(tmp_path, "view.sizes: {choices: [1, 2], of: view.sizes}", base)
    assert sizes.of_base() == {"view.sizes": "50"} and list(sizes.choices("view.sizes")) == [
        "50",
        "96",
    ]


def test_steps_are_multiples_too(tmp_path: Path) -> None:
    text = "view.frozen_epochs: {low: 0, high: 1, step: 0.34, of: view.epochs}"
    assert space_of(tmp_path, text).as_json()["view.frozen_epochs"]["step"] == 1
    without = space_of(tmp_path, "view.frozen_epochs: {low: 0, high: 1, of: view.epochs}")
    assert "step" not in without.as_json()["view.frozen_epochs"]


def test_sizes_between_are_possible_too(tmp_path: Path) -> None:
    text = "detector.size: {low: 0.5, high: 1.5, of: detector.size}"
    assert [size.domain.grid() for size in space_of(tmp_path, text)] == [[32, 48, 64, 80, 96]]
    # Of levels 3 to 7 the coarsest has a stride of 128.
    few = space_of(tmp_path, text.replace("0.5", "0.1"), StudySettings())
    assert [size.domain.grid() for size in few] == [[128, 256, 384, 512, 640, 768]]


def test_a_condition_stands_beside_multiples(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        """\
detector.optimiser.name: {choices: [sgd, adam]}
detector.optimiser.learning_rate:
  {low: 0.5, high: 2, of: detector.optimiser.learning_rate, when: {detector.optimiser.name: adam}}
""",
    )
    assert space.holds({"detector.optimiser.name": "sgd"})
    assert space.holds({"detector.optimiser.name": "adam", RATE: 0.02})


def test_every_wrong_multiple_is_said_at_once(tmp_path: Path) -> None:
    optimiser = replace(TOY.view.optimiser, weight_decay=0.0)
    base = replace(TOY, view=replace(TOY.view, optimiser=optimiser, sizes=(32, 64)))
    with pytest.raises(ValueError, match="cannot be searched") as caught:
        space_of(
            tmp_path,
            """\
view.optimiser.learning_rate: {low: 0.1, high: 10, of: view.optimiser.learning_rat}
view.optimiser.weight_decay: {low: 0.1, high: 10, of: view.optimiser.weight_decay}
view.optimiser.momentum: {low: 0.1, high: 1, of: view.optimiser}
view.optimiser.warmup_steps: {low: 0.1, high: 1, of: view.sizes}
view.optimiser.gradient_norm: {low: 0.1, high: 1, of: view.frames_per_sequence}
view.optimiser.decay: {choices: [0.1, cosine], of: view.epochs}
view.augmentation.brightness: {low: 0.1, high: 1, of: view.backbone}
view.plateau_threshold: {low: 0.1, high: 1, of: detector.frozen_batch_norm}
view.frozen_epochs: {low: 0.1, high: 0.15, of: view.epochs}
view.plateau_patience: {low: 0, high: much, of: view.epochs}
view.plateau_factor: {choices: [2, 3, 4], of: view.plateau_factor}
""",
            replace(base, view=replace(base.view, frames_per_sequence=None, plateau_factor=0.5)),
        )
    assert str(caught.value).split("\n  - ")[1:] == [
        "view.optimiser.learning_rate: its `of` names view.optimiser.learning_rat: there is no "
        "such setting; the nearest is view.optimiser.learning_rate",
        "view.optimiser.weight_decay: its `of` names view.optimiser.weight_decay, which is 0, and "
        "so is every multiple of it; write the numbers themselves, without `of`",
        "view.optimiser.momentum: its `of` names view.optimiser, which is a group of settings, "
        "expected a number",
        "view.optimiser.warmup_steps: its `of` names view.sizes, which is [32, 64], expected a "
        "number",
        "view.optimiser.gradient_norm: its `of` names view.frames_per_sequence, which is null, "
        "expected a number",
        "view.optimiser.decay: choices are [0.1, cosine], expected multiples of view.epochs",
        "view.augmentation.brightness: its `of` names view.backbone, which is resnet18, expected "
        "a number",
        "view.plateau_threshold: its `of` names detector.frozen_batch_norm, which is false, "
        "expected a number",
        "view.frozen_epochs: low is 0, expected less than high, which is 0 (multiples of "
        "view.epochs, which is 3)",
        "view.plateau_patience: low is 0 and high 'much', expected two numbers, or choices "
        "(multiples of view.epochs, which is 3)",
        "view.plateau_factor: choices are [1.0], expected two or more (multiples of "
        "view.plateau_factor, which is 0.5)",
    ]


def test_the_example_of_the_documentation_is_a_space(tmp_path: Path) -> None:
    words = (Path(__file__).parents[3] / "docs" / "tuning.md").read_text().split("```yaml\n")[1]
    paper = replace(StudySettings(), view=replace(StudySettings().view, sizes=(512,)))
    space = space_of(tmp_path, words.partition("```")[0], paper)
    assert list(space.choices("view.sizes")) == ["256", "512", "768"]
    assert space.holds(space.of_base())
