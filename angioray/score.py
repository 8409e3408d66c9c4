"""``python -m angioray.score``: anybody's COCO results for a cohort, with intervals."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

from angioray import CONFIGS
from angioray.study.settings import StudySettings
from preprocess.console.command_line import run as run_command
from preprocess.console.command_line import usage

SCHEMA_VERSION = 1
ROWS = {
    "AP@IoU0.20/max100": "AP at IoU > 0.20, 100 boxes a frame",
    "AP@IoU0.30/max100": "AP at IoU 0.30, likewise",
    "AP@IoU0.50/max100": "AP at IoU 0.50, likewise",
    "AP@IoU0.50:0.95/max100": "AP at IoU 0.50 to 0.95, likewise",
    "recall@IoU0.20/score0.50/max5": "recall, IoU > 0.20, score > 0.5, 5 boxes",
    "precision@IoU0.20/score0.50/max5": "precision, likewise",
    "F1@IoU0.20/score0.50/max5": "F1, likewise",
    "sensitivity@IoU0.20/false1": "sensitivity at 1 false box a frame",
    "sensitivity@IoU0.20/mean": "sensitivity, mean of 1/8 to 8 false boxes",
    "healthy/false_boxes_per_frame@score0.50/max5": "false boxes a healthy frame, score > 0.5",
    "healthy/specificity_sequence@score0.50": "healthy sequences without a box, likewise",
    "healthy/specificity_patient@score0.50": "healthy patients without a box, likewise",
}
"""The metrics that are printed, by name; the JSON has all of them."""


@usage(common=("splits", "detector.judged_frames"), configs=CONFIGS, again="writes the same")
def score(
    settings: StudySettings,
    cohort: str,
    results: Path,
    images: Path | None = None,
    variant: str | None = None,
    out: Path | None = None,
) -> None:
    """Score a file of COCO results on a cohort, by whatever program they were made.

    Average precision is pycocotools'. Each number has its 95 % interval over patients. A frame
    without a result counts as one without boxes. Healthy arteries are judged with the others. Of a
    runs folder the finished detectors of one variant are taken, with their first seed, and only
    frames that they were judged on.

    Args:
        cohort: the cohort folder; it may be in an object store.
        results: the results: a JSON list of {"image_id", "category_id", "bbox", "score"}, or a runs
            folder of this program.
        settings: the protocol: which frames are judged. `--config configs/public/arcade.yaml` means
            those of the published val part; without `splits` all frames with boxes are judged.
        images: the COCO file whose image ids and categories the results have, joined to the cohort
            by its file names. Without it they are the cohort's ids, or file names.
        variant: of a runs folder's detectors, such as BG; without it the study's first.
        out: write all metrics to this JSON file as well.

    Raises:
        ValueError: the results cannot be read or joined, no frame is judged, or runs were judged on
            other frames or folds.

    Examples:
      python -m angioray.score cohort results.json --config arcade --images val.json
      python -m angioray.score danilov-cohort danilov-runs --config configs/public/danilov.yaml
    """
    # Imported here, so that help and mistakes are answered at once.
    from angioray.evaluation.detection import Matched
    from angioray.evaluation.healthy import healthy_measures
    from angioray.evaluation.intervals import Jackknife
    from angioray.evaluation.measures import value
    from angioray.report.balance import patients_are_unknown
    from angioray.study.given_splits import missing_patients
    from angioray.study.matrix import lay_out
    from angioray.study.published_frames import CohortFrames, ListedFrames
    from angioray.study.results_file import read_results, rows_of
    from angioray.study.selection import CohortIndex
    from angioray.study.study_results import StudyResults
    from preprocess.annotations.categories import is_lesion
    from preprocess.cohort import Cohort, count_phantoms, phantom_notice
    from preprocess.console.tables import print_table
    from preprocess.console.words import counted
    from preprocess.storage.atomic import write_json

    opened = Cohort.open(cohort)
    sequences = opened.sequences
    index = CohortIndex.of(opened, settings.view_classes)
    which, validated = settings.detector.judged_frames, list(sequences)
    notes = missing_patients(settings.splits, {s.patient_id for s in sequences.values()})
    splits = None
    if settings.splits is not None:
        splits, _ = lay_out(index, replace(settings, tasks=("detector",)))
        sides = (fold.validation for folds in splits.values() for fold in folds)
        validated = list(dict.fromkeys(chain.from_iterable(sides)))
    study = None
    if results.is_dir():
        study = StudyResults.read(results, opened, variant)
        validated, notes = study.validated(splits), [*notes, *study.notes]
    elif variant is not None:
        raise ValueError(f"--variant is for a runs folder; {results} is none.")
    if study and images:
        raise ValueError("--images is for a file of results: runs have the cohort's own ids.")
    with_boxes = index.judged_frames(validated, which)
    if not with_boxes:
        raise ValueError(f"No frame of {cohort} is judged: no sequence that validates has a box.")
    of_healthy = index.healthy_frames(validated if not study or study.judged_healthy else [], which)
    judged = [*with_boxes, *of_healthy]
    ids = [opened.image_id(*key) for key in judged]
    if study:
        study.refuse_other_frames(set(ids))
    own = CohortFrames(opened, ids)
    frames = own if images is None else ListedFrames.read(images, own, is_lesion)
    rows = study.rows if study else rows_of(results)
    found, elsewhere = read_results(rows, results, own, frames)
    truth = own.index.judged(ids)
    matched = Matched.of(truth, found)
    measures = matched.measures()
    if of_healthy:
        with_lesions = {sequences[s].patient_id for s in validated if s in index.boxed}
        patient = {opened.image_id(s, t): sequences[s].patient_id for s, t in of_healthy}
        healthy = {i: None if p in with_lesions else p for i, p in patient.items()}
        measures |= healthy_measures(truth, found, healthy)
    patients = own.index.patients(matched.every.frame_image_id.tolist())
    jackknife = Jackknife.of(patients)
    metrics = {
        name: (value(measure, len(ids)), jackknife.interval(measure))
        for name, measure in measures.items()
    }
    if notice := phantom_notice(count_phantoms(sequences.values()), len(sequences)):
        print(notice)
    print_table(
        ["metric", "value", "95 % interval"],
        ([words, *_cells(*metrics[name])] for name, words in ROWS.items() if name in metrics),
    )
    silent = [i not in found for i in ids]
    silent_healthy = sum(silent[len(with_boxes) :])
    cines = {sequence_id for sequence_id, _ in judged}
    lesions = int(matched.every.frame_truths.sum())
    print(
        f"Judged: {counted(len(ids), 'frame')} with {counted(lesions, 'lesion')} of "
        f"{counted(len(cines), 'sequence')}, {len(of_healthy)} of healthy arteries; "
        f"without a result are {sum(silent) - silent_healthy} frames with boxes and "
        f"{silent_healthy} healthy ones."
    )
    each = "image, for the set names no patients" if patients_are_unknown(opened) else "patient"
    print(f"Intervals: jackknife over {jackknife.patients}, one for each {each}.")
    if of_healthy and not study and silent_healthy == len(of_healthy):
        notes.append(
            "No result is on a healthy frame. If your program never looked at them, the rows of "
            "healthy arteries say nothing."
        )
    if elsewhere:
        notes.append(
            f"{elsewhere} of the results are on frames that are not judged, and are left out."
        )
    for note in [*notes, *frames.notes]:
        print(f"Note: {note}")
    if out:
        document = {
            "schema_version": SCHEMA_VERSION,
            "cohort_digest": opened.digest,
            "splits": settings.splits,
            "judged_frames": which,
            "frames": len(ids),
            "healthy_frames": len(of_healthy),
            "frames_without_a_result": sum(silent),
            "healthy_frames_without_a_result": silent_healthy,
            "patients": jackknife.patients,
            "metrics": {name: {"value": v, "ci95": ci95} for name, (v, ci95) in metrics.items()},
        }
        write_json(out, document)
        print(f"Wrote {out}.")


def _cells(value: float | None, ci95: tuple[float, float] | None) -> list[str]:
    interval = "-" if ci95 is None else f"{ci95[0]:.3f} to {ci95[1]:.3f}"
    return ["-" if value is None else f"{value:.3f}", interval]


if __name__ == "__main__":
    run_command(score, prog="python -m angioray.score")
