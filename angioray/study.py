"""A study: its settings, folds and runs, frozen in ``study.json`` before the first run starts."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from angioray.augmentation import AugmentationSettings
from angioray.backbone import NAMED_WEIGHTS, grey_resnet
from angioray.detector import RetinaNet, RetinaNetSettings
from angioray.optimiser import OptimiserSettings
from angioray.precision import Precision
from angioray.selection import CohortIndex, Variant
from angioray.splits import Fold, SplitUnit, split, splits_digest
from preprocess.cohort import Cohort, count_phantoms
from preprocess.storage import Location, Storage, absolute, open_storage

SCHEMA_VERSION = 1
STUDY_FILE = "study.json"
Task = Literal["view", "detector"]


@dataclass(frozen=True, kw_only=True)
class ViewTraining:
    """Step 1 of the paper: naming the view (section 3.1)."""

    sizes: tuple[int, ...] = (512, 224)
    """Sides of the square inputs that are compared, in pixels."""
    split_unit: SplitUnit = "sequence"
    """What stays on one side of a fold: `sequence` as in the paper, or `patient`."""
    backbone: Literal["resnet18", "resnet34", "resnet50"] = "resnet50"
    """The network."""
    weights: str = "imagenet"
    """`imagenet`, `none`, or the path of a state dict."""
    epochs: int = 30
    """Passes over the training frames."""
    frozen_epochs: int = 15
    """The first so many train only layer4 and the last layer."""
    frames_per_sequence: int | None = None
    """Optimal frames of each sequence to train on, evenly spaced; all of them if null."""
    batch_size: int = 32
    """Frames of one step, over all ranks."""
    optimiser: OptimiserSettings = field(
        default_factory=lambda: OptimiserSettings(name="adam", learning_rate=1e-5, weight_decay=0.0)
    )
    """How weights follow gradients."""
    plateau_factor: float = 0.2
    """The learning rate is multiplied by this when the training loss stops falling."""
    plateau_patience: int = 2
    """Epochs without a new best that are put up with first."""
    augmentation: AugmentationSettings = field(
        default_factory=lambda: AugmentationSettings(brightness=0.0, contrast=0.0)
    )
    """Random changes of training frames."""

    def __post_init__(self) -> None:
        problems = _too_small(self, epochs=1, batch_size=1, frozen_epochs=0, plateau_patience=0)
        if not self.sizes or min(self.sizes) < 32:
            problems.append(f"sizes is {list(self.sizes)}, expected sides of 32 or more")
        if self.frames_per_sequence is not None:
            problems += _too_small(self, frames_per_sequence=1)
        _refuse("the view classifier", problems)


@dataclass(frozen=True, kw_only=True)
class DetectorTraining(RetinaNetSettings):
    """Step 2 of the paper: finding the stenoses, one detector per view (section 3.2)."""

    variants: tuple[Variant, ...] = ("B", "BG", "NL", "BGNL")
    """Training frames: B boxes; BG and frames without contrast; NL and healthy sequences; both."""
    steps: int = 3500
    """Optimiser steps."""
    batch_size: int = 32
    """Frames of one step, over all ranks."""
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    """How weights follow gradients."""
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    """Random changes of training frames."""
    judged_frames: Literal["reference", "optimal"] = "reference"
    """Frames of the validation part that predictions are made on and judged by."""

    def __post_init__(self) -> None:
        problems = _too_small(self, steps=1, batch_size=1, size=32, channels=1)
        if not self.variants:
            problems.append("variants is empty, expected at least one")
        _refuse("the detectors", problems)


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Everything that decides a study's numbers; `configs/paper.yaml` is the paper's."""

    seed: int = 0
    """Of splits, initial weights, sampling and augmentation."""
    folds: int = 5
    """Folds of the cross-validation."""
    tasks: tuple[Task, ...] = ("view", "detector")
    """Which steps of the paper to run."""
    view_classes: dict[str, str] = field(
        default_factory=lambda: {"RCA": "RCA", "LCA": "LCA", "LCx/LAD": "LCA", "LAD/LCx": "LCA"}
    )
    """The class of each view name in the labels."""
    view: ViewTraining = field(default_factory=ViewTraining)
    """The view classifier."""
    detector: DetectorTraining = field(default_factory=DetectorTraining)
    """The detectors."""
    precision: Precision = "auto"
    """Arithmetic of the forward pass; weights and losses are always float32. `auto` is bf16 where a
    run's device computes in it and fp32 elsewhere, so name one for a cluster of unlike machines."""
    compile: bool = False
    """Compile forward pass and losses into one graph, as CUDA graphs on a GPU. Worth its minute or
    two of compiling per lane and shape on a GPU; on a CPU it takes longer and brings little. It
    changes rounding, so a study keeps it from its first run to its last."""
    checkpoint_every: int = 500
    """Steps between checkpoints: the most that a crash can cost."""

    def __post_init__(self) -> None:
        problems = _too_small(self, folds=2, checkpoint_every=1, seed=0)
        if not self.tasks:
            problems.append("tasks is empty, expected view, detector or both")
        _refuse("the study", problems)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training: a task on one view, variant, input size and fold, with its own seed."""

    task: Task
    view: str = ""
    """The detector's view class; empty for the classifier."""
    variant: str = ""
    """The detector's variant; empty for the classifier."""
    size: int
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """The run's folder name, such as ``detector-RCA-B-512-fold0``."""
        words = [self.task, self.view, self.variant, str(self.size), f"fold{self.fold}"]
        return "-".join(word for word in words if word)

    @property
    def split_key(self) -> str:
        """Which of the study's splits the run belongs to."""
        return "view" if self.task == "view" else f"detector/{self.view}"

    @property
    def frames_key(self) -> tuple[str, str, str, int]:
        """Runs that share this see nearly the same frames at the same size."""
        return (self.task, self.view, self.variant, self.size)


