"""Guaranteed sensitivity as the report says it: no score where only some folds allow one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from angioray.report.findings import Findings
from angioray.report.runs import ReportedStudy
from angioray.report.sensitivity import guaranteed_sensitivities, sensitivity_section
from angioray.report.tables import Table
from tests.angioray.synthetic_study import FOLDS, write_cohort, write_study


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Three patients judge each fold; the detectors find all lesions but those of fold 2."""
    folder = tmp_path_factory.mktemp("sensitivity")
    cohort = write_cohort(folder / "cohort", patients=3 * FOLDS)
    write_study(folder / "runs", cohort, variants=("B",), sizes=(64,), seeds=2)
    for path in (folder / "runs").glob("detector-*"):
        truth = {
            cohort.image_id(*key): [box.box_xyxy for box in boxes]
            for key, boxes in cohort.boxes_by_frame.items()
        }
        images = json.loads((path / "evaluated_images.json").read_text())
        found: list[dict[str, Any]] = [
            {"image_id": i, "category_id": 1, "bbox": [x, y, right - x, low - y], "score": 0.9}
            for i in images
            for x, y, right, low in truth[i]
            if path.name != "detector-LCA-B-128-fold2"
        ]
        (path / "predictions.json").write_text(json.dumps(found))
    return Findings.of(ReportedStudy.open(folder / "runs"), cohort)


def rows(findings: Findings) -> dict[tuple[str, ...], tuple[Any, ...]]:
    section = sensitivity_section(findings)
    assert section is not None
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert "first seed" in table.note
    return {tuple(map(str, row.cells[:3])): row.cells[3:] for row in table.rows}


def test_a_score_of_some_folds_alone_is_not_shown(findings: Findings) -> None:
    said = rows(findings)
    shown, false, patients, *_ = said["RCA", "B", "30 %"]
    assert (shown, false, patients) == ("0.899", "0.00", "3")
    shown, false, patients, *of_all = said["LCA", "B", "30 %"]
    assert shown == (
        "only 4 of 5 folds have a score: boxes of any score miss 1.00 here: more patients would "
        "not help"
    )
    assert (str(false), patients) == ("\N{EN DASH}", "3")
    assert of_all == ["0.899", "0.00", "15"]
    assert said["LCA", "B", "10 %"][0] == "too few patients: 3, needs at least 9"
    of_folds = [
        each.guarantee.score
        for each in guaranteed_sensitivities(findings)
        if each.group.view == "LCA" and each.fold is not None
    ]
    assert sum(score is not None for score in of_folds) == FOLDS - 1
