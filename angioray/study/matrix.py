"""The matrix of runs: task x view x variant x size x system x fold x seed; their folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from angioray.study.duplicate_groups import Groups, groups_of, joined_units
from angioray.study.given_splits import given_split
from angioray.study.seeds import seed_of
from angioray.study.selection import CohortIndex
from angioray.study.settings import SplitUnit, StudySettings, Task
from angioray.study.splits import Fold, Member, split
from preprocess.storage.names import name_problem

Splits = dict[str, tuple[Fold, ...]]
"""Folds by split key: ``view``, ``detector/RCA``."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training: a task on one view, variant, input size, system and fold, with its own seed.

    Where a fold is trained with several seeds, ``repeat`` counts them from 0.
    """

    task: Task
    view: str = ""
    """The detector's view class; empty for the classifier."""
    variant: str = ""
    """The detector's variant; empty for the classifier."""
    size: int
    fold: int
    seed: int
    repeat: int = 0
    system: str = ""
    """Of `systems`; empty for the classifier and for the study's own detector."""

    @property
    def name(self) -> str:
        """The run's folder name: ``detector-RCA-B-512-fold0``, with its second seed ``…-seed1``."""
        words = [self.task, self.view, self.variant, str(self.size), self.system]
        words += [f"fold{self.fold}"]
        words += [f"seed{self.repeat}"] if self.repeat else []
        return "-".join(word for word in words if word)

    @property
    def split_key(self) -> str:
        """Which of the study's splits the run belongs to."""
        return "view" if self.task == "view" else f"detector/{self.view}"

    @property
    def frames_key(self) -> tuple[str, str, str, int, str]:
        """Runs that share this see nearly the same frames at the same size."""
        return (self.task, self.view, self.variant, self.size, self.system)

    def as_json(self) -> dict[str, Any]:
        """Its fields, without ``repeat`` and ``system`` where older studies have none."""
        known = {"repeat": self.repeat, "system": self.system}
        return {k: v for k, v in asdict(self).items() if k not in known or v}


def lay_out(index: CohortIndex, settings: StudySettings) -> tuple[Splits, tuple[Run, ...]]:
    """The folds and the runs of a study, in the order of the report.

    Raises:
        ValueError: the cohort is too small for the folds, or gives a task nothing to do.
    """
    splits: Splits = {}
    runs: list[Run] = []
    if "view" in settings.tasks:
        splits["view"] = _view_splits(index, settings)
        sizes, folds = settings.view.sizes, range(len(splits["view"]))
        runs += [
            run
            for s in sizes
            for f in folds
            for run in _runs(settings, task="view", size=s, fold=f)
        ]
    if "detector" in settings.tasks:
        for view in _detector_views(index):
            key = f"detector/{view}"
            what = f"the {view} detector"
            splits[key] = _split(
                key, index, index.detector_members(view), settings, "patient", what
            )
            folds = range(len(splits[key]))
            runs += [
                replace(run, view=view, variant=variant, system=system)
                for system, detector in settings.detectors.items()
                for variant in detector.variants
                for f in folds
                for run in _runs(settings, task="detector", size=detector.size, fold=f)
            ]
    return splits, tuple(runs)


def _view_splits(index: CohortIndex, settings: StudySettings) -> tuple[Fold, ...]:
    members = index.view_members()
    classes = sorted({member.stratum for member in members})
    if len(classes) < 2:
        found = classes[0] if classes else "none"
        raise ValueError(
            f"A view classifier needs at least two view classes; the cohort has {found}. "
            "Label views in sequences.csv, or leave the step out with `--tasks '[detector]'`."
        )
    return _split("view", index, members, settings, settings.view.split_unit, "the view classifier")


def _split(
    key: str,
    index: CohortIndex,
    members: Sequence[Member],
    settings: StudySettings,
    unit: SplitUnit,
    what: str,
) -> tuple[Fold, ...]:
    joined = units_of_groups(index, groups_of(index.cohort, settings.groups), unit)
    if settings.splits is not None:
        sequences = index.cohort.sequences
        known = {*sequences, *(sequence.patient_id for sequence in sequences.values())}
        return given_split(
            settings.splits, key, members, unit=unit, what=what, known=known, joined=joined
        )
    return split(
        members, folds=settings.folds, unit=unit, seed=settings.seed, what=what, joined=joined
    )


def units_of_groups(
    index: CohortIndex, groups: Groups, unit: SplitUnit
) -> Mapping[str, str] | None:
    """The unit of each sequence, with near-duplicates joined; None where there are no groups."""
    return joined_units(index.cohort.sequences.values(), unit, groups) if groups else None


def _detector_views(index: CohortIndex) -> list[str]:
    for view in index.detector_views:
        if problem := name_problem(view):
            raise ValueError(
                f"The view class {view!r} cannot be part of the names of runs and their folders: "
                f"{problem}. Give the class another name in the setting `view_classes`."
            )
    if not index.detector_views:
        raise ValueError(
            "The cohort has no box on any reference frame, so there is nothing to detect. Ingest "
            "it with `--rois`, or leave the step out with `--tasks '[view]'`."
        )
    return index.detector_views


def _runs(settings: StudySettings, *, task: Task, size: int, fold: int) -> Iterator[Run]:
    # Folds and repeats differ in their seed, and nothing else does: variants and systems are
    # compared on equal terms. The first seed is the one of studies that have no other.
    for repeat in range(settings.seeds):
        seed = seed_of(settings.seed, fold, *([repeat] if repeat else []))
        yield Run(task=task, size=size, fold=fold, seed=seed, repeat=repeat)