@dataclass(frozen=True)
class Study:
    """A frozen study.

    Attributes:
        folder: the runs folder.
        cohort_folder: where the cohort lay when the study was made.
        settings: what it runs with.
        splits: folds by split key (``view``, ``detector/RCA``).
        runs: the whole matrix.
    """

    folder: Storage
    cohort_folder: str
    settings: StudySettings
    splits: dict[str, tuple[Fold, ...]]
    runs: tuple[Run, ...]

    def run(self, name: str) -> Run:
        """The run of that name.

        Raises:
            ValueError: the study has no such run.
        """
        for run in self.runs:
            if run.name == name:
                return run
        near = difflib.get_close_matches(name, [run.name for run in self.runs], 1, 0.3)
        raise ValueError(
            f"The study in {self.folder} has no run {name!r}"
            + (f"; the nearest is {near[0]}." if near else ".")
        )

    def fold(self, run: Run) -> Fold:
        """The two sides of a run's fold."""
        return self.splits[run.split_key][run.fold]

    @classmethod
    def plan(cls, cohort: Cohort, runs_folder: Location, settings: StudySettings) -> Study:
        """Lay out folds and runs without writing anything.

        Raises:
            ValueError: the cohort is too small for the folds, or gives a task nothing to do.
        """
        settings = _with_absolute_weights(settings)
        index = CohortIndex.of(cohort, settings.view_classes)
        splits: dict[str, tuple[Fold, ...]] = {}
        runs: list[Run] = []
        if "view" in settings.tasks:
            splits["view"] = _view_splits(index, settings)
            runs += [
                _run(settings, task="view", size=size, fold=fold)
                for size in settings.view.sizes
                for fold in range(settings.folds)
            ]
        if "detector" in settings.tasks:
            for view in _detector_views(index):
                splits[f"detector/{view}"] = split(
                    index.detector_members(view),
                    folds=settings.folds,
                    unit="patient",
                    seed=settings.seed,
                    what=f"the {view} detector",
                )
                runs += [
                    _run(
                        settings,
                        task="detector",
                        view=view,
                        variant=variant,
                        size=settings.detector.size,
                        fold=fold,
                    )
                    for variant in settings.detector.variants
                    for fold in range(settings.folds)
                ]
        location = absolute(cohort.copy.location)
        return cls(open_storage(runs_folder), location, settings, splits, tuple(runs))

    def freeze(self, cohort: Cohort) -> None:
        """Write ``study.json``, or check that the one there is this study.

        Before the first, the networks' weights are looked for: a study whose every run would fail
        for want of them is not begun.

        Raises:
            ValueError: the folder holds another study; the differences are named. Or its
                ``study.json`` is damaged, or the weights cannot be had.
        """
        document = self._document(cohort)
        if self.folder.exists(STUDY_FILE):
            kept = read_study(self.folder)
            # The same cohort may lie elsewhere today; its digest says that it is the same.
            kept["cohort"]["folder"] = document["cohort"]["folder"]
            # A study that was begun before phantoms were counted goes on all the same.
            kept["cohort"].setdefault("phantoms", document["cohort"]["phantoms"])
            if different := differences(kept, document):
                words = "; ".join(_in_words(*difference) for difference in different[:5])
                raise ValueError(
                    f"{self.folder / STUDY_FILE} was made with other inputs: {words}. "
                    "Give the same ones to continue it, or another runs folder for a new study."
                )
        else:
            self.look_for_weights()
        self.folder.write_json(STUDY_FILE, document)

    def look_for_weights(self) -> None:
        """Refuse a study whose networks' weights cannot be had.

        Raises:
            ValueError: they cannot.
        """
        view, detector = self.settings.view, self.settings.detector
        if "view" in self.settings.tasks:
            grey_resnet(view.backbone, view.weights)
        if "detector" in self.settings.tasks:
            RetinaNet(detector)

    @classmethod
    def open(cls, location: Location) -> Study:
        """Read a frozen study.

        Raises:
            ValueError: there is none.
        """
        folder = open_storage(location)
        document = read_study(folder)
        return cls(
            folder,
            document["cohort"]["folder"],
            settings_from_dict(document["settings"]),
            {
                key: tuple(
                    Fold(tuple(fold["train"]), tuple(fold["validation"])) for fold in cut["folds"]
                )
                for key, cut in document["splits"].items()
            },
            tuple(Run(**{f.name: run[f.name] for f in fields(Run)}) for run in document["runs"]),
        )

    def _document(self, cohort: Cohort) -> dict[str, Any]:
        unit = {"view": self.settings.view.split_unit}
        document = {
            "schema_version": SCHEMA_VERSION,
            "cohort": {
                "folder": self.cohort_folder,
                "digest": cohort.digest,
                "sequences": len(cohort.sequences),
                "phantoms": count_phantoms(cohort.sequences.values()),
                "patients": len({s.patient_id for s in cohort.sequences.values()}),
            },
            "settings": asdict(self.settings),
            "view_classes": self.settings.view_classes,
            "splits_sha256": splits_digest(self.splits),
            "splits": {
                key: {
                    "unit": unit.get(key, "patient"),
                    "folds": [asdict(fold) for fold in cut],
                }
                for key, cut in self.splits.items()
            },
            "runs": [{**asdict(run), "name": run.name} for run in self.runs],
        }
        plain: dict[str, Any] = json.loads(json.dumps(document))
        return plain


