"""``python -m angioray.score``: anybody's COCO results for a cohort, with intervals."""

from __future__ import annotations

from pathlib import Path

from angioray import CONFIGS
from angioray.study.settings import StudySettings
from preprocess.console.command_line import run as run_command
from preprocess.console.command_line import usage

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
    "AUC@frame": "AUC of lesion or none, by each frame's best box",
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
    from angioray.report.scoring import Score
    from preprocess.cohort import Cohort, count_phantoms, phantom_notice
    from preprocess.console.tables import print_table
    from preprocess.storage.atomic import write_json

    opened = Cohort.open(cohort)
    found = Score.of(opened, settings, results, images=images, variant=variant)
    sequences = opened.sequences.values()
    if notice := phantom_notice(count_phantoms(sequences), len(sequences)):
        print(notice)
    print_table(
        ["metric", "value", "95 % interval"],
        ([words, *_cells(*found.metrics[n])] for n, words in ROWS.items() if n in found.metrics),
    )
    print(*found.sentences(), sep="\n")
    if out:
        protocol = {
            "cohort_digest": opened.digest,
            "splits": settings.splits,
            "judged_frames": settings.detector.judged_frames,
        }
        write_json(out, protocol | found.as_json())
        print(f"Wrote {out}.")


def _cells(value: float | None, ci95: tuple[float, float] | None) -> list[str]:
    interval = "-" if ci95 is None else f"{ci95[0]:.3f} to {ci95[1]:.3f}"
    return ["-" if value is None else f"{value:.3f}", interval]


if __name__ == "__main__":
    run_command(score, prog="python -m angioray.score")
