"""The settings of a study: all that decides its numbers. ``configs/paper.yaml`` has the paper's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from angioray.models.settings import (
    GRADCAM,
    NAMED_WEIGHTS,
    TORCHVISION,
    RetinaNetSettings,
    unknown_backbone,
)
from angioray.training.settings import AugmentationSettings, OptimiserSettings, Precision
from preprocess.console.settings import (
    EACH_ONCE,
    SOME,
    Count,
    CountOrZero,
    Seed,
    Settings,
    bounds,
    build,
)
from preprocess.views import VIEW_CLASSES

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

Task = Literal["view", "detector"]

Variant = Literal["B", "BG", "NL", "BGNL"]
"""B: optimal frames with boxes. BG: and frames without contrast. NL: and healthy sequences."""

SplitUnit = Literal["sequence", "patient"]

SYSTEM_NAME = re.compile(r"[A-Za-z0-9_.+]{1,40}")
"""What a system may be called: its name is part of folder names."""
OWN = "own"
"""What reports call the study's own detector."""
SHARED = ("judged_frames", "validation_share")
"""Settings of a detector that are the same for all systems of a study, which are compared."""
OF_OWN = ("key_frames", "segmentation_steps")
"""Settings that the study's own detector alone follows."""

LEAST_FOLDS = 2

PUBLISHED = ("published", "published-test")
"""Values of `splits` that mean the parts of a set as it was published."""

PUBLIC_FOLDS = {
    "cadica": "b49d773f45817d6c5083aaaf52ac691f05a9720f3f28285bfe455877f62a8e69",
    "danilov": "50f874dcf10a8987d24874605a96b093134cc6de6197c7efbdc045ea1afd4999",
}
"""Values of `splits` that mean patient folds which come with angioray, with the SHA-256 of each
list (``configs/public/NAME.json``): everybody's folds of these sets are the same."""


@dataclass(frozen=True, kw_only=True)
class ViewTraining(Settings):
    """Step 1 of the paper: naming the view (section 3.1)."""

    sizes: Annotated[tuple[Annotated[int, bounds(32)], ...], SOME, EACH_ONCE] = (512, 224)
    """Sides of the square inputs to compare, in pixels, 32 or more."""
    split_unit: SplitUnit = "sequence"
    """What stays on one side of a fold: `sequence` as in the paper, or `patient`."""
    backbone: str = "resnet50"
    """The network: `resnet18`, `resnet34`, `resnet50`, `timm:` and a model of timm that gives
    features, or a backbone of an installed package. Other than of a ResNet, the last layer alone
    trains at first."""
    weights: str = "imagenet"
    """`imagenet`, `none`, or the path of a state dict."""
    epochs: Count = 30
    """Passes over the training frames."""
    frozen_epochs: CountOrZero = 15
    """The first so many train only layer4 and the last layer."""
    frames_per_sequence: Count | None = None
    """Optimal frames of each sequence to train on, evenly spaced; all of them if null."""
    batch_size: Count = 32
    """Frames of one step, over all ranks."""
    optimiser: OptimiserSettings = field(
        default_factory=lambda: OptimiserSettings(name="adam", learning_rate=1e-5, weight_decay=0.0)
    )
    """How weights follow gradients."""
    plateau_factor: Annotated[float, bounds(above=0, most=1)] = 0.2
    """The learning rate is multiplied by this when the training loss stops falling, above 0 to 1;
    at 1 it never falls."""
    plateau_patience: CountOrZero = 2
    """Epochs without a new best that are put up with first."""
    plateau_threshold: Annotated[float, bounds(0, below=1)] = 1e-4
    """Share of the best loss, 0 to below 1, by which a new best must be lower."""
    augmentation: AugmentationSettings = field(
        default_factory=lambda: AugmentationSettings(brightness=0.0, contrast=0.0)
    )
    """Random changes of training frames."""

    def conflicts(self) -> Iterator[str]:
        """A backbone that is not there."""
        return unknown_backbone(self.backbone)


