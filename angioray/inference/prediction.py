"""The predictions for a cohort: views, boxes, metrics where there is a truth, and files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from angioray.evaluation.end_to_end import EndToEnd
from angioray.evaluation.matching import Detections
from angioray.inference.chosen import Chosen
from angioray.inference.settings import PredictSettings
from angioray.inference.two_step import NamedView, TwoStep, frames_to_name
from angioray.study.detector_task import coco_results
from angioray.study.frame_index import FrameIndex
from angioray.study.selection import CohortIndex
from angioray.training.frames import FrameKey
from preprocess.storage.atomic import write_json, write_text
from preprocess.storage.csv_text import csv_text

COLUMNS = ("sequence_id", "view", "probability", "models", "frames", "boxes", "best_score")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Views by sequence and boxes by frame."""

    variant: str
    view_size: int | None
    views: dict[str, NamedView]
    """Empty where the study names no views."""
    found: dict[FrameKey, Detections]
    judged: EndToEnd | None
    """Where readers named the view and drew boxes."""


def carry_out(system: TwoStep, settings: PredictSettings, chosen: Chosen) -> Prediction:
    """Both steps on every sequence of the system's cohort, by the networks that were chosen."""
    study, cohort = system.study, system.cohort
    variant, size = chosen.variant, chosen.view_size
    index = CohortIndex.of(cohort, study.settings.view_classes)
    naming = frames_to_name(index, cohort.sequences)
    views = {} if size is None else system.name_views(naming, size)
    sequences = list(cohort.sequences) if size is None else list(views)
    keys = [key for s in sequences for key in _frames(index, naming[s], settings)]
    found = system.detect(keys, {s: named.view for s, named in views.items()}, variant)
    judged = _judged(system, index, views, found, variant)
    return Prediction(variant=variant, view_size=size, views=views, found=found, judged=judged)


def write_predictions(
    out: Path, system: TwoStep, prediction: Prediction, settings: PredictSettings
) -> Iterator[str]:
    """Write views, boxes, a row per sequence and, where it was judged, how good it is.

    Yields:
        What to say of it, line by line.
    """
    cohort = system.cohort
    out.mkdir(parents=True, exist_ok=True)
    found = {
        cohort.image_id(*key): detections for key, detections in sorted(prediction.found.items())
    }
    write_json(out / "predictions.json", coco_results(found))
    write_json(out / "evaluated_images.json", list(found))
    write_json(out / "views.json", {s: asdict(named) for s, named in prediction.views.items()})
    write_text(out / "sequences.csv", _table(prediction, settings.score))
    names = ["predictions.json", "evaluated_images.json", "views.json", "sequences.csv"]
    sequences = {sequence for sequence, _ in prediction.found}
    new = sum(system.held_out.is_new(sequence) for sequence in sequences)
    yield (
        f"Looked at {len(found)} frames of {len(sequences)} sequences; {new} of patients that the "
        f"study has never seen, {len(sequences) - new} by models that held the patient out."
    )
    if left := len(cohort.sequences) - len(sequences):
        yield f"{left} sequences were left out: no finished model may judge them without a leak."
    if (judged := prediction.judged) is not None:
        write_json(out / "metrics.json", _metrics(prediction, judged, settings))
        names.append("metrics.json")
        yield from _describe(judged)
    yield f"Wrote {out} ({', '.join(names)})."
    yield f"The boxes are COCO results of the images in {cohort.folder / 'annotations.json'}."


def _frames(index: CohortIndex, naming: FrameKey, settings: PredictSettings) -> list[FrameKey]:
    if settings.frames == "reference":
        return [naming]
    optimal = index.contrast_frames(naming[0])
    return sorted({naming, *((naming[0], t) for t in optimal)})


def _judged(
    system: TwoStep,
    index: CohortIndex,
    views: dict[str, NamedView],
    found: dict[FrameKey, Detections],
    variant: str,
) -> EndToEnd | None:
    """The reference frames of sequences with lesions and a known view; None without any."""
    true = {s: index.view_class[s] for s in views if s in index.view_class and s in index.boxed}
    keys = [key for key in index.judged_frames(true, "reference") if key in found]
    if not keys:
        return None
    wrong = {s for s in true if views[s].view != true[s]}
    given = {key: found[key] for key in keys if key[0] not in wrong}
    given |= system.detect([key for key in keys if key[0] in wrong], true, variant)
    frames = FrameIndex(cohort=system.cohort)
    by_image = {system.cohort.image_id(*key): key for key in keys if key in given}
    ids = sorted(by_image)
    return EndToEnd.of(
        frames.judged(ids),
        frames.patients(ids),
        {image_id: given[by_image[image_id]] for image_id in ids},
        {image_id: found[by_image[image_id]] for image_id in ids},
        wrong,
    )


def _table(prediction: Prediction, score: float) -> str:
    rows: list[list[object]] = []
    by_sequence: dict[str, list[Detections]] = {}
    for (sequence, _), detections in prediction.found.items():
        by_sequence.setdefault(sequence, []).append(detections)
    for sequence, answers in by_sequence.items():
        named = prediction.views.get(sequence)
        best = max((float(scores[0]) for _, scores in answers if len(scores)), default=None)
        rows.append(
            [
                sequence,
                named.view if named else "",
                f"{named.probabilities[named.view]:.3f}" if named else "",
                named.models if named else "",
                len(answers),
                sum(int((scores > score).sum()) for _, scores in answers),
                "" if best is None else f"{best:.3f}",
            ]
        )
    return csv_text(COLUMNS, rows)


def _metrics(prediction: Prediction, judged: EndToEnd, settings: PredictSettings) -> dict[str, Any]:
    return {
        "settings": asdict(settings),
        "variant": prediction.variant,
        "view_size": prediction.view_size,
        "sequences": judged.sequences,
        "patients": judged.patients,
        "wrong_views": judged.wrong_views,
        "metrics": {name: asdict(cost) for name, cost in judged.costs.items()},
    }


def _describe(judged: EndToEnd) -> Iterator[str]:
    yield (
        f"Judged on the reference frames of {judged.sequences} sequences of {judged.patients} "
        f"patients; {judged.wrong_views} views were named wrongly."
    )
    yield f"  {'':<36} view given  named first"
    for name in (
        *("at_least_one@IoU0.20/score0.50", "recall@IoU0.20/score0.50/max5"),
        *("precision@IoU0.20/score0.50/max5", "AP@IoU0.20"),
    ):
        cost = judged.costs[name]
        given, named = ("-" if v is None else f"{v:.3f}" for v in (cost.given, cost.named))
        yield f"  {name:<36} {given:>10}  {named:>11}"