def read_study(folder: Storage) -> dict[str, Any]:
    """``study.json`` as it stands.

    Raises:
        ValueError: the folder holds no study of this schema version, or a damaged one.
    """
    path = folder / STUDY_FILE
    text = folder.read(STUDY_FILE)
    if text is None:
        raise ValueError(
            f"{folder} holds no study: it has no {STUDY_FILE}. Make one with "
            f"`python -m angioray.cv COHORT --all-folds --runs {folder}`."
        )
    try:
        document: Any = json.loads(text)
    except ValueError as problem:
        raise _damaged(path, str(problem)) from problem
    if not isinstance(document, dict) or "schema_version" not in document:
        raise _damaged(path, "it has no schema version")
    if document["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {document['schema_version']}; this version reads "
            f"{SCHEMA_VERSION}. Go on with the version that began the study."
        )
    if missing := sorted({"cohort", "settings", "splits", "runs"} - document.keys()):
        raise _damaged(path, f"it lacks {', '.join(missing)}")
    return document


def _damaged(path: Storage, problem: str) -> ValueError:
    return ValueError(
        f"{path} is damaged ({problem}). Put it back from a copy, or remove it and give "
        "`python -m angioray.cv` the same cohort and settings: it writes the same study again "
        "and keeps the finished runs."
    )