@dataclass(frozen=True, kw_only=True)
class DetectorTraining(RetinaNetSettings):
    """Step 2 of the paper: finding the stenoses, one detector per view (section 3.2)."""

    variants: Annotated[tuple[Variant, ...], SOME, EACH_ONCE] = ("B", "BG", "NL", "BGNL")
    """Training frames: B boxes; BG and frames without contrast; NL and healthy sequences; both."""
    steps: Count = 3500
    """Optimiser steps."""
    batch_size: Count = 32
    """Frames of one step, over all ranks."""
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    """How weights follow gradients."""
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    """Random changes of training frames."""
    judged_frames: Literal["reference", "optimal"] = "reference"
    """Frames of the validation part that predictions are made on and judged by."""
    key_frames: bool = False
    """Also learn which frame of a cine a reader chooses, from the features of the study's own
    detectors of the first variant, and compare it with the frame that the pixels propose. They
    then look at every frame of all cines with such a reference frame."""
    validation_share: Annotated[float, bounds(0, most=0.5)] = 0.0
    """Share of each fold's training patients, 0 to 0.5, that is kept out of training and measured
    at every checkpoint: 1 / n, n a whole number. At 0 all train, as published."""
    segmentation_steps: CountOrZero = 0
    """Steps of a U-Net that outlines the lumen in the boxes of the first variant's lesions, where
    readers outlined some; a few hundred, or 0 for none."""

    def conflicts(self) -> Iterator[str]:
        """A share that is no whole part of the patients; nothing to tell lesions from."""
        yield from super().conflicts()
        without = [variant for variant in self.variants if "NL" not in variant]
        if self.architecture == GRADCAM and without:
            yield (
                f"variants has {without[0]}, without healthy sequences, from which gradcam learns "
                "what is no lesion; it must be NL, BGNL or both"
            )
        if share := self.validation_share:
            parts = round(1 / share)
            if abs(share - 1 / parts) > 0.01:
                yield (
                    f"validation_share is {share:g}; it must be 1 / n, n a whole number, such as "
                    f"{1 / parts:.2f}, for patients are cut into n parts and one is kept out"
                )


@dataclass(frozen=True, kw_only=True)
class StudySettings(Settings):
    """Everything that decides a study's numbers; `configs/paper.yaml` is the paper's."""

    seed: Seed = 0
    """Of splits, initial weights, sampling and augmentation, 0 to 2^32 - 1."""
    folds: Annotated[int, bounds(LEAST_FOLDS)] = 5
    """Folds of the cross-validation, 2 or more."""
    seeds: Count = 1
    """Trainings of each fold that differ in their seed alone: 3 tell what a metric owes to chance
    in initial weights, sampling and augmentation."""
    splits: str | None = None
    """Folds that are given, not cut: a JSON file; `published`, where a public set's train part
    trains and its val part validates; `published-test`, where both train and its test part
    validates; or `cadica` or `danilov`, the patient folds of these sets that come with angioray.
    `folds` counts for nothing then."""
    groups: str | None = None
    """Near-duplicates that lie on one side of every fold, with all of their patients: the leak.json
    of `python -m angioray.leak`."""
    tasks: Annotated[tuple[Task, ...], SOME, EACH_ONCE] = ("view", "detector")
    """Which steps of the paper to run."""
    view_classes: Annotated[dict[str, str], SOME] = field(
        default_factory=lambda: dict(VIEW_CLASSES)
    )
    """The class of each view name in the labels."""
    view: ViewTraining = field(default_factory=ViewTraining)
    """The view classifier."""
    detector: DetectorTraining = field(default_factory=DetectorTraining)
    """The detectors."""
    systems: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Further detectors to compare with under the same folds: a name each, and the settings of
    `detector` that differ, such as `{SSD: {architecture: ssd300_vgg16, size: 300}}`. They train on
    the first variant of `detector.variants`, unless they name `variants` of their own."""
    precision: Precision = "auto"
    """Arithmetic of the forward pass; weights and losses are always float32. `auto` is bf16 where a
    run's device computes in it and fp32 elsewhere, so name one for a cluster of unlike machines."""
    compile: bool = False
    """Compile forward pass and losses into one graph, as CUDA graphs on a GPU. Worth its minute or
    two of compiling per lane and shape on a GPU; on a CPU it takes longer and brings little. It
    changes rounding, so a study keeps it from its first run to its last."""
    checkpoint_every: Count = 500
    """Steps between checkpoints: the most that a crash can cost."""

    def conflicts(self) -> Iterator[str]:
        """Systems that cannot be."""
        if self.systems and "detector" not in self.tasks:
            yield "systems are detectors, and tasks has none: add `detector`, or leave systems out"
        alike = Counter(name.lower() for name in (OWN, *self.systems))
        for name, differing in self.systems.items():
            if alike[name.lower()] > 1:
                yield (
                    f"systems has {name!r}; another system, or the study's own detector ({OWN}), "
                    "has that name but for capitals"
                )
            if not SYSTEM_NAME.fullmatch(name):
                yield (
                    f"systems has {name!r}; a name must be 1 to 40 letters, digits, `_`, `.` or "
                    "`+`, for folders are called by it"
                )
            for common in sorted({*SHARED, *OF_OWN} & differing.keys()):
                why = "is the same for all" if common in SHARED else "is of the own detector alone"
                yield f"systems.{name} sets {common}, which {why}: set it in `detector`"
            try:
                self._system(differing)
            except ValueError as problem:
                yield f"systems.{name}: {str(problem).rstrip('.')}"

    @cached_property
    def detectors(self) -> dict[str, DetectorTraining]:
        """The settings of the study's own detector, named by an empty text, and of each system."""
        others = {name: self._system(differing) for name, differing in self.systems.items()}
        return {"": self.detector, **others}

    def of_system(self, name: str) -> StudySettings:
        """The settings of a system by itself: its detector is the study's own."""
        return replace(self, detector=self.detectors[name], systems={})

    def _system(self, differing: Mapping[str, Any]) -> DetectorTraining:
        first = self.detector.variants[:1]
        own = asdict(replace(self.detector, variants=first, key_frames=False, segmentation_steps=0))
        return settings_from_dict({"detector": _merged(own, differing)}).detector


