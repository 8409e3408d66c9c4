"""The loop for real: it learns, resumes bit for bit, stops at NaN."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from angioray.inference.trained import load_classifier, load_detector
from angioray.study.run_folder import RunFolder
from angioray.training.metrics_log import MetricsLog
from angioray.training.settings import OptimiserSettings
from preprocess.cohort import Cohort
from preprocess.storage import open_storage
from tests.angioray.settings import TOY
from tests.angioray.training.toy_runs import RUNS, StoppedError, execute

torch.set_num_threads(1)  # as a lane has it, so that the numbers below are the same everywhere


@pytest.fixture(scope="module")
def finished(toy_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that nothing disturbed, by name; only to be read."""
    folder = tmp_path_factory.mktemp("finished")
    return {name: execute(toy_cohort, folder / name, name) for name in RUNS}


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = json.loads((run / "checkpoint" / "state.json").read_text())
    return load_file(run / "checkpoint" / state["files"]["weights"])


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("stop_at", [3, 7])
def test_a_stopped_run_ends_with_the_same_bits(
    toy_cohort: Cohort, finished: dict[str, Path], tmp_path: Path, name: str, stop_at: int
) -> None:
    undisturbed = finished[name]
    # Progress is told at checkpoints (every 4 steps) and at the classifier's epochs (of 3 steps).
    told = [*range(4, 13, 4), *(range(3, 13, 3) if name.startswith("view") else ())]
    at = min(step for step in told if step > stop_at)
    with pytest.raises(StoppedError):
        execute(toy_cohort, tmp_path, name, stop_at=at)
    resumed = execute(toy_cohort, tmp_path, name)
    expected, found = weights(undisturbed), weights(resumed)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    for file in ("predictions.json", "evaluated_images.json"):
        assert (undisturbed / file).read_bytes() == (resumed / file).read_bytes()
    steps = [json.loads(line)["step"] for line in (resumed / "metrics.jsonl").open()]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("name", RUNS)
def test_a_notice_brings_one_checkpoint_and_changes_no_bit(
    toy_cohort: Cohort, finished: dict[str, Path], tmp_path: Path, name: str
) -> None:
    kept: list[int] = []

    def leaving() -> bool:
        """From step 5 on; notes of which step the last checkpoint is."""
        state = tmp_path / name / "checkpoint" / "state.json"
        kept.append(json.loads(state.read_text())["step"] if state.exists() else 0)
        return len(kept) >= 5

    run = execute(toy_cohort, tmp_path, name, leaving=leaving)
    # Every fourth step as ever, and the fifth alone for the notice.
    assert kept[:9] == [0, 0, 0, 0, 4, 5, 5, 5, 8]
    expected, found = weights(finished[name]), weights(run)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert (run / "predictions.json").read_bytes() == (
        finished[name] / "predictions.json"
    ).read_bytes()


def test_a_run_folder_holds_exactly_what_the_design_says(finished: dict[str, Path]) -> None:
    run = finished[RUNS[1]]
    files = sorted(str(p.relative_to(run)) for p in run.rglob("*") if p.is_file())
    assert files == [
        "checkpoint/state.json",
        "checkpoint/weights-000012.safetensors",
        "environment.json",
        "evaluated_images.json",
        "events.out.tfevents",
        "healthy_images.json",
        "metrics.jsonl",
        "predictions.json",
        "result.json",
        "settings.yaml",
    ]
    result = json.loads((run / "result.json").read_text())
    assert (result["task"], result["view"], result["variant"]) == ("detector", "RCA", "B")
    assert (result["size"], result["fold"], result["steps"]) == (64, 1, 12)
    assert len(result["fixed_boxes"]) == 5
    assert "baseline/recall@IoU0.20/score0.00/max5" in result["metrics"]
    images = json.loads((run / "evaluated_images.json").read_text())
    healthy = json.loads((run / "healthy_images.json").read_text())
    assert [row["patient_is_healthy"] for row in healthy] == [True]
    images += [row["image_id"] for row in healthy]
    assert {p["image_id"] for p in json.loads((run / "predictions.json").read_text())} <= {*images}


