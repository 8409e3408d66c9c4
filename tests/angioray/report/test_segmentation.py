"""What the report says of outlined lesions, by numbers that are computed by hand."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from angioray.report.findings import Findings
from angioray.report.runs import Group
from angioray.report.segmentation import (
    Outlined,
    outlined_lesions,
    segmentation_section,
    segmentation_verdict,
)
from preprocess.cohort import Cohort


def lesion(patient: int, drawn: float | None, reader: float | None, found: float | None) -> Any:
    return {
        "patient_id": f"P{patient}",
        "percent": drawn,
        "typical": 60.0,
        "reader": {"dice": 0.8, "percent": reader},
        "found": None if found is None else {"dice": 0.5, "percent": found},
    }


LESIONS = [
    *(lesion(patient, 60.0, 50.0, 70.0) for patient in range(9)),
    lesion(9, 40.0, 80.0, None),
    lesion(10, None, 80.0, None),  # a lesion whose outline is too short to be measured
    lesion(11, 60.0, None, None),
]


def test_errors_are_of_lesions_that_both_measured_and_missed_ones_are_counted() -> None:
    part = Outlined(view="RCA", variant="B", lesions=LESIONS)
    rows = {(row["boxes"], row["metric"]): row for row in part.rows()}
    values = {key: row["value"] for key, row in rows.items()}
    assert values["reader", "dice"] == pytest.approx(0.8)
    assert values["reader", "absolute_error"] == pytest.approx((9 * 10 + 40) / 10)
    assert values["reader", "bias"] == pytest.approx((9 * -10 + 40) / 10)
    assert values["reader", "same_grade"] == pytest.approx(0.9)
    assert values["found", "bias"] == pytest.approx(10)
    assert values["found", "same_grade"] == 0
    assert values["typical", "absolute_error"] == pytest.approx(20 / 11)
    assert ("typical", "dice") not in rows
    assert (rows["found", "dice"]["lesions"], rows["found", "dice"]["outlined"]) == (9, 12)
    assert segmentation_verdict(part).startswith("The typical percent")
    exact = [lesion(patient, 40.0 + patient, 40.0 + patient, 50.0) for patient in range(9)]
    assert segmentation_verdict(Outlined(view="RCA", variant="B", lesions=exact)) == ""
    low, high = rows["reader", "bias"]["ci95"]
    assert low < -5 < high


def test_a_cohort_without_outlines_has_no_section() -> None:
    cohort = cast(Cohort, SimpleNamespace(boxes=[SimpleNamespace(segmentation=None)]))
    findings = cast(Findings, SimpleNamespace(cohort=cohort, study=SimpleNamespace(groups=[])))
    assert outlined_lesions(findings) == ([], [])
    assert segmentation_section(findings) is None


def test_folds_that_outline_nothing_are_named_once_with_a_reason() -> None:
    few = {"reason": "4 outlined training lesions: 10 are needed.", "lesions": []}
    documents = [few, None, few]
    runs = tuple(
        SimpleNamespace(
            fold=fold,
            state="finished",
            read=lambda _, document=document: document,
            reading=lambda _: nullcontext(),
        )
        for fold, document in enumerate(documents)
    )
    group = Group(task="detector", view="RCA", variant="B", size=64, runs=cast(Any, runs))
    cohort = SimpleNamespace(boxes=[SimpleNamespace(segmentation=((1, 1, 5, 1, 5, 5),))])
    study = SimpleNamespace(first_detectors=(group,))
    findings = cast(Findings, SimpleNamespace(cohort=cohort, study=study))
    assert outlined_lesions(findings) == (
        [],
        [
            "RCA: lesions are not outlined in 2 of 3 folds (0, 2). Fold 0: "
            "4 outlined training lesions: 10 are needed."
        ],
    )