def _merged(values: Mapping[str, Any], differing: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with some of them replaced."""
    return {**values} | {
        name: _merged(values[name], value)
        if isinstance(value, Mapping) and isinstance(values.get(name), Mapping)
        else value
        for name, value in differing.items()
    }


def ignored_settings(settings: StudySettings) -> list[str]:
    """Sentences on settings that are not at their defaults, and that change nothing."""
    default = DetectorTraining()
    sentences = []
    for detector in settings.detectors.values():
        ignored = [n for n in detector.unused if getattr(detector, n) != getattr(default, n)]
        if ignored:
            sentences.append(f"{detector.architecture} does not use {', '.join(ignored)}.")
        if settings.compile and detector.architecture in TORCHVISION:
            sentences.append(f"{detector.architecture} is not compiled: its shapes change.")
    return list(dict.fromkeys(sentences))


def settings_from_dict(values: Mapping[str, Any]) -> StudySettings:
    """Resolved settings back from JSON or YAML, checked as on the command line.

    Raises:
        ValueError: a name or a value is none of a study's settings.
    """
    from jsonargparse import ArgumentError

    from preprocess.console.mistakes import describe_mistake

    _refuse_classes(values)
    parser = _parser()
    try:
        parsed = parser.parse_object(_renamed(values))
    except ArgumentError as problem:
        sentence = describe_mistake(str(problem), parser._actions)
        raise ValueError(sentence.removeprefix("--")) from problem
    return build(StudySettings, parsed)


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of earlier versions by their names of today."""
    detector = values.get("detector")
    if not isinstance(detector, Mapping) or "network" not in detector or "architecture" in detector:
        return dict(values)
    others = {name: value for name, value in detector.items() if name != "network"}
    return {**values, "detector": {"architecture": detector["network"], **others}}


def _refuse_classes(values: Mapping[str, Any]) -> None:
    """Raise ValueError where jsonargparse would import what somebody else's document names."""
    for name, value in values.items():
        if name in ("class_path", "init_args"):
            raise ValueError(f"there is no setting {name}")
        if isinstance(value, Mapping):
            _refuse_classes(value)


@cache
def _parser() -> ArgumentParser:
    """Made once: a search reads the settings of each of its trials."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(StudySettings, None)
    return parser


def with_absolute_paths(settings: StudySettings) -> StudySettings:
    """Ray's workers have a working directory of their own; a relative path would not be found."""
    return replace(
        settings,
        splits=_absolute(settings.splits, {*PUBLISHED, *PUBLIC_FOLDS}) if settings.splits else None,
        groups=_absolute(settings.groups, ()) if settings.groups else None,
        view=replace(settings.view, weights=_absolute(settings.view.weights, NAMED_WEIGHTS)),
        detector=replace(
            settings.detector, weights=_absolute(settings.detector.weights, NAMED_WEIGHTS)
        ),
        systems={
            name: {
                key: _absolute(value, NAMED_WEIGHTS) if key == "weights" else value
                for key, value in differing.items()
            }
            for name, differing in settings.systems.items()
        },
    )


def _absolute(path: str, names: Collection[str]) -> str:
    return path if path in names else str(Path(path).absolute())
