"""The balance of the folds: what is on each side, and which patients are on both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from angioray.report.runs import ReportedStudy
from angioray.report.tables import Row, Table
from preprocess.cohort import Cohort, name_no_patients
from preprocess.console.words import counted


def balance_table(study: ReportedStudy, cohort: Cohort) -> Table:
    """Sequences, patients and boxes per fold and side, by view class, and shared patients."""
    boxes = Counter(
        sequence_id for (sequence_id, _), found in cohort.boxes_by_frame.items() for _ in found
    )
    rows = []
    for key, cut in study.document["splits"].items():
        for number, fold in enumerate(cut["folds"]):
            sides = (fold["train"], fold["validation"])
            patients = [_patients(cohort, side) for side in sides]
            counted = (
                [len(side) for side in sides],
                [len(side) for side in patients],
                [sum(boxes[sequence_id] for sequence_id in side) for side in sides],
            )
            cells = (
                key,
                cut["unit"],
                str(number),
                *(f"{train} / {validation}" for train, validation in counted),
                *(_classes(study, cohort, side) for side in sides),
                str(len(patients[0] & patients[1])),
            )
            rows.append(Row(cells))
    return Table(
        name="balance",
        caption="Balance of the folds, training / validation",
        columns=(
            "Split",
            "Unit",
            "Fold",
            "Sequences",
            "Patients",
            "Boxes",
            "Training sequences",
            "Validation sequences",
            "Patients on both sides",
        ),
        rows=tuple(rows),
        meanings={
            "Split": "which models the folds are of",
            "Unit": "what is never cut in two: all cines of a patient, or a sequence",
            "Sequences, Patients": "how many train / are judged",
            "Boxes": "those of all frames, tracked ones included, lost ones left out",
            "Training sequences, Validation sequences": "of each view, how many train and "
            "how many are judged",
            "Patients on both sides": "of whom cines train and other cines are judged",
        },
    )


@dataclass(frozen=True, kw_only=True)
class BothSides:
    """What is known of patients who lie on both sides of the folds of a split.

    Attributes:
        verb: empty if there are none; ``lie``; or ``may lie`` where nobody can say.
        reason: how that is known, or why it is not; empty if there are none.
    """

    verb: Literal["", "lie", "may lie"]
    reason: str

    @classmethod
    def of(cls, study: ReportedStudy, cohort: Cohort | None, key: str) -> BothSides:
        """By the folds themselves; without the cohort, by how they were cut.

        Args:
            study: has the folds.
            cohort: says whose each sequence is.
            key: of the split, such as ``view`` or ``detector/RCA``.
        """
        cut = study.document["splits"][key]
        if cohort is None:
            facts = study.document["cohort"]
            if cut["unit"] != "patient":
                return cls(verb="may lie", reason=f"cut by {cut['unit']}")
            if facts["patients"] == facts["sequences"]:
                return cls(verb="may lie", reason="each sequence counts as a patient of its own")
            return cls(verb="", reason="")
        if patients_are_unknown(cohort):
            return cls(verb="may lie", reason="the sources name no patients")
        both = set().union(*(_on_both_sides(cohort, fold) for fold in cut["folds"]))
        if not both:
            return cls(verb="", reason="")
        patients = counted(len(both), "patient")
        return cls(verb="lie", reason=f"cut by {cut['unit']}; {patients} are on both")

    def sentence(self, models: str) -> str:
        """What it means for the metrics of models, such as ``view classifiers``; may be empty."""
        if not self.verb:
            return ""
        return (
            f"Cines of one patient {self.verb} on both sides of the folds of the {models} "
            f"({self.reason}), so that their metrics may be better than they would be on new "
            "patients."
        )


def shared_patients(study: ReportedStudy, cohort: Cohort) -> dict[str, list[int]]:
    """By split: how many patients of each fold's validation part also lie in its training part."""
    return {
        key: [len(_on_both_sides(cohort, fold)) for fold in cut["folds"]]
        for key, cut in study.document["splits"].items()
    }


def cohort_in_words(study: ReportedStudy, cohort: Cohort | None) -> str:
    """How many sequences of how many patients, if anybody knows whose they are."""
    facts = study.document["cohort"]
    if cohort is not None and patients_are_unknown(cohort):
        return f"{counted(facts['sequences'], 'still')} whose sources name no patients"
    return f"{counted(facts['sequences'], 'sequence')} of {counted(facts['patients'], 'patient')}"


def patients_are_unknown(cohort: Cohort) -> bool:
    """Whether every patient is one still, as in public sets that name no patients."""
    return name_no_patients(cohort.sequences.values())


def _on_both_sides(cohort: Cohort, fold: Mapping[str, Sequence[str]]) -> set[str]:
    return _patients(cohort, fold["train"]) & _patients(cohort, fold["validation"])


def _patients(cohort: Cohort, sequence_ids: Iterable[str]) -> set[str]:
    return {cohort.sequences[sequence_id].patient_id for sequence_id in sequence_ids}


def _classes(study: ReportedStudy, cohort: Cohort, sequence_ids: Iterable[str]) -> str:
    views = [cohort.sequences[sequence_id].view for sequence_id in sequence_ids]
    counts = Counter(study.view_class.get(view, view) if view else "no view" for view in views)
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
