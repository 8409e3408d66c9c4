"""Both steps together on held-out folds, and the price of wrongly named views."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from angioray.evaluation.end_to_end import EndToEnd
from angioray.report.evidence import BoxesAndScores, DetectorEvidence, ViewEvidence
from angioray.report.published import DETECTOR_METRICS
from angioray.report.results import HEADINGS
from angioray.report.runs import ReportedStudy
from angioray.report.tables import Row, Table, Value

_METRICS = (*DETECTOR_METRICS, "F1@IoU0.20/score0.50/max5")


@dataclass(frozen=True, kw_only=True)
class TwoStepResult:
    """One classifier before one variant of the detectors."""

    size: int
    variant: str
    found: EndToEnd
    weights_are_there: bool
    """Whether the other view's detector could look at sequences of wrongly named views; they
    count as without any box otherwise."""

    def as_json(self) -> list[dict[str, Any]]:
        """The entries of ``report.json``."""
        return [
            {
                "view_size": self.size,
                "variant": self.variant,
                "sequences": self.found.sequences,
                "wrong_views": self.found.wrong_views,
                "wrong_views_without_boxes": not self.weights_are_there,
                "metric": metric,
                "view_given": cost.given,
                "view_given_ci95": _listed(cost.given_ci95),
                "view_named": cost.named,
                "view_named_ci95": _listed(cost.named_ci95),
                "difference": cost.difference.value,
                "difference_ci95": _listed(cost.difference.ci95),
            }
            for metric, cost in self.found.costs.items()
        ]


def two_step_results(
    study: ReportedStudy, views: Iterable[ViewEvidence], detectors: Sequence[DetectorEvidence]
) -> list[TwoStepResult]:
    """Every classifier before every variant, on the sequences that both have judged."""
    results = []
    for seen in views:
        named = _named(seen)
        for variant in dict.fromkeys(evidence.group.variant for evidence in detectors):
            of_variant = [e for e in detectors if e.group.variant == variant]
            if any(e.group.view not in seen.classes for e in of_variant):
                continue  # one detector for all views: there is nothing to name first
            if (result := _result(study, seen, named, variant, of_variant)) is not None:
                results.append(result)
    return results


def two_step_table(results: Sequence[TwoStepResult]) -> Table | None:
    """The view given, the view named, and the difference; None without any result."""
    if not results:
        return None
    rows = []
    for result in results:
        costs = [result.found.costs[metric] for metric in _METRICS]
        wrong = f"{result.found.wrong_views} of {result.found.sequences}"
        head = (f"{result.size} px", result.variant)
        given = [Value(mean=cost.given, ci95=cost.given_ci95) for cost in costs]
        named = [Value(mean=cost.named, ci95=cost.named_ci95) for cost in costs]
        apart = [Value(mean=c.difference.value, ci95=c.difference.ci95, signed=True) for c in costs]
        rows.append(Row((*head, "given", *given, "")))
        rows.append(Row((*head, "named first", *named, wrong)))
        rows.append(Row((*head, "difference", *apart, ""), "baseline"))
    note = "Values are of all views and frames together, held out from classifier and detectors."
    if not all(result.weights_are_there for result in results):
        note += (
            " The weights of the detectors are gone, so that sequences of wrongly named views "
            "count as without any box: a lower bound."
        )
    return Table(
        name="two_step",
        caption="Both steps together: what wrongly named views cost",
        columns=(
            *("View named at", "Variant", "View"),
            *(HEADINGS[metric] for metric in _METRICS),
            "Wrong views",
        ),
        rows=tuple(rows),
        note=note,
        meanings={
            "View named at": "input size of the view classifier",
            "View": "given: each sequence is judged by the detector of its true view; named first: "
            "by that of the view that the classifier named; difference: named first less given",
            "Wrong views": "sequences that the classifier gave another view",
        },
    )


def _named(seen: ViewEvidence) -> dict[str, str]:
    """The view that the classifier named, by sequence."""
    best = seen.probabilities.argmax(axis=1).tolist()
    return {
        seen.frames.frame(image_id)[0]: seen.classes[column]
        for image_id, column in zip(seen.image_ids, best, strict=True)
    }


def _result(
    study: ReportedStudy,
    seen: ViewEvidence,
    named: dict[str, str],
    variant: str,
    detectors: Sequence[DetectorEvidence],
) -> TwoStepResult | None:
    given: BoxesAndScores = {}
    wrong: dict[str, str] = {}
    ids: list[int] = []
    for evidence in detectors:
        for image_id in evidence.image_ids:
            sequence = seen.frames.frame(image_id)[0]
            if sequence not in named:
                continue
            ids.append(image_id)
            if image_id in evidence.predictions:
                given[image_id] = evidence.predictions[image_id]
            if named[sequence] != evidence.group.view:
                wrong[sequence] = named[sequence]
    if not ids:
        return None
    ids.sort()
    elsewhere = [i for i in ids if seen.frames.frame(i)[0] in wrong]
    looked = _other_detectors(study, seen, wrong, variant, elsewhere)
    of_wrong = set(elsewhere)
    boxes = {i: found for i, found in given.items() if i not in of_wrong} | (looked or {})
    found = EndToEnd.of(
        seen.frames.judged(ids), seen.frames.patients(ids), given, boxes, set(wrong)
    )
    return TwoStepResult(
        size=seen.group.size,
        variant=variant,
        found=found,
        weights_are_there=looked is not None,
    )


def _other_detectors(
    study: ReportedStudy,
    seen: ViewEvidence,
    wrong: dict[str, str],
    variant: str,
    image_ids: Sequence[int],
) -> BoxesAndScores | None:
    """What the wrong views' detectors find; None where their weights cannot be read."""
    if not image_ids:
        return {}
    # Imported here: only this part of the report runs detectors.
    import torch

    from angioray.inference.chosen import choose
    from angioray.inference.settings import PredictSettings
    from angioray.inference.two_step import TwoStep
    from angioray.study.held_out import HeldOut
    from angioray.study.study import Study

    cohort = seen.frames.cohort
    settings = PredictSettings(variant=variant, view_size=seen.group.size)
    found: BoxesAndScores = {}
    try:
        opened = Study.open(study.folder)
        chosen, held_out = choose(opened, settings), HeldOut.of(opened, cohort, cohort)
        system = TwoStep(opened, settings, torch.device("cpu"))
        for image_id in image_ids:
            sequence, t = seen.frames.frame(image_id)
            if detectors := chosen.judges(held_out, sequence).of(wrong[sequence]):
                frame = cohort.frame_8bit(sequence, t)
                (found[image_id],) = system.detect(frame[None], detectors)
    except (ValueError, OSError):
        return None
    return found


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
