"""What a cohort can be expected to show before training."""

import json
from pathlib import Path
from typing import Any

import pytest

from angioray.cluster.lane_settings import LaneSettings
from angioray.cv import cv
from angioray.evaluation.power import Assumed, describe_power
from angioray.study.power import expected_power
from angioray.study.selection import CohortIndex
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from tests.angioray.synthetic_study import CLASSES, write_cohort


def test_every_view_by_the_lesions_of_its_patients(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", patients=10)
    index = CohortIndex.of(cohort, {view: view for view in CLASSES})
    study = Study.plan(cohort, tmp_path / "runs", StudySettings())
    assumed = Assumed(recall=0.6)
    first, *views = expected_power(study, index, assumed)
    assert "a recall of 0.60 each" in first
    lesions: dict[str, dict[str, int]] = {view: {} for view in CLASSES}
    for (sequence_id, t), boxes in cohort.boxes_by_frame.items():
        sequence = cohort.sequences[sequence_id]
        if t == sequence.reference_frame:
            of_view = lesions[str(sequence.view)]
            of_view[sequence.patient_id] = of_view.get(sequence.patient_id, 0) + len(boxes)
    for view, said in zip(CLASSES, views, strict=True):
        counts = list(lesions[view].values())
        sentence = describe_power(assumed.error(counts), len(counts), "recall", 0.05)
        assert said == f"{view}, {sum(counts)} lesions in reference frames: {sentence}"


def test_stills_are_images_and_near_duplicates_are_joined(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", stills=True)
    index = CohortIndex.of(cohort, {view: view for view in CLASSES})

    def said(**settings: Any) -> list[str]:
        plan = Study.plan(cohort, tmp_path / "runs", StudySettings(**settings))
        return expected_power(plan, index)

    for sentence in said()[1:]:
        assert "With 10 images this cohort" in sentence and "patients." not in sentence
    leak = tmp_path / "leak.json"
    leak.write_text(json.dumps({"groups": [["s000", "s002"]]}))
    assert any("With 9 groups of images this" in sentence for sentence in said(groups=str(leak)))
    assert len(said(tasks=("view",))) == 1


def test_power_is_told_beside_the_plan() -> None:
    with pytest.raises(ValueError, match="Give --plan too"):
        cv(StudySettings(), LaneSettings(), power=True)
