"""Patients that are kept out of training: who they are, what is measured on them, and resuming."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from angioray.study.coverage import trained_on, training_part, validated_on
from angioray.study.detector_task import DetectorTask
from angioray.study.selection import CohortIndex
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY
from tests.angioray.training.toy_runs import RUNS, StoppedError, execute

NAME = RUNS[1]
AP = "validation/AP@IoU0.20"


def settings(share: float, variants: Sequence[str] = ("B",)) -> StudySettings:
    detector = replace(TOY.detector, validation_share=share, variants=tuple(variants), steps=6)
    return replace(TOY, detector=detector, checkpoint_every=2)


@pytest.mark.parametrize(("share", "patients"), [(0.5, 3), (0.34, 2), (0.2, 1)])
def test_a_share_of_the_training_patients_validates_in_every_variant(
    toy_cohort: Cohort, share: float, patients: int
) -> None:
    study = Study.plan(toy_cohort, "nothing-here", settings(share, ("B", "BGNL")))
    index = CohortIndex.of(toy_cohort, study.settings.view_classes)
    whole = Study.plan(toy_cohort, "nothing-here", settings(0, ("B", "BGNL")))
    of_fold: dict[tuple[str, int], set[str]] = {}
    for run in study.runs:
        if run.task == "view":
            assert trained_on(study, index, run) == trained_on(whole, index, run)
            continue
        part, fold = training_part(study, index, run), study.fold(run)
        kept_out = set(part.validation)
        # Of five training patients with lesions: whole ones, in all variants the same.
        assert len({toy_cohort.sequences[s].patient_id for s in kept_out}) == patients
        assert not kept_out & index.healthy  # there are few, and AP needs lesions
        assert kept_out | set(part.train) == set(fold.train) and not kept_out & set(part.train)
        assert kept_out == of_fold.setdefault((run.view, run.fold), kept_out)
        everything = trained_on(whole, index, run)
        trained = [key for key in everything if key[0] not in kept_out]
        assert sorted(trained_on(study, index, run)) == sorted(trained)
        assert validated_on(study, index, run) == [
            (name, 4) for name in part.validation if name in index.boxed
        ]


def test_near_duplicates_are_kept_out_together(toy_cohort: Cohort, tmp_path: Path) -> None:
    groups = [["S00RCA", "S03RCA", "S08LCA"], ["S02RCA", "S05RCA", "S07RCA"]]
    (tmp_path / "leak.json").write_text(json.dumps({"groups": groups}))
    joined = replace(settings(0.5), groups=str(tmp_path / "leak.json"))
    study = Study.plan(toy_cohort, tmp_path / "runs", joined)
    index = CohortIndex.of(toy_cohort, study.settings.view_classes)
    for run in study.runs:
        if run.task == "detector":
            part = training_part(study, index, run)
            sides = [
                {toy_cohort.sequences[s].patient_id for s in side} for side in vars(part).values()
            ]
            assert all(sides) and not sides[0] & sides[1]
            for group in ({"P00", "P03", "P08"}, {"P02", "P05", "P07"}):
                assert sum(bool(side & group) for side in sides) <= 1
    # The frozen study keeps the groups: another machine may not see the file, or see another one.
    study.freeze(toy_cohort)
    before = [training_part(study, index, run) for run in study.runs]
    (tmp_path / "leak.json").unlink()
    frozen = Study.open(tmp_path / "runs")
    assert [training_part(frozen, index, run) for run in frozen.runs] == before


def test_too_few_patients_for_a_share_is_a_sentence(toy_cohort: Cohort) -> None:
    study = Study.plan(toy_cohort, "nothing-here", settings(0.1))
    index = CohortIndex.of(toy_cohort, study.settings.view_classes)
    with pytest.raises(ValueError, match=r"5 patients.*`detector.validation_share` 0.1.*0.20"):
        trained_on(study, index, study.run(NAME))


@pytest.mark.parametrize(("share", "nearest"), [(0.4, "0.50"), (0.3, "0.33"), (0.35, "0.33")])
def test_a_share_that_would_be_another_is_refused(share: float, nearest: str) -> None:
    with pytest.raises(ValueError, match=rf"validation_share is {share}; .*such as {nearest}"):
        settings(share)


def test_a_stopped_run_measures_the_same_and_measuring_changes_no_weight(
    toy_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    undisturbed = outcome(execute(toy_cohort, tmp_path / "a", NAME, settings(0.5)))
    curve = [(line["step"], line[AP]) for line in undisturbed[1]]
    assert [step for step, _ in curve] == [2, 4, 6]
    assert all(0 <= ap <= 1 for _, ap in curve)
    with pytest.raises(StoppedError):
        execute(toy_cohort, tmp_path / "b", NAME, settings(0.5), stop_at=4)
    resumed = outcome(execute(toy_cohort, tmp_path / "b", NAME, settings(0.5)))
    assert [(line["step"], line[AP]) for line in resumed[1]] == curve
    monkeypatch.setattr(DetectorTask, "validate", lambda *_: {})
    unmeasured = outcome(execute(toy_cohort, tmp_path / "c", NAME, settings(0.5)))
    for weights, _ in (resumed, unmeasured):
        assert all(torch.equal(undisturbed[0][key], weights[key]) for key in weights)


def outcome(run: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """The last weights, and the lines of the log."""
    state = json.loads((run / "checkpoint" / "state.json").read_text())
    weights = load_file(run / "checkpoint" / state["files"]["weights"])
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return weights, [json.loads(line) for line in lines]
