"""The settings of every command: each number has a range, and what is out of it is refused."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from typing import Annotated, Any

import pytest

from angioray.__main__ import COMMANDS
from angioray.cluster.lane_settings import LaneSettings
from angioray.evaluation.detection import Thresholds
from angioray.models.settings import AnchorSettings, RetinaNetSettings
from angioray.study.settings import StudySettings, settings_from_dict
from angioray.training.settings import OptimiserSettings
from preprocess.console.command_line import command_at, run_one_of
from preprocess.console.settings import Rule, Settings, SettingsError, type_hints
from preprocess.tracking.propagate import PropagateSettings
from tests.angioray.settings import TOY
from tune.search.order import Order
from tune.space.space import plain, set_at


def without_range(hint: Any, name: str) -> Iterator[str]:
    """The numbers of a type that say no range, by name."""
    if typing.get_origin(hint) is Annotated:
        inside, *rules = typing.get_args(hint)
        assert all(isinstance(rule, Rule) for rule in rules)
        if inside not in (int, float):
            yield from without_range(inside, name)
    elif hint in (int, float):
        yield name
    elif isinstance(hint, type) and is_dataclass(hint):
        assert issubclass(hint, Settings), f"{name} does not check itself"
        for field, each in type_hints(hint).items():
            yield from without_range(each, f"{name}.{field}")
    else:
        for each in typing.get_args(hint):
            yield from without_range(each, name)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_number_of_a_command_says_its_range(command: str) -> None:
    hints = type_hints(command_at(COMMANDS[command]))
    assert [*without_range(tuple[tuple(hints.values())], command)] == []


@pytest.mark.parametrize("kind", [Order, Thresholds])
def test_so_does_every_number_of_other_settings(kind: type[Settings]) -> None:
    assert [*without_range(kind, kind.__name__)] == []


OUT_OF_RANGE = {
    "seed": -1,
    "folds": 1,
    "tasks": [],
    "view_classes": {},
    "checkpoint_every": 0,
    "view.sizes": [16],
    "view.epochs": 0,
    "view.frozen_epochs": -1,
    "view.frames_per_sequence": 0,
    "view.batch_size": 0,
    "view.plateau_factor": 1.2,
    "view.plateau_patience": -1,
    "view.plateau_threshold": 1,
    "view.backbone": "resnet19",
    "view.augmentation.contrast": 2,
    "detector.variants": ["B", "B"],
    "detector.steps": -5,
    "detector.batch_size": 0,
    "detector.size": 500,
    "detector.levels": [5, 4],
    "detector.channels": 0,
    "detector.nms_iou": 7,
    "detector.max_predictions": 3,
    "detector.focal_alpha": 1.5,
    "detector.focal_gamma": -2,
    "detector.smooth_l1_beta": -1,
    "detector.box_weight": -1,
    "detector.foreground_iou": 0,
    "detector.background_iou": 0.6,
    "detector.anchors.ratios": [],
    "detector.anchors.scales": [1.0, 0.0],
    "detector.anchors.base_size_strides": 0,
    "detector.optimiser.learning_rate": 0,
    "detector.optimiser.momentum": 1,
    "detector.optimiser.weight_decay": -1e-4,
    "detector.optimiser.warmup_steps": -1,
    "detector.optimiser.gradient_norm": 0,
    "detector.augmentation.flip": 1.1,
}
"""A value of each setting that no study can have."""


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE.items())
def test_no_study_has_a_setting_out_of_its_range(name: str, value: Any) -> None:
    document = plain(StudySettings())
    set_at(document, name, value)
    with pytest.raises(SettingsError, match=rf"^{name}(\[\d\])? (is|has) .*; (it|each) must "):
        settings_from_dict(document)


def test_the_sentences_say_what_was_found_and_what_must_be() -> None:
    for name, value, said in (
        ("detector.nms_iou", 7, "detector.nms_iou is 7; it must be from 0 to 1."),
        (
            "detector.background_iou",
            0.6,
            "detector.background_iou is 0.6; it must be at most foreground_iou, which is 0.5.",
        ),
        (
            "detector.max_predictions",
            3,
            "detector.max_predictions is 3; it must be from 5 to 1000.",
        ),
        (
            "detector.size",
            500,
            "detector.size is 500; it must be a multiple of 128, the stride of level 7: take 384, "
            "or fewer levels.",
        ),
    ):
        document = plain(StudySettings())
        set_at(document, name, value)
        with pytest.raises(ValueError) as refused:
            settings_from_dict(document)
        assert str(refused.value) == said


@pytest.mark.parametrize(
    ("detector", "said"),
    [
        (3, "detector is 3; it must be settings by their names."),
        ([1], "detector is [1]; it must be settings by their names."),
        ({"steps": None}, "detector.steps is null; it must be a whole number."),
        ({"variants": None}, "detector.variants is null; it must be a list of B, BG, NL, BGNL."),
    ],
)
def test_a_document_with_other_types_is_refused(detector: Any, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_from_dict({"detector": detector})
    assert str(refused.value) == said


def test_python_is_refused_as_well() -> None:
    for attempt in (
        lambda: RetinaNetSettings(nms_iou=7),
        lambda: replace(TOY.detector, focal_alpha=-3),
        lambda: AnchorSettings(ratios=(1.0, -1.0)),
        lambda: Thresholds(score=2),
        lambda: LaneSettings(gpus=1.5),
        lambda: LaneSettings(grow=True),
        lambda: PropagateSettings(good=0.2),
        lambda: Order(settings=TOY, lanes=LaneSettings(ranks=2)),
        lambda: OptimiserSettings(changes=((0.5, 0.1), (0.5, 0.2))),
    ):
        with pytest.raises(SettingsError):
            attempt()


def test_a_plan_of_settings_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cv", "nowhere", "--plan", "--detector.focal_alpha", "1.5", "--lanes.cpus", "0"]
    with pytest.raises(SystemExit) as ended:
        run_one_of(COMMANDS, prog="angioray", argv=words)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "angioray cv: detector.focal_alpha is 1.5; it must be from 0 to 1. "
        "lanes.cpus is 0; it must be above 0.\n"
    )


@pytest.mark.parametrize("name", ["class_path", "init_args"])
def test_a_document_imports_no_class(name: str) -> None:
    for document in ({name: "tests.nothing.Here"}, {"detector": {name: {}}}):
        with pytest.raises(ValueError, match=f"there is no setting {name}"):
            settings_from_dict(document)
