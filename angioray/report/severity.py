"""Severity from regions: how well the heads of a study tell severe lesions from others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas

from angioray.evaluation.intervals import Interval, Jackknife
from angioray.evaluation.matching import BoolArray, FloatArray
from angioray.evaluation.measures import value
from angioray.evaluation.severity import roc_curve, severity_measures
from angioray.report.definitions import MAJORITY
from angioray.report.published import IFR, IFR_IN_SHORT
from angioray.report.runs import Group, ReportedStudy
from angioray.report.tables import Row, Table, Value
from angioray.study.severity_questions import Question
from preprocess.cohort import Cohort
from preprocess.console.drawing import COLOURS, GREY, LINES, Figure, draw, panels

SCORES = {"head": "Head", "box_size": "Box size alone"}
"""What gave the scores, by its name in ``severity.json``."""
PUBLISHED = {"ifr": IFR}
"""What was published of others' models, by question."""
DIFFERENCE = "difference"
CHANCE = 0.5
"""The AUC of scores that say nothing."""
HEADINGS = {
    "AUC": "AUC",
    "accuracy": "Accuracy",
    "majority": MAJORITY,
    "NPV": "NPV",
    "PPV": "PPV",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
}
MEANINGS = {
    "Score of": "what gives the score: the head, a logistic regression of the detector's features; "
    "or one of the box's size alone; difference: head less box size",
    "AUC": "area under the ROC curve; 0.5 for chance",
    MAJORITY: "the accuracy of always giving the more frequent answer",
    "NPV": "share of the answers no that are right",
    "PPV": "share of the answers yes that are right",
    "Sensitivity": "share of the true yes that are found",
    "Specificity": "share of the true no that are found",
    "Yes": "sequences of which yes is true, of all that are judged",
}
"""What the headings mean."""
NOT_SAID = "The run says nothing of it: an earlier version finished it, or nothing is known there."


@dataclass(frozen=True, kw_only=True, eq=False)
class SeverityEvidence:
    """The sequences of held-out folds with a known answer to a question, and their scores."""

    question: Question
    view: str
    variant: str
    patients: tuple[str, ...]
    yes: BoolArray
    """bool[N], the answers."""
    scores: Mapping[str, FloatArray]
    """float[N] of each of :data:`SCORES`."""

    @property
    def counted(self) -> str:
        """Of how many sequences the answer is yes, and how many there are."""
        return f"{int(self.yes.sum())} of {len(self.yes)}"

    def rows(self) -> Iterator[dict[str, Any]]:
        """The entries of ``report.json``: each measure of each score, and their differences."""
        jackknife = Jackknife.of(self.patients)
        head, size = (severity_measures(self.yes, self.scores[name]) for name in SCORES)
        known = {
            "question": self.question.name,
            "view": self.view,
            "variant": self.variant,
            "sequences": len(self.yes),
            "yes": int(self.yes.sum()),
            "patients": jackknife.patients,
        }
        for metric in HEADINGS:
            for of, measure in zip(SCORES, (head[metric], size[metric]), strict=True):
                found = value(measure, len(self.yes)), jackknife.interval(measure)
                yield {**known, "of": of, "metric": metric, **listed(*found)}
            apart = jackknife.difference(head[metric], size[metric])
            yield {
                **known,
                "of": DIFFERENCE,
                "metric": metric,
                **listed(apart.value, apart.ci95),
            }


