"""The objective of a trial: a metric on the inner split of one fold's training patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from angioray.evaluation.detection import PAPER
from angioray.study.matrix import Run, units_of_groups
from angioray.study.selection import CohortIndex
from angioray.study.settings import StudySettings, Task, Variant
from angioray.study.splits import Fold, fewer_folds, split
from angioray.study.study import Study
from preprocess.cohort import Cohort
from preprocess.console.names import instead
from preprocess.storage import Location, open_storage

AP = PAPER.at("AP")
METRICS: dict[Task, str] = {"view": "accuracy", "detector": AP}
"""What trials are held against each other by; the greater the better, from 0 to 1."""


@dataclass(frozen=True)
class Objective:
    """One run of a study, and a split of its training part.

    Attributes:
        base: the study's settings, narrowed to this kind of run.
        run: the run whose training part is split.
        inner: what trials train on, and what they are judged on; no patient is on both sides.
        outer: the sequences of the fold's validation part, which no trial sees.
    """

    base: StudySettings
    run: Run
    inner: Fold
    outer: tuple[str, ...]

    @classmethod
    def of(
        cls,
        cohort: Cohort,
        settings: StudySettings,
        *,
        task: Task,
        view: str = "",
        variant: Variant | None = None,
        fold: int = 0,
    ) -> Objective:
        """Split the training part of a study's fold once more, by patients.

        Args:
            cohort: what is learned from.
            settings: of the study; the first of the classifier's sizes is the one that counts.
            task: whose settings are searched.
            view: the detector's.
            variant: of the detector; the first of `detector.variants` if None.
            fold: the one that will judge.

        Raises:
            ValueError: the cohort has no such detector or fold, or is too small to be split again.
        """
        variant = variant or settings.detector.variants[0]
        base = replace(
            settings,
            seeds=1,
            systems={},
            tasks=(task,),
            view=replace(settings.view, sizes=settings.view.sizes[:1]),
            detector=replace(
                settings.detector, variants=(variant,), key_frames=False, segmentation_steps=0
            ),
        )
        study = Study.plan(cohort, ".", base)
        run = _run(study, view, fold)
        outer = study.fold(run)
        index = CohortIndex.of(cohort, base.view_classes)
        members = index.view_members() if task == "view" else index.detector_members(run.view)
        training = [member for member in members if member.sequence_id in set(outer.train)]
        patients = len({member.patient_id for member in training})
        if patients < base.folds:
            raise ValueError(
                f"The training part of fold {fold} has {patients} "
                f"patient{'' if patients == 1 else 's'}, too few to be cut into {base.folds} parts "
                f"once more. Add data{fewer_folds(base.folds)}."
            )
        inner = split(
            training,
            folds=base.folds,
            unit="patient",
            seed=base.seed,
            what=f"the training part of fold {fold}",
            joined=units_of_groups(index, study.groups, "patient"),
        )[0]
        if task == "detector" and not index.judged_frames(
            inner.validation, base.detector.judged_frames
        ):
            raise ValueError(
                f"The inner validation part of fold {fold} has no box to judge a detector by. Add "
                f"data, give another `--seed`{fewer_folds(base.folds)}."
            )
        return cls(study.settings, replace(run, fold=0), inner, outer.validation)

    @property
    def metric(self) -> str:
        """The name of the score."""
        return METRICS[self.run.task]

    @property
    def sequences(self) -> tuple[str, ...]:
        """All that a trial may see."""
        return (*self.inner.train, *self.inner.validation)

    def run_of(self, settings: StudySettings) -> Run:
        """The run of a trial with these settings, whose one fold is the inner split."""
        sizes = {"view": settings.view.sizes[0], "detector": settings.detector.size}
        return replace(self.run, size=sizes[self.run.task])

    def study(self, settings: StudySettings, folder: Location, cohort: str, runs: int = 1) -> Study:
        """A study of one trial; or of several alike, each as a fold of its own, for the planner.

        A trial is measured on patients that it does not train on as it is: no more are kept out.
        """
        run = self.run_of(settings)
        settings = replace(settings, detector=replace(settings.detector, validation_share=0.0))
        return Study(
            open_storage(folder),
            cohort,
            settings,
            {run.split_key: (self.inner,) * runs},
            tuple(replace(run, fold=fold) for fold in range(runs)),
        )

    def seen(self, cohort: Cohort) -> dict[str, Any]:
        """Patients and sequences of each part."""
        parts = {
            "inner_train": self.inner.train,
            "inner_validation": self.inner.validation,
            "outer": self.outer,
        }
        seen: dict[str, Any] = {name: _count(cohort, part) for name, part in parts.items()}
        inside, outside = (
            {cohort.sequences[sequence].patient_id for sequence in part}
            for part in (self.sequences, self.outer)
        )
        seen["outer"]["patients_also_inside"] = len(inside & outside)
        return seen


def _run(study: Study, view: str, fold: int) -> Run:
    folds = max(len(cut) for cut in study.splits.values())
    views = sorted({run.view for run in study.runs})
    if fold >= folds or fold < 0:
        there = f"folds 0 to {folds - 1}" if folds > 1 else "fold 0 alone"
        raise ValueError(f"There is no fold {fold}: the study has {there}.")
    if not view and len(views) > 1:
        raise ValueError(
            f"The cohort has detectors of {', '.join(views)}, and each is searched by itself. "
            f"Say which, such as `--detector-view {views[0]}`."
        )
    wanted = view or views[0]
    for run in study.runs:
        if run.view == wanted and run.fold == fold:
            return run
    raise ValueError(f"The cohort has no detector of view {view!r}: {instead(view, views)}.")


def _count(cohort: Cohort, sequences: Sequence[str]) -> dict[str, int]:
    patients = {cohort.sequences[sequence].patient_id for sequence in sequences}
    return {"patients": len(patients), "sequences": len(sequences)}
