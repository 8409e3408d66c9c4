"""The report's first sentences: what was run, what came out, and what weakens it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from angioray.report.balance import BothSides, cohort_in_words, patients_are_unknown
from angioray.report.derived import FALSE_BOXES, MAJORITY_ACCURACY
from angioray.report.estimates import Estimate
from angioray.report.results import ALL_BOXES, BASELINE
from angioray.report.runs import Group, ReportedStudy
from angioray.report.tables import Value
from preprocess.cohort import Cohort

_FEW_PATIENTS = 20
_NAMED = 8
RECALL = "recall@IoU0.20/score0.50/max5"
PRECISION = "precision@IoU0.20/score0.50/max5"
TOLD = ("accuracy", RECALL, PRECISION)
"""The metrics of which :func:`describe` gives an interval."""

Scored = Sequence[tuple[Group, Mapping[str, Estimate]]]


def headline(study: ReportedStudy, cohort: Cohort | None, scored: Scored) -> tuple[str, ...]:
    """One sentence on the runs, one per classifier, one per view's first variant with results.

    Each says whether patients lie on both sides of its folds, unless a notice says it of all.

    The first variant, not the best one: choosing by result would flatter it.
    """
    states = Counter(run.state for run in study.runs)
    sentences = [
        f"{states['finished']} of {len(study.runs)} runs are finished, on "
        f"{cohort_in_words(study, cohort)}."
    ]
    if any(run.repeat for run in study.runs):
        sentences.append(
            "Every fold was trained with several seeds. Metrics, intervals and comparisons are of "
            "the mean over seeds. Of the first seed alone, whose networks predict, are curves, the "
            "confusion matrix, pictures, both steps together, severity and guaranteed sensitivity."
        )
    unknown = cohort is not None and patients_are_unknown(cohort)
    told: set[str] = set()
    for group, found in scored:
        sentence = "" if group.view in told else describe(group, found)
        if sentence:
            sides = BothSides.of(study, cohort, group.runs[0].split_key)
            sentences.append(
                f"{sentence} {'' if unknown else sides.sentence(group.models)}".strip()
            )
        if sentence and group.task == "detector":
            told.add(group.view)
    return tuple(sentences)


def describe(group: Group, found: Mapping[str, Estimate]) -> str:
    """How good the models of a group are on what was held out, in a sentence; empty if unknown."""
    if group.task == "view" and "accuracy" in found:
        sentence = (
            f"View at {group.size} px: accuracy {_said(found['accuracy'])} on frames held out"
        )
        if (majority := found.get(MAJORITY_ACCURACY)) is not None:
            sentence += (
                f", where always giving the commonest view has {Value(mean=majority.mean).main}"
            )
        return f"{sentence}."
    if group.task == "detector" and RECALL in found:
        return _detector_sentence(group, found)
    return ""


def notices(study: ReportedStudy, cohort: Cohort | None, problem: str) -> tuple[str, ...]:
    """What is missing or weakens the numbers, most serious first."""
    found = []
    failed = [run for run in study.missing if run.state == "failed"]
    unfinished = [run for run in study.missing if run.state == "unfinished"]
    if failed:
        names = [f"{run.name} ({run.failure})" for run in failed]
        found.append(f"{_runs(len(failed))} missing because of a failure: {_listed(names)}.")
    if unfinished:
        repeated = any(run.repeat for run in study.runs)
        alike = ", of seeds that finished the same ones as the first" if repeated else ""
        names = [f"{run.name} ({run.reason_missing})" for run in unfinished]
        found.append(
            f"{_runs(len(unfinished))} not finished: {_listed(names)}. Means and intervals are "
            f"of the finished folds alone{alike}."
        )
    if problem:
        found.append(problem)
    if any(run.view == "all" for run in study.runs):
        found.append(
            "The boxes of this cohort have no view, so that one detector was trained on all of it."
        )
    if cohort is not None and patients_are_unknown(cohort):
        found.append(
            "Grouping by patient was impossible: the sources name no patients, and every sequence "
            "is a single still. Frames of one patient may lie on both sides of a fold."
        )
    found.append(few_patients(study))
    return tuple(filter(None, found))


def few_patients(study: ReportedStudy) -> str:
    """What is to be thought of numbers of few patients; empty if there are more."""
    patients = study.document["cohort"]["patients"]
    if patients >= _FEW_PATIENTS:
        return ""
    return f"{patients} patients are too few to conclude anything from these numbers."


def _detector_sentence(group: Group, found: Mapping[str, Estimate]) -> str:
    sentence = (
        f"{group.view} detector, variant {group.variant}: finds {_said(found[RECALL])} of the "
        "lesions with at most five boxes a frame of score above 0.5"
    )
    if PRECISION in found:
        sentence += f"; {_said(found[PRECISION])} of these boxes are right"
    if FALSE_BOXES in found:
        sentence += f", and {_said(found[FALSE_BOXES])} a frame are false"
    if ALL_BOXES in found and BASELINE in found and found[BASELINE].mean is not None:
        sentence += (
            f". Its five best boxes of any score find {Value(mean=found[ALL_BOXES].mean).main}; "
            "five boxes at fixed places that ignore the image find "
            f"{Value(mean=found[BASELINE].mean).main}"
        )
    return f"{sentence}."


def _said(estimate: Estimate) -> str:
    value = Value(mean=estimate.mean, std=estimate.std, ci95=estimate.ci95)
    return value.main + (f" (95 % interval {value.interval})" if value.interval else "")


def _runs(count: int) -> str:
    return "1 run is" if count == 1 else f"{count} runs are"


def _listed(names: Sequence[str]) -> str:
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more
