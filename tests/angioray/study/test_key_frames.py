"""The reference frame: learned from planted cines, judged beside pixels and the middle."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from angioray.models.frame_scorer import FrameScorer
from angioray.models.retinanet import RetinaNet
from angioray.study.executor import Executor
from angioray.study.key_frames import chosen_by_readers, find_key_frames
from angioray.study.selection import CohortIndex
from angioray.study.splits import Fold
from angioray.study.study import Study
from angioray.training.step import World
from preprocess.cohort import Box, Cohort, Sequence, frames_digest, store_cine, write_annotations
from preprocess.cohort.display import Display
from tests.angioray.settings import TOY

SIDE, PATIENTS = 64, 24
NAMES = tuple(f"s{number:02d}" for number in range(PATIENTS))
FOLD = Fold(NAMES[:18], NAMES[18:])


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """A cine of each patient, of 7 to 12 frames: the reader chose the darkest one."""
    folder = tmp_path_factory.mktemp("key_frames") / "cohort"
    random = np.random.default_rng(0)
    sequences, boxes = [], []
    for number, name in enumerate(NAMES):
        length = 7 + number % 6
        reference = int(random.integers(length))
        frames = random.normal(random.uniform(120, 200), 10, (length, SIDE, SIDE))
        frames[reference, 16:48, 16:48] -= 60
        pixels = frames.clip(0, 255).astype(np.uint8)
        sequence = Sequence(
            sequence_id=name,
            patient_id=f"p{number}",
            view="RCA",
            length=length,
            height=SIDE,
            width=SIDE,
            bits_stored=8,
            display=Display(lower=0, upper=255),
            frames_digest=frames_digest(pixels),
            reference_frame=reference,
        )
        store_cine(folder, sequence, pixels)
        sequences.append(sequence)
        boxes.append(
            Box(
                sequence_id=name,
                frame_index=reference,
                box_xyxy=(20.0, 20.0, 44.0, 44.0),
                instance_id=number + 1,
            )
        )
    write_annotations(folder, sequences, boxes)
    return Cohort.open(folder)


@pytest.fixture(scope="module")
def network() -> RetinaNet:
    torch.manual_seed(0)
    return RetinaNet(TOY.detector).eval()


def found_in(cohort: Cohort, network: torch.nn.Module) -> dict:
    index = CohortIndex.of(cohort, {"RCA": "RCA"})
    return find_key_frames(index, FOLD, network, torch.device("cpu"), torch.float32, seed=3)


@pytest.fixture(scope="module")
def found(cohort: Cohort, network: RetinaNet) -> dict:
    return found_in(cohort, network)


def test_the_darkest_frame_is_learned(cohort: Cohort, found: dict) -> None:
    assert found["trained_on"] == {"cines": 18, "patients": 18} and found["reason"] == ""
    assert [row["sequence_id"] for row in found["sequences"]] == list(FOLD.validation)
    for row in found["sequences"]:
        cine = cohort.sequences[row["sequence_id"]]
        assert row["lstm"] == row["reference"] == cine.reference_frame
        assert row["middle"] == cine.length // 2
        # No artery fills, so that the pixels propose nothing: the middle stands in.
        assert row["pixels"] == cine.length // 2


def test_what_is_known_of_the_judged_cines_changes_nothing_that_is_found(
    cohort: Cohort, network: RetinaNet, found: dict
) -> None:
    """The optimal interval moves the middle alone. The same again gives the same."""
    told = {
        name: replace(cine, introducing_start=0, optimal_start=1, vanishing_start=4)
        for name, cine in cohort.sequences.items()
    }
    for name in FOLD.validation:
        told[name] = replace(told[name], reference_frame=0)
    boxes = [b for b in cohort.boxes if b.sequence_id not in FOLD.validation]
    state = torch.get_rng_state()
    after = found_in(Cohort(cohort.folder, told, tuple(boxes), cohort.copy), network)
    assert torch.equal(torch.get_rng_state(), state)
    for row, was in zip(after["sequences"], found["sequences"], strict=True):
        assert (row["lstm"], row["pixels"]) == (was["lstm"], was["pixels"])
        assert (row["reference"], row["middle"]) == (0, 2)


def test_only_what_a_reader_chose_counts(cohort: Cohort, network: RetinaNet) -> None:
    cines = dict(cohort.sequences)
    cines["s00"] = replace(cines["s00"], reference_proposed=True)
    cines["s01"] = replace(cines["s01"], reference_frame=None)
    cines["s02"] = replace(cines["s02"], length=1, reference_frame=0)
    first = next(box for box in cohort.boxes if box.sequence_id == "s03")
    second = replace(first, frame_index=(first.frame_index + 1) % 7)
    known = Cohort(cohort.folder, cines, (*cohort.boxes, second), cohort.copy)
    assert set(chosen_by_readers(known)) == set(NAMES[4:])
    few = {s: replace(c, reference_proposed=s in NAMES[:9]) for s, c in cines.items()}
    found = found_in(Cohort(cohort.folder, few, cohort.boxes, cohort.copy), network)
    assert found["sequences"] == [] and found["reason"] == (
        "9 training patients with a reference frame that a reader chose: 10 are needed."
    )
    assert "RetinaNet" in found_in(cohort, torch.nn.Identity())["reason"]


def test_the_loss_is_the_cross_entropy_with_a_gaussian() -> None:
    scorer = FrameScorer(torch.ones(2)).eval()
    cines = [torch.randn(3, 2), torch.randn(5, 2)]
    scores = scorer(cines)
    assert scores.shape == (2, 5) and scores[0, 3:].eq(-torch.inf).all()
    # A cine is scored alike, whatever is beside it.
    assert torch.allclose(scorer(cines[:1])[0], scores[0, :3], atol=1e-6)
    total = 0.0
    for row, (length, reference) in enumerate([(3, 0), (5, 3)]):
        weights = [math.exp(-((t - reference) ** 2) / 2) for t in range(length)]
        logs = scores[row, :length].log_softmax(dim=0).tolist()
        total -= sum(w * log for w, log in zip(weights, logs, strict=True)) / sum(weights) / 2
    assert scorer.loss(cines, torch.tensor([0, 3])).item() == pytest.approx(total, abs=1e-5)


def test_a_run_that_is_asked_leaves_the_file(cohort: Cohort, tmp_path: Path) -> None:
    detector = replace(TOY.detector, variants=("B", "BG"), steps=1, key_frames=True)
    settings = replace(TOY, tasks=("detector",), detector=detector)
    study = Study.plan(cohort, tmp_path / "runs", settings)
    executor = Executor(study, cohort, World(torch.device("cpu")))
    for run in study.runs:
        if run.fold == 0:
            executor.execute(run, lambda *_: None)
    (written,) = (tmp_path / "runs").glob("*/key_frames.json")
    assert written.parent.name == "detector-RCA-B-64-fold0"
    judged = [row["sequence_id"] for row in json.loads(written.read_text())["sequences"]]
    assert judged == list(study.splits["detector/RCA"][0].validation)