def test_a_finished_run_is_not_repeated(toy_cohort: Cohort, tmp_path: Path) -> None:
    run = execute(toy_cohort, tmp_path, RUNS[0])
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    execute(toy_cohort, tmp_path, RUNS[0], stop_at=1)  # would stop at its first step
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*")}


@pytest.mark.slow
def test_both_networks_learn_the_toy(toy_cohort: Cohort, tmp_path: Path) -> None:
    rule = OptimiserSettings(name="adamw", learning_rate=2e-3, warmup_steps=5, decay="cosine")
    settings = replace(
        TOY,
        view=replace(
            TOY.view,
            sizes=(64,),
            epochs=8,
            frozen_epochs=0,
            frames_per_sequence=None,
            optimiser=rule,
        ),
        detector=replace(TOY.detector, steps=240, batch_size=8, optimiser=rule),
    )
    view = execute(toy_cohort, tmp_path, "view-64-fold0", settings)
    assert json.loads((view / "result.json").read_text())["metrics"]["accuracy"] == 1
    detector = execute(toy_cohort, tmp_path, RUNS[1], settings)
    metrics = json.loads((detector / "result.json").read_text())["metrics"]
    name = "recall@IoU0.20/score0.00/max5"
    assert metrics[name] >= metrics[f"baseline/{name}"] + 0.3


def test_a_loss_that_is_not_finite_is_a_sentence_and_leaves_no_result(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    wild = OptimiserSettings(name="sgd", learning_rate=1e20)
    settings = replace(TOY, detector=replace(TOY.detector, optimiser=wild))
    with pytest.raises(FloatingPointError, match=r"detector-RCA.*not finite at step \d+"):
        execute(toy_cohort, tmp_path, RUNS[1], settings)
    assert not RunFolder(tmp_path / RUNS[1]).finished


def test_trained_networks_read_back(finished: dict[str, Path], tmp_path: Path) -> None:
    classifier = load_classifier(finished[RUNS[0]])
    assert classifier(torch.zeros(2, 1, 32, 32)).shape == (2, 2)
    detector = load_detector(finished[RUNS[1]])
    detections = detector.detect(torch.zeros(2, 1, 64, 64))
    assert detections.boxes_xyxy.shape == (2, 80, 4)  # all of the toy's anchors
    with pytest.raises(ValueError, match="no finished run"):
        load_detector(tmp_path / "nowhere")


def test_warm_up_and_cosine_by_hand() -> None:
    rule = OptimiserSettings(warmup_steps=2, decay="cosine")
    factors = [rule.factor(step, 6) for step in range(6)]
    expected = [0.5, 1, 1, 0.5 + math.sqrt(2) / 4, 0.5, 0.5 - math.sqrt(2) / 4]
    assert factors == pytest.approx(expected)


def test_other_rates_from_a_share_of_the_steps_on_by_hand() -> None:
    rule = OptimiserSettings(learning_rate=0.1, warmup_steps=2, changes=((1 / 3, 0.2), (0.5, 0.05)))
    rates = [rule.rate(step, 6) for step in range(6)]
    assert rates == pytest.approx([0.05, 0.1, 0.2, 0.05, 0.05, 0.05])


@pytest.mark.parametrize(
    "changes", [((0.5, 0.1), (0.5, 0.2)), ((0.0, 0.1),), ((1.0, 0.1),), ((0.5, 0.0),)]
)
def test_changes_that_cannot_be_are_refused(changes: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match=r"changes.*must be"):
        OptimiserSettings(changes=changes)


def test_a_torn_line_of_metrics_is_dropped_with_what_came_after_the_checkpoint(
    tmp_path: Path,
) -> None:
    folder = open_storage(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 10}\n{"step": 20}\n{"step": 30}\n{"ste')
    MetricsLog(folder, from_step=20).append({"step": 25})
    lines = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").open()]
    assert lines == [10, 20, 25]
