"""How good the models that predict are, as sentences: on what was held out, and what weakens it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from angioray.evaluation.detection import PAPER, recall_of_all
from angioray.evaluation.intervals import Difference, Interval, Jackknife
from angioray.evaluation.measures import MeanOf
from angioray.inference.chosen import Chosen
from angioray.report.balance import BothSides
from angioray.report.derived import false_box_estimates, majority_estimates
from angioray.report.estimates import Estimate, detector_intervals, estimates, view_intervals
from angioray.report.evidence import DetectorEvidence, ViewEvidence
from angioray.report.headline import PRECISION, RECALL, TOLD, describe, few_patients
from angioray.report.results import ALL_BOXES, BASELINE
from angioray.report.runs import Group, ReportedStudy
from angioray.report.tables import Value
from angioray.study.acquisitions import RECORDED
from angioray.study.frame_index import FrameIndex
from preprocess.cohort import Cohort

NO_INTERVALS = (
    "The study's cohort is gone or was changed, so that the quality of the models has no intervals."
)

NO_ACQUISITIONS = (
    "An earlier version trained the models, which did not record how their cines were acquired: a "
    "cine that is unlike them is not named."
)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How good the models of a study that predict are.

    Attributes:
        sentences: one of the view classifiers, one of the detectors of each view.
        warnings: what weakens these numbers or speaks against the models, most serious first.
    """

    sentences: tuple[str, ...]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, study: ReportedStudy, cohort: Cohort | None, chosen: Chosen) -> Quality:
        """The quality of the models that predict, each judged on the validation part of its fold.

        Args:
            study: the runs folder.
            cohort: the study's; without it there are no intervals.
            chosen: the variant and the input size that predict.

        Raises:
            ValueError: a file of a run is not what was written.
        """
        frames = None if cohort is None else FrameIndex(cohort=cohort)
        groups = [g.by_seed[0] for g in study.groups if g.members and _predicts(g, chosen)]
        sentences: list[str] = []
        weak: list[str] = []
        for group in groups:
            found: DetectorEvidence | None = None
            intervals: dict[str, Interval | None] = {}
            derived: dict[str, Estimate] = {}
            if frames is not None and group.task == "detector":
                found = DetectorEvidence.of(group, frames)
                intervals = detector_intervals(found, TOLD)
                derived = false_box_estimates(found)
            elif frames is not None and (seen := ViewEvidence.of(group, frames, study.view_class)):
                intervals = view_intervals(seen, TOLD)
                derived = majority_estimates(study, seen)
            scored = estimates(group, intervals) | derived
            sentences.append(describe(group, scored))
            weak += weaknesses(group, scored, found)
        notes = [_only_phantoms(study), *weak, *chosen.notes, few_patients(study)]
        notes += [
            BothSides.of(study, cohort, group.finished[0].split_key).sentence(group.models)
            for group in groups
        ]
        notes += [NO_INTERVALS] if cohort is None else []
        results = [run.result or {} for group in groups for run in group.finished]
        notes += [] if all(RECORDED in result for result in results) else [NO_ACQUISITIONS]
        return cls(sentences=tuple(filter(None, sentences)), warnings=tuple(filter(None, notes)))


def weaknesses(
    group: Group, scored: Mapping[str, Estimate], found: DetectorEvidence | None
) -> list[str]:
    """What speaks against the models of a group, as sentences.

    Args:
        group: a view's detectors, or the view classifiers of one input size.
        scored: their metrics.
        found: what the detectors found; without it, nothing is known patient by patient.
    """
    if group.task == "view":
        return _folds_of_one_answer(group)
    collapsed = _folds_without_a_find(group)
    if BASELINE not in scored:
        return collapsed
    gain = _gain(scored, found)
    lowest = gain.value if gain.ci95 is None else gain.ci95[0]
    if lowest is None or lowest > 0:
        return collapsed
    shown = Value(mean=gain.value, ci95=gain.ci95, signed=True)
    interval = f", 95 % interval {shown.interval}" if shown.interval else ""
    return [
        f"The {group.view} detectors of variant {group.variant} are not shown to be better than "
        f"five boxes at fixed places that ignore the image (recall {shown.main}{interval}): do not "
        "trust their boxes.",
        *collapsed,
    ]


def _gain(scored: Mapping[str, Estimate], found: DetectorEvidence | None) -> Difference:
    """The recall of a detector's five best boxes of any score, less that of five fixed boxes.

    The mean over seeds.
    """
    if found is not None and found.matched.baseline is not None:
        jackknife = Jackknife.of(found.frames.patients(found.image_ids))
        seeds = [each.matched for each in (found, *found.others)]
        return jackknife.difference(
            MeanOf([recall_of_all(seed.best) for seed in seeds]),
            MeanOf([recall_of_all(seed.baseline) for seed in seeds if seed.baseline is not None]),
        )
    means = scored[ALL_BOXES].mean, scored[BASELINE].mean
    value = None if means[0] is None or means[1] is None else means[0] - means[1]
    return Difference(value=value, ci95=None)


def _folds_of_one_answer(group: Group) -> list[str]:
    """Folds whose classifier gives one answer to all that it is judged on.

    A class has a recall where it is true of something, and a precision where it was answered.
    """
    sentences = []
    for run in group.finished:
        assert run.result is not None
        classes = run.result.get("classes", [])
        true, answered = (
            [name for name in classes if run.metric(f"{measure}/{name}") is not None]
            for measure in ("recall", "precision")
        )
        if len(answered) == 1 and len(true) > 1:
            sentences.append(
                f"The view classifier of fold {run.label} at {group.size} px takes all that it is "
                f"judged on for {answered[0]}, where {' and '.join(true)} are true: do not trust "
                "its views."
            )
    return sentences


def _folds_without_a_find(group: Group) -> list[str]:
    """Folds whose detector finds no lesion above the score threshold, though there are some.

    Recall is undefined where there are none, and precision where no box has such a score.
    """
    sentences = []
    for run in group.finished:
        if run.metric(RECALL) == 0:
            silent = run.metric(PRECISION) is None
            said = (
                "gives no box a score" if silent else "finds no lesion with boxes of a score"
            ) + f" above {PAPER.score:g}"
            sentences.append(
                f"The {group.view} detector of fold {run.label}, variant {group.variant}, {said} "
                "on the frames that it is judged on, which have lesions: do not trust it."
            )
    return sentences


def _only_phantoms(study: ReportedStudy) -> str:
    facts = study.document["cohort"]
    if not facts["sequences"] or facts.get("phantoms", 0) < facts["sequences"]:
        return ""
    return (
        "The models were trained on phantoms alone: what they find in the cine of a patient means "
        "nothing."
    )


def _predicts(group: Group, chosen: Chosen) -> bool:
    if group.task == "view":
        return group.size == chosen.view_size
    return group.variant == chosen.variant
