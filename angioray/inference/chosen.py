"""Which of a study's networks answer, and which of them are finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from angioray.inference.settings import PredictSettings
from angioray.study.held_out import HeldOut
from angioray.study.matrix import Run
from angioray.study.run_folder import RunFolder
from angioray.study.selection import ALL_VIEWS
from angioray.study.study import Study
from preprocess.console.names import instead


@dataclass(frozen=True, kw_only=True)
class Judges:
    """The finished runs that may judge one cine: none of them was trained on its patient.

    Attributes:
        classifiers: that name its view; none where one detector does all views.
        detectors: of each view that the study has detectors for; perhaps none of one.
        new_patient: whether the study has never seen the patient.
    """

    classifiers: tuple[Run, ...]
    detectors: Mapping[str, tuple[Run, ...]]
    new_patient: bool

    def __bool__(self) -> bool:
        """Whether any run may begin."""
        return bool(self.classifiers or self.detectors.get(ALL_VIEWS))

    def of(self, view: str | None) -> tuple[Run, ...] | None:
        """The detectors of a view; None where the study has no detector for it."""
        return self.detectors.get(ALL_VIEWS, self.detectors.get(view or ALL_VIEWS))


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The networks that answer, as the settings choose them.

    Attributes:
        variant: of the detectors.
        view_size: input side of the view classifiers; None if one detector does all views.
        classifiers: the finished runs that name views.
        detectors: the finished runs of each view.
        notes: which folds are not finished, as sentences.
    """

    variant: str
    view_size: int | None
    classifiers: tuple[Run, ...]
    detectors: Mapping[str, tuple[Run, ...]]
    notes: tuple[str, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """All of them."""
        return (*self.classifiers, *(run for of_view in self.detectors.values() for run in of_view))

    def judges(self, held_out: HeldOut, sequence_id: str) -> Judges:
        """Those that may judge a sequence."""

        def may_judge(run: Run) -> bool:
            return run.fold in held_out.folds(run.split_key, sequence_id)

        return Judges(
            classifiers=tuple(filter(may_judge, self.classifiers)),
            detectors={
                view: tuple(filter(may_judge, of_view)) for view, of_view in self.detectors.items()
            },
            new_patient=held_out.is_new(sequence_id),
        )


def choose(study: Study, settings: PredictSettings) -> Chosen:
    """The networks that answer, of each fold that of its first seed; each step must have one.

    Raises:
        ValueError: the study has no such variant or size, no detectors, or a step of which no
            network is finished.
    """
    # Further seeds tell chance, at a price; systems are there to be compared.
    runs = [run for run in study.runs if run.repeat == 0 and not run.system]
    detectors = [run for run in runs if run.task == "detector"]
    classifiers = [run for run in runs if run.task == "view"]
    variant = _known(study, "variant", settings.variant, [run.variant for run in detectors])
    size = None
    steps: dict[str, list[Run]] = {}
    if any(run.view != ALL_VIEWS for run in detectors):
        size = _known(study, "view_size", settings.view_size, [run.size for run in classifiers])
        label = f"view classifier at {size} px"
        steps[label] = [run for run in classifiers if run.size == size]
    for run in detectors:
        if run.variant == variant:
            steps.setdefault(f"{run.view} detector of variant {variant}", []).append(run)
    finished = {
        label: [run for run in runs if RunFolder.of(study.folder, run).finished]
        for label, runs in steps.items()
    }
    if not all(finished.values()):
        raise ValueError(_unfinished(study, steps, finished))
    there = [run for of_step in finished.values() for run in of_step]
    of_view: dict[str, list[Run]] = {}
    for run in there:
        if run.task == "detector":
            of_view.setdefault(run.view, []).append(run)
    return Chosen(
        variant=variant,
        view_size=size,
        classifiers=tuple(run for run in there if run.task == "view"),
        detectors={view: tuple(runs) for view, runs in of_view.items()},
        notes=tuple(
            f"{_in_words(label, runs, steps)}; cines that only the other folds may judge are left "
            "out."
            for label, runs in finished.items()
            if len(runs) < len(steps[label])
        ),
    )


def _known(study: Study, name: str, wanted: Any, there: Sequence[Any]) -> Any:
    if not there:
        step = {"variant": "detectors", "view_size": "view classifiers"}[name]
        tasks = ", ".join(study.settings.tasks)
        raise ValueError(
            f"The study in {study.folder} has no {step} (its setting `tasks` is [{tasks}]), and a "
            "prediction needs both. Give the runs folder of a study with both."
        )
    if wanted is not None and wanted not in there:
        names = [str(each) for each in there]
        raise ValueError(
            f"{name} is {wanted}, which the study in {study.folder} has not: "
            f"{instead(str(wanted), names)}."
        )
    return there[0] if wanted is None else wanted


def _unfinished(
    study: Study, steps: Mapping[str, Sequence[Run]], finished: Mapping[str, Sequence[Run]]
) -> str:
    lines = [_in_words(label, runs, steps) for label, runs in finished.items()]
    return (
        f"The study in {study.folder} is not far enough to predict, for which each step needs a "
        "finished network:\n  " + "\n  ".join(lines) + "\nContinue it with "
        f"`python -m angioray.cv COHORT --all-folds --runs {study.folder}` and its settings."
    )


def _in_words(label: str, runs: Sequence[Run], steps: Mapping[str, Sequence[Run]]) -> str:
    folds = ", ".join(str(run.fold) for run in runs)
    which = f"fold{'s' if len(runs) > 1 else ''} {folds}" if runs else "none"
    return f"{label}: {which} of {len(steps[label])} finished"
