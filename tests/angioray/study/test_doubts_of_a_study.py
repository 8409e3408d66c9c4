"""The review reads what a study writes: its folds, its runs and their predictions."""

from __future__ import annotations

from pathlib import Path

import torch

from angioray.study.coverage import judged_on
from angioray.study.matrix import Run
from angioray.study.run_folder import Judgement, RunFolder
from angioray.study.selection import CohortIndex
from angioray.study.study import Study
from preprocess.review.doubts import doubts
from tests.angioray.settings import TOY
from tests.toy_cohort import write_toy_cohort


def test_doubts_are_read_from_the_files_of_finished_runs(tmp_path: Path) -> None:
    """Every box is found but one, and every view is named as labelled but one."""
    cohort = write_toy_cohort(tmp_path / "cohort")
    study = Study.plan(cohort, tmp_path / "runs", TOY)
    study.freeze(cohort)
    index = CohortIndex.of(cohort, TOY.view_classes)

    def judgement(run: Run) -> Judgement:
        predictions = []
        for key in judged_on(study, index, run):
            image_id, view = cohort.image_id(*key), cohort.sequences[key[0]].view
            if run.task == "view":
                named = float(view == "RCA") if key[0] != "S02RCA" else 0.1
                probabilities = {"LCA": 1 - named, "RCA": named}
                predictions.append({"image_id": image_id, "probabilities": probabilities})
            elif key[0] != "S05LCA":
                [box] = cohort.boxes_by_frame[key]
                x1, y1, x2, y2 = box.box_xyxy
                bbox = [x1, y1, x2 - x1, y2 - y1]
                row = {"image_id": image_id, "category_id": 1, "bbox": bbox, "score": 0.9}
                predictions.append(row)
        images = [cohort.image_id(*key) for key in judged_on(study, index, run)]
        return Judgement(predictions, images, {}, {})

    for run in study.runs:
        folder = RunFolder.of(study.folder, run)
        folder.begin(run, TOY, torch.device("cpu"), torch.float32, "in memory")
        folder.finish(run, judgement(run), steps=1, seconds=1.0)
    found = doubts(cohort, tmp_path / "runs")
    assert {name: [doubt.kind for doubt in of] for name, of in found.items()} == {
        "S02RCA": ["other_view"],
        "S05LCA": ["not_found"],
    }
