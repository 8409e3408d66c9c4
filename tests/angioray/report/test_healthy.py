"""Healthy arteries in the report: of a run that was trained here, of an older one, of none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from angioray.evaluation.healthy import FRAME_AUC
from angioray.evaluation.measures import value
from angioray.report.estimates import detector_intervals, estimates
from angioray.report.evidence import DetectorEvidence
from angioray.report.findings import Findings
from angioray.report.healthy import healthy_section
from angioray.report.limitations import limitations
from angioray.report.page import Block, Text
from angioray.report.pictures import galleries
from angioray.report.runs import ReportedStudy
from angioray.report.tables import Table
from angioray.report.writing import write_report
from angioray.study.frame_index import FrameIndex
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY
from tests.angioray.training.toy_runs import RUNS, execute

FALSE_BOXES = "healthy/false_boxes_per_frame@score0.50/max5"
SPECIFICITY = "healthy/specificity_patient@score0.50"


@pytest.fixture
def run(toy_cohort: Cohort, tmp_path: Path) -> Path:
    """One finished run, of which five patients with lesions and a healthy one are held out."""
    torch.set_num_threads(1)
    settings = replace(TOY, detector=replace(TOY.detector, steps=2))
    return execute(toy_cohort, tmp_path / "runs", RUNS[1], settings)


def test_healthy_arteries_from_the_run_to_the_report(toy_cohort: Cohort, run: Path) -> None:
    rows = json.loads((run / "healthy_images.json").read_text())
    evaluated = json.loads((run / "evaluated_images.json").read_text())
    (healthy,) = [row["image_id"] for row in rows]
    assert len(evaluated) == 5 and healthy not in evaluated
    evidence = evidence_of(run, toy_cohort)
    patient = evidence.frames.patients([healthy])[0]
    assert evidence.healthy == {1: {healthy: patient}} and evidence.image_ids == sorted(evaluated)
    # What the report counts from the files is what the run counted; the scores of a network that
    # has learned nothing are so close that the files' rounding changes their order.
    measures = evidence.healthy_measures()
    metrics = json.loads((run / "result.json").read_text())["metrics"]
    for name, measure in measures.items():
        ranked = name.startswith(("AP", FRAME_AUC))
        assert ranked or value(measure, 6) == pytest.approx(metrics[name], abs=1e-6)
    assert measures.keys() <= detector_intervals(evidence).keys()
    # One more box there is one false box; the paper's metrics do not change.
    paper = detector_intervals(evidence, ["precision@IoU0.20/score0.50/max5", "AP@IoU0.20"])
    predictions = json.loads((run / "predictions.json").read_text())
    others = [row for row in predictions if row["image_id"] != healthy]
    box = {"image_id": healthy, "category_id": 1, "bbox": [1, 2, 9, 9], "score": 0.97}
    (run / "predictions.json").write_text(json.dumps([*others, box]))
    spoken = evidence_of(run, toy_cohort)
    measures = spoken.healthy_measures()
    assert value(measures[FALSE_BOXES], 6) == 1 and value(measures[SPECIFICITY], 6) == 0
    assert detector_intervals(spoken, list(paper)) == paper
    shown = galleries(spoken)[-1]
    assert "healthy arteries" in shown.title and "score 0.97" in shown.pictures[0].caption
    (table,) = shown_of(findings_of(run))
    assert isinstance(table, Table) and table.rows[0].cells[:3] == ("RCA", "B", "1 (1)")
    said = "Specificity is of 1 healthy cine and of 1 patient without a lesion (RCA detectors)."
    assert said in limitations(findings_of(run))
    write_report(run.parent)
    card = (run.parent / "report" / "model_cards" / "detector-RCA-B-64.md").read_text()
    assert f"false on other frames. {said}" in card and "in healthy arteries" not in card


def test_a_run_of_an_earlier_version_is_not_said_to_be_free_of_false_boxes(
    toy_cohort: Cohort, run: Path
) -> None:
    (run / "healthy_images.json").unlink()
    result = json.loads((run / "result.json").read_text())
    others = ("/all_frames", FRAME_AUC)
    beside = [n for n in result["metrics"] if n.startswith("healthy/") or n.endswith(others)]
    assert len(beside) == 7
    result["metrics"] = {n: v for n, v in result["metrics"].items() if n not in beside}
    (run / "result.json").write_text(json.dumps(result))
    evidence = evidence_of(run, toy_cohort)
    assert evidence.healthy == {} and len(galleries(evidence)) == 3
    found = estimates(evidence.group, detector_intervals(evidence))
    assert not set(beside) & found.keys()
    (sentence,) = shown_of(findings_of(run))
    assert isinstance(sentence, Text)
    assert sentence.text.startswith("Not judged on healthy arteries: RCA detector, variant B, 64")
    none = {n: replace(s, no_lesion=False) for n, s in toy_cohort.sequences.items()}
    cohort = Cohort(toy_cohort.folder, none, toy_cohort.boxes)
    (sentence,) = shown_of(replace(findings_of(run), cohort=cohort))
    assert isinstance(sentence, Text) and "`no_lesion`" in sentence.text


@pytest.mark.parametrize("content", ["[999999]", '[{"image_id": 999999}]', "7"])
def test_a_damaged_list_is_named(toy_cohort: Cohort, run: Path, content: str) -> None:
    (run / "healthy_images.json").write_text(content)
    with pytest.raises(ValueError, match=r"healthy_images.json is not what was written"):
        evidence_of(run, toy_cohort)


def evidence_of(run: Path, cohort: Cohort) -> DetectorEvidence:
    study = ReportedStudy.open(run.parent)
    (group,) = [group for group in study.groups if group.finished]
    return DetectorEvidence.of(group, FrameIndex(cohort=cohort))


def shown_of(findings: Findings) -> tuple[Block, ...]:
    section = healthy_section(findings)
    assert section is not None
    return section.blocks


def findings_of(run: Path) -> Findings:
    study = ReportedStudy.open(run.parent)
    cohort, _ = study.cohort()
    return Findings.of(study, cohort)
