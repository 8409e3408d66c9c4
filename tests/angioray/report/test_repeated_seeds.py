"""A study whose folds were trained with several seeds: their means, and what the first does."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from angioray.evaluation.intervals import Jackknife
from angioray.inference.chosen import choose
from angioray.inference.settings import PredictSettings
from angioray.report.estimates import detector_intervals, estimates, over_folds
from angioray.report.evidence import DetectorEvidence, ViewEvidence
from angioray.report.findings import Findings
from angioray.report.quality import weaknesses
from angioray.report.runs import ReportedStudy
from angioray.report.strata import strata_table
from angioray.report.writing import write_report
from angioray.study.executor import Executor
from angioray.study.frame_index import FrameIndex
from angioray.study.study import Study
from angioray.training.step import World
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY
from tests.angioray.synthetic_study import FOLDS, write_cohort, write_study

LEFT_OUT = "detector-RCA-B-128-fold1-seed1"
RECALL = "recall@IoU0.20/score0.00/max5"
CERTAIN = "recall@IoU0.20/score0.50/max5"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return write_cohort(tmp_path_factory.mktemp("seeds") / "cohort")


@pytest.fixture(scope="module")
def runs(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds") / "runs"
    return write_study(folder, cohort, variants=("B",), sizes=(64,), seeds=2, leave_out=(LEFT_OUT,))


def test_a_folds_value_is_the_mean_of_its_seeds(runs: Path) -> None:
    group = ReportedStudy.open(runs).groups[0]
    assert (group.name, group.folds, len(group.by_seed)) == ("view-64", (0, 1, 2, 3, 4), 2)
    by_seed = [{0: 0.2, 1: 0.6, 2: None}, {0: 0.4, 2: None, 3: 1.0}]
    estimate = over_folds(group, "accuracy", by_seed, None)
    assert estimate.seeds == ((0.2, 0.6, None, None, None), (0.4, None, None, 1.0, None))
    assert estimate.folds == pytest.approx((0.3, 0.6, None, 1.0, None))
    assert estimate.mean == pytest.approx((0.3 + 0.6 + 1.0) / 3)
    assert estimate.std == pytest.approx(np.std([0.3, 0.6, 1.0], ddof=1))
    assert estimate.as_json()["seeds"][1] == [0.4, None, None, 1.0, None]


def test_intervals_are_of_the_mean_over_seeds_on_the_same_patients(
    runs: Path, cohort: Cohort
) -> None:
    study, frames = ReportedStudy.open(runs), FrameIndex(cohort=cohort)
    view, lca, rca = study.groups
    both = DetectorEvidence.of(lca, frames)
    each = [DetectorEvidence.of(seed, frames) for seed in lca.by_seed]
    assert [len(evidence.others) for evidence in (both, *each)] == [1, 0, 0]
    draws = Jackknife.of(frames.patients(both.image_ids)).draws
    together = both.measures(both.image_ids)[RECALL].values(draws)
    apart = [evidence.matched.measures()[RECALL].values(draws) for evidence in each]
    assert not np.array_equal(*apart)
    np.testing.assert_allclose(together, np.mean(apart, axis=0))
    assert DetectorEvidence.of(rca, frames).others == ()  # its second seed lacks the frames of one
    seen = ViewEvidence.of(view, frames, study.view_class)
    assert seen is not None and len(seen.others) == 1
    some = seen.of_images(seen.image_ids[::2])
    draws = Jackknife.of(frames.patients(some.image_ids)).draws
    apart = [
        e.measures()["accuracy"].values(draws) for e in (replace(some, others=()), *some.others)
    ]
    np.testing.assert_allclose(some.measures()["accuracy"].values(draws), np.mean(apart, axis=0))


def test_groups_and_the_gain_over_fixed_boxes_are_of_the_mean_over_seeds(
    runs: Path, cohort: Cohort, tmp_path: Path
) -> None:
    # A first seed without a box, a second one that finds most, and fixed boxes that find nothing.
    changed = Path(shutil.copytree(runs, tmp_path / "runs"))
    for folder in changed.glob("detector-LCA-B-128-fold*"):
        if "seed" not in folder.name:
            (folder / "predictions.json").write_text("[]")
        result = json.loads((folder / "result.json").read_text())
        result["fixed_boxes"] = [[0, 0, 4, 4]]
        (folder / "result.json").write_text(json.dumps(result))
    cohort = Cohort.open(cohort.folder)
    for name, cine in cohort.sequences.items():
        maker = "GE" if cine.patient_id < "p08" else "Siemens"
        cohort.sequences[name] = replace(cine, manufacturer=maker)
    frames, lca = FrameIndex(cohort=cohort), ReportedStudy.open(changed).groups[1]
    found = [DetectorEvidence.of(part, frames) for part in (lca, *lca.by_seed)]
    warned = [bool(weaknesses(e.group, estimates(e.group, {}), e)) for e in found]
    assert warned == [False, True, False]
    tables = [strata_table([evidence]) for evidence in found]
    of_ge = [table.rows[0].cells for table in tables if table is not None]
    recalls, false = ([row[column].mean for row in of_ge] for column in (5, 7))  # type: ignore[union-attr]
    assert recalls[1] == 0 and recalls[0] == pytest.approx(recalls[2] / 2)
    assert false[1] == 0 < false[0] == pytest.approx(false[2] / 2)


def test_a_mean_and_its_interval_are_of_the_same_runs(runs: Path, cohort: Cohort) -> None:
    study = ReportedStudy.open(runs)
    rca = study.groups[-1]  # its second seed lacks a fold
    scored = {group.name: found for group, found in Findings.of(study, cohort).scored}[rca.name]
    alone = [run.metric(CERTAIN) for run in rca.by_seed[0].runs]
    assert rca.counted == rca.by_seed[:1] and scored[CERTAIN].seeds == (tuple(alone),)
    assert scored[CERTAIN].mean == pytest.approx(np.mean(alone))
    other = np.mean([run.metric(CERTAIN) for run in rca.by_seed[1].finished])
    assert scored[CERTAIN].mean != pytest.approx((np.mean(alone) + other) / 2)
    low, high = scored[CERTAIN].ci95 or (1, 0)
    assert low <= scored[CERTAIN].mean <= high


def test_the_report_counts_seeds_and_its_cards_name_those_that_predict(
    runs: Path, cohort: Cohort
) -> None:
    findings = Findings.of(ReportedStudy.open(runs), cohort)
    assert {len(e.seeds) for _, found in findings.scored for e in found.values()} <= {1, 2}
    folder = write_report(runs).with_name("report.md").parent
    text = (folder / "report.md").read_text()
    assert "5-fold cross-validation, 2 seeds a fold after the protocol" in text
    assert "29 of 30 runs are finished" in text and "5/5, 2 seeds" in text
    assert "5/5, 1 of 2 seeds" in text and "9/10" not in text
    document = json.loads((folder / "report.json").read_text())
    missing = [(run["name"], run["fold"], run["repeat"]) for run in document["missing"]]
    assert missing == [(LEFT_OUT, 1, 1)]
    card = json.loads((folder / "model_cards" / "detector-RCA-B-128.json").read_text())
    assert card["members"] == [f"detector-RCA-B-128-fold{fold}" for fold in range(FOLDS)]
    assert card["folds_planned"] == FOLDS
    card = json.loads((folder / "model_cards" / "detector-LCA-B-128.json").read_text())
    first = ReportedStudy.open(runs).groups[1].by_seed[0]
    metrics = {row["metric"]: row for row in card["metrics"]}
    assert metrics[CERTAIN]["mean"] == pytest.approx(
        np.mean([run.metric(CERTAIN) for run in first.runs])
    )
    alone = DetectorEvidence.of(first, FrameIndex(cohort=cohort))
    assert metrics[CERTAIN]["ci95"] == list(detector_intervals(alone, [CERTAIN])[CERTAIN] or ())
    assert any(
        "metrics are of the networks of this card alone" in limit for limit in card["limits"]
    )


@pytest.mark.slow
def test_a_toy_study_of_two_seeds_from_training_to_report(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    settings = replace(TOY, tasks=("view",), seeds=2, view=replace(TOY.view, epochs=1))
    study = Study.plan(toy_cohort, tmp_path / "runs", settings)
    study.freeze(toy_cohort)
    executor = Executor(study, toy_cohort, World(torch.device("cpu")))
    for run in study.runs:
        executor.execute(run, lambda *_: None)
    names = ["view-32-fold0", "view-32-fold0-seed1", "view-32-fold1", "view-32-fold1-seed1"]
    assert [run.name for run in study.runs] == names
    weights = [tmp_path / "runs" / name / "checkpoint" for name in names[:2]]
    tensors = [next(folder.glob("*.safetensors")).read_bytes() for folder in weights]
    assert tensors[0] != tensors[1]
    write_report(tmp_path / "runs")
    (group,) = ReportedStudy.open(tmp_path / "runs").groups
    report = json.loads((tmp_path / "runs" / "report" / "report.json").read_text())
    entry = next(row for row in report["metrics"] if row["metric"] == "cross_entropy")
    for values, seed in zip(entry["seeds"], group.by_seed, strict=True):
        assert values == [run.metric("cross_entropy") for run in seed.runs]
    assert entry["folds"] == pytest.approx(np.mean(entry["seeds"], axis=0))


def test_the_first_seed_of_each_fold_predicts(toy_cohort: Cohort, tmp_path: Path) -> None:
    study = Study.plan(toy_cohort, tmp_path, replace(TOY, seeds=2))
    study.freeze(toy_cohort)
    for run in study.runs:
        (tmp_path / run.name).mkdir()
        (tmp_path / run.name / "result.json").write_text("{}")
    chosen = choose(study, PredictSettings())
    assert len(chosen.runs) == 2 + 2 * 2 and not chosen.notes
    assert {run.repeat for run in chosen.runs} == {0}
