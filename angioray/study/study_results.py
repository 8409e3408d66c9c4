"""What the detectors of a study found, as one result: one variant, its first seed, all folds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from angioray.study.matrix import Run, Splits
from angioray.study.run_folder import HEALTHY_IMAGES, RunFolder
from angioray.study.splits import Fold
from angioray.study.study import Study, read_study
from preprocess.cohort import Cohort
from preprocess.console.names import instead
from preprocess.console.words import counted


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """The results of one variant's finished runs, and what these were judged on."""

    study: Study
    runs: list[Run]
    rows: list[Any]
    """COCO results of all folds."""
    image_ids: set[int]
    """The frames with boxes that these runs were judged on, and the healthy ones."""
    judged_healthy: bool
    """Whether every fold judged healthy arteries; those of earlier versions judged none."""
    notes: list[str]
    """What was taken, and what is missing, in sentences."""

    @classmethod
    def read(cls, folder: Path, cohort: Cohort, variant: str | None) -> StudyResults:
        """Read a runs folder.

        Args:
            folder: the runs folder.
            cohort: which the study must be of.
            variant: of the detectors; None for the study's first.

        Raises:
            ValueError: it holds no study of this cohort, no such variant or none that has finished.
        """
        study = Study.open(str(folder))
        facts = read_study(study.folder)["cohort"]
        if changed := cohort.changes(facts["digest"], facts.get("contents")):
            raise ValueError(
                f"{folder} is the study of another cohort, or of an earlier state of this one, "
                f"which now has {changed}. Give the cohort that the runs were made with."
            )
        detectors = [run for run in study.runs if run.task == "detector" and not run.system]
        variants = list(dict.fromkeys(run.variant for run in detectors))
        chosen = variant or next(iter(variants), "B")
        planned = [run for run in detectors if run.variant == chosen and not run.repeat]
        if not planned:
            raise ValueError(
                f"{folder} has no detector of variant {chosen!r}: {instead(chosen, variants)}."
            )
        folders = {run: RunFolder.of(study.folder, run) for run in planned}
        runs = [run for run in planned if folders[run].finished]
        if not runs:
            raise ValueError(f"{folder} has no finished detector of variant {chosen}.")
        of = {
            name: [folders[run].files.read_json(name) for run in runs]
            for name in ("predictions.json", "evaluated_images.json", HEALTHY_IMAGES)
        }
        judged_healthy = None not in of[HEALTHY_IMAGES]
        healthy = [row["image_id"] for rows in of[HEALTHY_IMAGES] for row in rows or ()]
        seeds = 1 + max(run.repeat for run in detectors)
        notes = [
            f"{counted(len(runs), 'detector')} of variant {chosen} taken"
            + (f" ({', '.join(variants)} are there)" if len(variants) > 1 else "")
            + (f", of {seeds} seeds the first." if seeds > 1 else ".")
        ]
        if missing := [run.name for run in planned if run not in runs]:
            notes.append(f"Not finished, so their folds are not judged: {', '.join(missing)}.")
        if not judged_healthy:
            notes.append("Not every fold of these runs judged healthy arteries: they have no rows.")
        return cls(
            study=study,
            runs=runs,
            rows=[row for rows in of["predictions.json"] for row in rows or ()],
            image_ids={i for ids in of["evaluated_images.json"] for i in ids or ()}
            | set(healthy if judged_healthy else ()),
            judged_healthy=judged_healthy,
            notes=notes,
        )

    def validated(self, protocol: Splits | None) -> list[str]:
        """The sequences of the validation parts of these runs.

        Raises:
            ValueError: the protocol has folds, and they are others.
        """
        for run in self.runs:
            own = self.study.fold(run)
            folds = (own,) if protocol is None else protocol.get(run.split_key, ())[run.fold :][:1]
            if [_sides(fold) for fold in folds] != [_sides(own)]:
                raise ValueError(
                    f"{run.name} has another fold than the protocol. Train with the protocol's "
                    "`splits`, or give none here to judge the study's own folds."
                )
        sides = (self.study.fold(run).validation for run in self.runs)
        return list(dict.fromkeys(name for side in sides for name in side))

    def refuse_other_frames(self, image_ids: set[int]) -> None:
        """Refuse frames to judge that these runs were not judged on.

        Raises:
            ValueError: there are such, or these runs were judged on others.
        """
        if image_ids != self.image_ids:
            which = self.study.settings.detector.judged_frames
            raise ValueError(
                f"The runs were judged on {counted(len(self.image_ids), 'frame')}; these settings "
                f"ask for {len(image_ids)}, of which {len(image_ids & self.image_ids)} are among "
                f"them. The study was made with `--detector.judged_frames {which}`."
            )


def _sides(fold: Fold) -> tuple[set[str], set[str]]:
    return set(fold.train), set(fold.validation)