def settings_from_dict(values: Mapping[str, Any]) -> StudySettings:
    """Resolved settings back from JSON or YAML, checked as on the command line."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(StudySettings, None)
    parsed = parser.instantiate(parser.parse_object(dict(values))).as_dict()
    return StudySettings(**parsed)


def _with_absolute_weights(settings: StudySettings) -> StudySettings:
    """Ray's workers have a working directory of their own; a relative path would not be found."""
    return replace(
        settings,
        view=replace(settings.view, weights=_absolute(settings.view.weights)),
        detector=replace(settings.detector, weights=_absolute(settings.detector.weights)),
    )


def _absolute(weights: str) -> str:
    return weights if weights in NAMED_WEIGHTS else str(Path(weights).absolute())


def _view_splits(index: CohortIndex, settings: StudySettings) -> tuple[Fold, ...]:
    members = index.view_members()
    classes = sorted({member.stratum for member in members})
    if len(classes) < 2:
        found = classes[0] if classes else "none"
        raise ValueError(
            f"A view classifier needs at least two view classes; the cohort has {found}. "
            "Label views in sequences.csv, or leave the step out with `--tasks '[detector]'`."
        )
    return split(
        members,
        folds=settings.folds,
        unit=settings.view.split_unit,
        seed=settings.seed,
        what="the view classifier",
    )


def _detector_views(index: CohortIndex) -> list[str]:
    if not index.detector_views:
        raise ValueError(
            "The cohort has no box on any reference frame, so there is nothing to detect. Ingest "
            "it with `--rois`, or leave the step out with `--tasks '[view]'`."
        )
    return index.detector_views


def _run(settings: StudySettings, *, task: Task, size: int, fold: int, **names: str) -> Run:
    # Folds differ in their seed, and nothing else does: variants are compared on equal terms.
    return Run(task=task, size=size, fold=fold, seed=settings.seed + fold, **names)


def _too_small(settings: object, **least: int) -> list[str]:
    """The settings that lie below the least that works, in words."""
    return [
        f"{name} is {value}, expected {smallest} or more"
        for name, smallest in least.items()
        if (value := getattr(settings, name)) < smallest
    ]


def _refuse(whose: str, problems: list[str]) -> None:
    if problems:
        raise ValueError(f"The settings of {whose} cannot work: {'; '.join(problems)}.")


def differences(kept: Any, given: Any, where: str = "") -> list[tuple[str, Any, Any]]:
    """Every place where two JSON documents differ: its dotted name, and the two values."""
    if isinstance(kept, dict) and isinstance(given, dict):
        return [
            difference
            for key in sorted(kept.keys() | given.keys())
            for difference in differences(kept.get(key), given.get(key), f"{where}.{key}")
        ]
    return [] if kept == given else [(where.lstrip("."), kept, given)]


def _in_words(name: str, kept: Any, given: Any) -> str:
    if isinstance(kept, list) and isinstance(given, list) and max(len(kept), len(given)) > 8:
        return f"{name} differ"
    return f"{name} was {kept!r} and is now {given!r}"
