"""Anybody's COCO results, or a study's, judged on the frames that a protocol asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from angioray.evaluation.detection import Matched
from angioray.evaluation.healthy import healthy_measures
from angioray.evaluation.intervals import Interval, Jackknife
from angioray.evaluation.measures import Measure, value
from angioray.report.balance import patients_are_unknown
from angioray.study.given_splits import missing_patients
from angioray.study.matrix import Splits, lay_out
from angioray.study.published_frames import CohortFrames, ListedFrames
from angioray.study.results_file import read_results, rows_of
from angioray.study.selection import CohortIndex
from angioray.study.settings import StudySettings
from angioray.study.study_results import StudyResults
from angioray.training.frames import FrameKey
from preprocess.annotations.categories import is_lesion
from preprocess.cohort import Cohort
from preprocess.console.words import counted

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class JudgedPart:
    """The frames of a cohort that results are judged on.

    Attributes:
        sequences: those that validate.
        with_boxes: their frames with boxes.
        healthy: their frames of healthy arteries.
    """

    sequences: list[str]
    with_boxes: list[FrameKey]
    healthy: list[FrameKey]

    @classmethod
    def of(
        cls, index: CohortIndex, settings: StudySettings, study: StudyResults | None
    ) -> JudgedPart:
        """What the protocol asks for; of a study only what its runs were judged on.

        Raises:
            ValueError: no frame is judged, or the study's folds are others.
        """
        which, splits = settings.detector.judged_frames, _splits(index, settings)
        sequences = list(index.cohort.sequences)
        if splits is not None:
            sides = (fold.validation for folds in splits.values() for fold in folds)
            sequences = list(dict.fromkeys(chain.from_iterable(sides)))
        if study:
            sequences = study.validated(splits)
        with_boxes = index.judged_frames(sequences, which)
        if not with_boxes:
            raise ValueError(
                f"No frame of {index.cohort.folder} is judged: no sequence that validates has a "
                "box."
            )
        looked_at = sequences if not study or study.judged_healthy else []
        return cls(
            sequences=sequences,
            with_boxes=with_boxes,
            healthy=index.healthy_frames(looked_at, which),
        )


@dataclass(frozen=True, kw_only=True)
class Score:
    """What results are worth on a cohort.

    Attributes:
        metrics: value and 95 % interval by name; None where there is none.
        frames: with boxes, and of healthy arteries.
        silent: of these, those without a result.
        lesions, sequences, units: how many are judged; a unit of the intervals is a patient, or an
            image where the set names no patients.
        unit: the word for it.
        notes: what must be known of it, as sentences.
    """

    metrics: dict[str, tuple[float | None, Interval | None]]
    frames: tuple[int, int]
    silent: tuple[int, int]
    lesions: int
    sequences: int
    units: int
    unit: str
    notes: list[str]

    @classmethod
    def of(
        cls,
        cohort: Cohort,
        settings: StudySettings,
        results: Path,
        *,
        images: Path | None = None,
        variant: str | None = None,
    ) -> Score:
        """Judge results; the arguments are those of ``python -m angioray.score``.

        Raises:
            ValueError: the results cannot be read or joined, no frame is judged, or runs were
                judged on other frames or folds.
        """
        index = CohortIndex.of(cohort, settings.view_classes)
        patients = {sequence.patient_id for sequence in cohort.sequences.values()}
        notes = missing_patients(settings.splits, patients)
        study = StudyResults.read(results, cohort, variant) if results.is_dir() else None
        if study is None and variant is not None:
            raise ValueError(f"--variant is for a runs folder; {results} is none.")
        if study and images:
            raise ValueError("--images is for a file of results: runs have the cohort's own ids.")
        part = JudgedPart.of(index, settings, study)
        ids = [cohort.image_id(*key) for key in (*part.with_boxes, *part.healthy)]
        if study:
            study.refuse_other_frames(set(ids))
            notes += study.notes
        own = CohortFrames(cohort, ids)
        frames = own if images is None else ListedFrames.read(images, own, is_lesion)
        rows = study.rows if study else rows_of(results)
        found, elsewhere = read_results(rows, results, own, frames)
        judged = own.index.judged(ids)
        matched = Matched.of(judged, found)
        measures: dict[str, Measure] = matched.measures()
        if part.healthy:
            ill = {cohort.sequences[s].patient_id for s in part.sequences if s in index.boxed}
            whose = {cohort.image_id(s, t): cohort.sequences[s].patient_id for s, t in part.healthy}
            healthy = {image_id: None if p in ill else p for image_id, p in whose.items()}
            measures |= healthy_measures(judged, found, healthy)
        silent = [image_id not in found for image_id in ids]
        of_healthy = sum(silent[len(part.with_boxes) :])
        if part.healthy and not study and of_healthy == len(part.healthy):
            notes.append(
                "No result is on a healthy frame. If your program never looked at them, the rows "
                "of healthy arteries say nothing."
            )
        if elsewhere:
            notes.append(
                f"{elsewhere} of the results are on frames that are not judged, and are left out."
            )
        jackknife = Jackknife.of(own.index.patients(matched.every.frame_image_id.tolist()))
        unknown = patients_are_unknown(cohort)
        return cls(
            metrics={
                name: (value(measure, len(ids)), jackknife.interval(measure))
                for name, measure in measures.items()
            },
            frames=(len(part.with_boxes), len(part.healthy)),
            silent=(sum(silent) - of_healthy, of_healthy),
            lesions=int(matched.every.frame_truths.sum()),
            sequences=len({sequence_id for sequence_id, _ in (*part.with_boxes, *part.healthy)}),
            units=jackknife.patients,
            unit="image, for the set names no patients" if unknown else "patient",
            notes=[*notes, *frames.notes],
        )

    def sentences(self) -> list[str]:
        """What was judged, how intervals are made, and the notes."""
        return [
            f"Judged: {counted(sum(self.frames), 'frame')} with {counted(self.lesions, 'lesion')} "
            f"of {counted(self.sequences, 'sequence')}, {self.frames[1]} of healthy arteries; "
            f"without a result are {self.silent[0]} frames with boxes and {self.silent[1]} healthy "
            "ones.",
            f"Intervals: jackknife over {self.units}, one for each {self.unit}.",
            *(f"Note: {note}" for note in self.notes),
        ]

    def as_json(self) -> dict[str, Any]:
        """All of it, but for the words."""
        return {
            "schema_version": SCHEMA_VERSION,
            "frames": sum(self.frames),
            "healthy_frames": self.frames[1],
            "frames_without_a_result": sum(self.silent),
            "healthy_frames_without_a_result": self.silent[1],
            "patients": self.units,
            "metrics": {
                name: {"value": v, "ci95": ci95} for name, (v, ci95) in self.metrics.items()
            },
        }


def _splits(index: CohortIndex, settings: StudySettings) -> Splits | None:
    """The folds that the protocol gives; None where it gives none."""
    if settings.splits is None:
        return None
    splits, _ = lay_out(index, replace(settings, tasks=("detector",)))
    return splits