@dataclass(frozen=True, kw_only=True, eq=False)
class Severity:
    """What the runs of a study say to one question."""

    question: Question
    evidence: tuple[SeverityEvidence, ...] = ()
    """Of each view, and of all together where there are several."""
    reasons: tuple[str, ...] = ()
    """Sentences on the folds that say nothing."""

    @classmethod
    def of(cls, study: ReportedStudy, cohort: Cohort | None, question: Question) -> Severity | None:
        """Read what each view's first variant says; None where the cohort knows no answer."""
        if cohort is None or all(question.of_sequence(cohort, s) is None for s in cohort.sequences):
            return None
        parts, reasons = [], []
        for group in study.first_detectors:
            part, silent = _read(group, cohort, question)
            parts += part
            reasons += silent
        if len(parts) > 1:
            parts.append(_together(parts))
        return cls(question=question, evidence=tuple(parts), reasons=tuple(reasons))

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The entries of ``report.json``."""
        return [row for evidence in self.evidence for row in evidence.rows()]


def severity_table(severity: Severity) -> Table | None:
    """The head beside box size alone, the majority class and the published model."""
    if not severity.evidence:
        return None
    found = {(row["view"], row["of"], row["metric"]): row for row in severity.rows}
    question = severity.question
    rows = []
    for evidence in severity.evidence:
        for of, name in {**SCORES, DIFFERENCE: "Difference"}.items():
            values = (
                cell_of(found[evidence.view, of, metric], signed=of == DIFFERENCE)
                if metric != "majority" or of == "head"
                else ""
                for metric in HEADINGS
            )
            cells = (evidence.view, name, *values, evidence.counted)
            rows.append(Row(cells, "" if of == "head" else "baseline"))
    note = (
        "A sequence counts by its worst value and by its highest lesion; a score above 0.5 says "
        "yes. The boxes are those of the cohort, not the detector's. Values are of all folds "
        "together."
    )
    if published := PUBLISHED.get(question.name):
        theirs = [f"{published[metric]:.2f}" if metric in published else "" for metric in HEADINGS]
        rows.append(Row(("", "Oliveira et al.", *theirs, ""), "published"))
        note += f" Grey: {IFR_IN_SHORT}, 250 measurements of another cohort."
    return Table(
        name=f"severity_{question.name}",
        caption=f"Lesions with {question.yes}, from the regions of held-out sequences",
        columns=("View", "Score of", *HEADINGS.values(), "Yes"),
        rows=tuple(rows),
        note=note,
        meanings=MEANINGS,
    )


def severity_verdict(severity: Severity) -> str:
    """Whether the head is shown to be of use, as a sentence; empty where nothing is known."""
    if not severity.evidence:
        return ""
    last = severity.evidence[-1].view
    low = {
        row["of"]: row["ci95"][0]
        for row in severity.rows
        if (row["view"], row["metric"]) == (last, "AUC") and row["ci95"] is not None
    }
    if "head" not in low or DIFFERENCE not in low:
        return "There are too few patients to say whether the head is better than chance."
    if low["head"] <= CHANCE:
        return (
            "The head is not shown to be better than chance: the interval of its AUC reaches down "
            f"to {low['head']:.2f}. Draw no conclusion from its scores."
        )
    if low[DIFFERENCE] <= 0:
        return (
            "The head is better than chance, but not shown to be better than box size alone: the "
            f"interval of their difference in AUC reaches down to {low[DIFFERENCE]:.2f}."
        )
    return "The head is better than chance, and than box size alone."


def severity_figure(severity: Severity) -> Figure | None:
    """ROC curves of the head and of box size alone, a panel for each view."""
    if not (shown := [e for e in severity.evidence if 0 < e.yes.sum() < len(e.yes)]):
        return None
    question = severity.question
    published = PUBLISHED.get(question.name)

    def paint(canvas: Canvas) -> None:
        grid = panels(canvas, len(shown), max(len(shown), 2))
        for axes, evidence in zip(grid, shown, strict=True):
            axes.plot([0, 1], [0, 1], color=GREY, lw=1)
            for number, (of, name) in enumerate(SCORES.items()):
                axes.plot(
                    *roc_curve(evidence.yes, evidence.scores[of]),
                    color=COLOURS[number],
                    linestyle=LINES[number],
                    label=name,
                )
            if published:
                at = 1 - published["specificity"], published["sensitivity"]
                axes.plot(*at, "o", color=GREY, ms=5, label="Oliveira et al.", linestyle="none")
            axes.set(xlabel="1 - specificity", xlim=(0, 1), ylim=(0, 1.02))
            axes.set_title(f"{evidence.view}, {evidence.counted}")
        grid[0].set_ylabel("Sensitivity")
        handles = grid[0].get_legend_handles_labels()
        canvas.legend(*handles, loc="outside lower center", ncols=5)

    return draw(
        paint,
        name=f"severity-roc-{question.name}",
        alt=f"ROC curves of the head and of box size alone for {question.yes}.",
        caption=f"Held-out sequences with {question.yes}, all finished folds together."
        + (f" The dot is {IFR_IN_SHORT}, on its own cohort." if published else ""),
        width_in=9.4,
        height_in=3.6,
    )


def _read(
    group: Group, cohort: Cohort, question: Question
) -> tuple[list[SeverityEvidence], list[str]]:
    """What the finished folds of a group say, and a sentence on those that say nothing."""
    rows, silent = [], {}
    for run in group.finished:
        document = run.read("severity.json")
        with run.reading("severity.json"):
            answer = None if document is None else document.get("questions", {}).get(question.name)
            if answer is None:
                silent[run.fold] = NOT_SAID
            elif answer["reason"]:
                silent[run.fold] = str(answer["reason"])
            else:
                for row in answer["sequences"]:
                    patient_id = cohort.sequences[row["sequence_id"]].patient_id
                    scores = (float(row[of]) for of in SCORES)
                    rows.append((patient_id, bool(row["yes"]), *scores))
    reasons = group.silence(silent, f"{question.about} is not estimated")
    if not rows:
        return [], reasons
    patients, yes, *each_score = zip(*rows, strict=True)
    return [
        SeverityEvidence(
            question=question,
            view=group.view,
            variant=group.variant,
            patients=patients,
            yes=np.array(yes),
            scores={of: np.array(each) for of, each in zip(SCORES, each_score, strict=True)},
        )
    ], reasons


def _together(parts: Sequence[SeverityEvidence]) -> SeverityEvidence:
    return replace(
        parts[0],
        view="all",
        patients=tuple(patient for part in parts for patient in part.patients),
        yes=np.concatenate([part.yes for part in parts]),
        scores={of: np.concatenate([part.scores[of] for part in parts]) for of in SCORES},
    )


def cell_of(row: Mapping[str, Any], *, signed: bool) -> Value:
    """An entry of ``report.json`` as a table shows it."""
    ci95 = None if row["ci95"] is None else (row["ci95"][0], row["ci95"][1])
    return Value(mean=row["value"], ci95=ci95, signed=signed)


def listed(value: float | None, ci95: Interval | None) -> dict[str, Any]:
    """The part of an entry of ``report.json`` that was measured."""
    return {"value": value, "ci95": None if ci95 is None else list(ci95)}
