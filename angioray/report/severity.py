"""iFR from regions: how well the heads of a study tell lesions that limit the flow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas

from angioray.evaluation.bootstrap import Interval, Resampling
from angioray.evaluation.matching import BoolArray, FloatArray
from angioray.evaluation.measures import value
from angioray.evaluation.severity import roc_curve, severity_measures
from angioray.report.published import IFR, IFR_IN_SHORT
from angioray.report.runs import Group, ReportedStudy
from angioray.report.tables import Row, Table, Value
from preprocess.cohort import IFR_CUT_OFF, Cohort
from preprocess.console.drawing import COLOURS, GREY, LINES, Figure, draw, panels

SCORES = {"head": "Head", "box_size": "Box size alone"}
"""What gave the scores, by its name in ``severity.json``."""
DIFFERENCE = "difference"
CHANCE = 0.5
"""The AUC of scores that say nothing."""
HEADINGS = {
    "AUC": "AUC",
    "accuracy": "Accuracy",
    "majority": "Majority class",
    "NPV": "NPV",
    "PPV": "PPV",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
}
NOT_SAID = (
    "The run says nothing of iFR: an earlier version finished it, or no sequence with a box has "
    "one."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class SeverityEvidence:
    """The sequences of held-out folds whose iFR is known, and their scores."""

    view: str
    variant: str
    patients: tuple[str, ...]
    limited: BoolArray
    """bool[N], whether the lowest iFR of each is at or below the cut-off."""
    scores: Mapping[str, FloatArray]
    """float[N] of each of :data:`SCORES`."""

    @property
    def counted(self) -> str:
        """How many sequences, and of how many the flow is limited."""
        return f"{int(self.limited.sum())} of {len(self.limited)}"

    def rows(self) -> Iterator[dict[str, Any]]:
        """The entries of ``report.json``: each measure of each score, and their differences."""
        resampling = Resampling.of(self.patients)
        head, size = (severity_measures(self.limited, self.scores[name]) for name in SCORES)
        known = {
            "view": self.view,
            "variant": self.variant,
            "sequences": len(self.limited),
            "limiting": int(self.limited.sum()),
            "patients": resampling.patients,
        }
        for metric in HEADINGS:
            for of, measure in zip(SCORES, (head[metric], size[metric]), strict=True):
                found = value(measure, len(self.limited)), resampling.interval(measure)
                yield {**known, "of": of, "metric": metric, **_listed(*found)}
            apart = resampling.difference(head[metric], size[metric])
            yield {
                **known,
                "of": DIFFERENCE,
                "metric": metric,
                **_listed(apart.value, apart.ci95),
            }


@dataclass(frozen=True, kw_only=True, eq=False)
class Severity:
    """What the runs of a study say of iFR."""

    evidence: tuple[SeverityEvidence, ...] = ()
    """Of each view, and of all together where there are several."""
    reasons: tuple[str, ...] = ()
    """Sentences on the folds that say nothing."""

    @classmethod
    def of(cls, study: ReportedStudy, cohort: Cohort | None) -> Severity:
        """Read what each view's first variant says."""
        if cohort is None or not any(s.ifr for s in cohort.sequences.values()):
            return cls()
        first: dict[str, Group] = {}
        for group in study.groups:
            if group.task == "detector":
                first.setdefault(group.view, group)
        parts, reasons = [], []
        for group in first.values():
            part, silent = _read(group, cohort)
            parts += part
            reasons += silent
        if len(parts) > 1:
            parts.append(_together(parts))
        return cls(evidence=tuple(parts), reasons=tuple(reasons))

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The entries of ``report.json``."""
        return [row for evidence in self.evidence for row in evidence.rows()]


def severity_table(severity: Severity) -> Table | None:
    """The head beside box size alone, the majority class and the published model."""
    if not severity.evidence:
        return None
    found = {(row["view"], row["of"], row["metric"]): row for row in severity.rows}
    rows = []
    for evidence in severity.evidence:
        for of, name in {**SCORES, DIFFERENCE: "Difference"}.items():
            values = (
                _value(found[evidence.view, of, metric], of)
                if metric != "majority" or of == "head"
                else ""
                for metric in HEADINGS
            )
            cells = (evidence.view, name, *values, evidence.counted)
            rows.append(Row(cells, "" if of == "head" else "baseline"))
    published = [f"{IFR[metric]:.2f}" if metric in IFR else "" for metric in HEADINGS]
    rows.append(Row(("", "Oliveira et al.", *published, ""), "published"))
    return Table(
        name="severity_ifr",
        caption=f"Lesions with an iFR of {IFR_CUT_OFF:g} or less, from the regions of held-out "
        "sequences",
        columns=("View", "Score of", *HEADINGS.values(), "iFR low"),
        rows=tuple(rows),
        note="A sequence counts by its lowest iFR and by its highest lesion; a score above 0.5 "
        "says that the flow is limited. The boxes are those of the cohort, not the detector's. "
        "Majority class: the accuracy of whoever always names the more frequent side. Values are "
        "of all folds together, with 95 % intervals (bootstrap over patients). Grey: "
        f"{IFR_IN_SHORT}, 250 measurements of another cohort.",
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
    if not (shown := [e for e in severity.evidence if 0 < e.limited.sum() < len(e.limited)]):
        return None

    def paint(canvas: Canvas) -> None:
        grid = panels(canvas, len(shown), max(len(shown), 2))
        for axes, evidence in zip(grid, shown, strict=True):
            axes.plot([0, 1], [0, 1], color=GREY, lw=1)
            for number, (of, name) in enumerate(SCORES.items()):
                axes.plot(
                    *roc_curve(evidence.limited, evidence.scores[of]),
                    color=COLOURS[number],
                    linestyle=LINES[number],
                    label=name,
                )
            at = 1 - IFR["specificity"], IFR["sensitivity"]
            axes.plot(*at, "o", color=GREY, ms=5, label="Oliveira et al.", linestyle="none")
            axes.set(xlabel="1 - specificity", xlim=(0, 1), ylim=(0, 1.02))
            axes.set_title(f"{evidence.view}, {evidence.counted} low")
        grid[0].set_ylabel("Sensitivity")
        handles = grid[0].get_legend_handles_labels()
        canvas.legend(*handles, loc="outside lower center", ncols=5)

    return draw(
        paint,
        name="severity-roc",
        alt="ROC curves of the head and of box size alone for an iFR at or below the cut-off.",
        caption=f"iFR of {IFR_CUT_OFF:g} or less in held-out sequences, all finished folds "
        f"together. The dot is {IFR_IN_SHORT}, on its own cohort.",
        width_in=9.4,
        height_in=3.6,
    )


def _read(group: Group, cohort: Cohort) -> tuple[list[SeverityEvidence], list[str]]:
    """What the finished folds of a group say, and a sentence on those that say nothing."""
    rows, silent = [], {}
    for run in group.finished:
        document = run.read("severity.json")
        with run.reading("severity.json"):
            if document is None:
                silent[run.fold] = NOT_SAID
            elif document["reason"]:
                silent[run.fold] = str(document["reason"])
            else:
                for row in document["sequences"]:
                    sequence = cohort.sequences[row["sequence_id"]]
                    low = min(sequence.ifr) <= IFR_CUT_OFF
                    rows.append((sequence.patient_id, low, *(float(row[of]) for of in SCORES)))
    reasons = []
    if silent:
        folds = ", ".join(map(str, silent))
        fold, reason = next(iter(silent.items()))
        reasons = [
            f"{group.view}: iFR is not estimated in {len(silent)} of {len(group.runs)} folds "
            f"({folds}). Fold {fold}: {reason}"
        ]
    if not rows:
        return [], reasons
    patients, limited, *scores = zip(*rows, strict=True)
    return [
        SeverityEvidence(
            view=group.view,
            variant=group.variant,
            patients=patients,
            limited=np.array(limited),
            scores={of: np.array(each) for of, each in zip(SCORES, scores, strict=True)},
        )
    ], reasons


def _together(parts: Sequence[SeverityEvidence]) -> SeverityEvidence:
    return replace(
        parts[0],
        view="all",
        patients=tuple(patient for part in parts for patient in part.patients),
        limited=np.concatenate([part.limited for part in parts]),
        scores={of: np.concatenate([part.scores[of] for part in parts]) for of in SCORES},
    )


def _value(row: Mapping[str, Any], of: str) -> Value:
    ci95 = None if row["ci95"] is None else (row["ci95"][0], row["ci95"][1])
    return Value(mean=row["value"], ci95=ci95, signed=of == DIFFERENCE)


def _listed(value: float | None, ci95: Interval | None) -> dict[str, Any]:
    return {"value": value, "ci95": None if ci95 is None else list(ci95)}
