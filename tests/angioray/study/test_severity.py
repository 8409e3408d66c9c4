"""Heads on the features of regions: what they learn from, what they score, and when they do not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from angioray.models.regions import pool_regions
from angioray.models.retinanet import RetinaNet
from angioray.study.executor import Executor
from angioray.study.selection import CohortIndex
from angioray.study.severity import FRAMES, estimate_severity
from angioray.study.splits import Fold
from angioray.study.study import Study
from angioray.training.frames import load_frames
from angioray.training.step import World
from preprocess.cohort import (
    Box,
    Cohort,
    Sequence,
    frames_digest,
    store_cine,
    write_annotations,
)
from preprocess.cohort.display import Display
from tests.angioray.settings import TOY

SIDE, LENGTH, PATIENTS = 64, 8, 36
BOX = (20.0, 20.0, 44.0, 44.0)
MIXED = "s35"
"""Two lesions, one of which limits the flow."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """A sequence of each patient; the lesions of every other one are dark, and limit the flow."""
    folder = tmp_path_factory.mktemp("severity") / "cohort"
    random = np.random.default_rng(0)
    sequences, boxes = [], []
    for number in range(PATIENTS):
        frames = random.normal(150, 20, (LENGTH, SIDE, SIDE))
        frames[:, 24:40, 24:40] -= 90 if number % 2 else 20
        pixels = frames.clip(0, 255).astype(np.uint8)
        sequence = Sequence(
            sequence_id=f"s{number:02d}",
            patient_id=f"p{number}",
            view="RCA",
            length=LENGTH,
            height=SIDE,
            width=SIDE,
            bits_stored=8,
            display=Display(lower=0, upper=255),
            frames_digest=frames_digest(pixels),
            reference_frame=3,
            ifr=(0.95, 0.6) if f"s{number:02d}" == MIXED else (0.6 if number % 2 else 0.95,),
        )
        store_cine(folder, sequence, pixels)
        sequences.append(sequence)
        places = [BOX, (0.0, 0.0, 20.0, 16.0)][: 1 + (sequence.sequence_id == MIXED)]
        boxes += [
            Box(sequence_id=sequence.sequence_id, frame_index=t, box_xyxy=b, instance_id=number + 1)
            if b == BOX
            else Box(sequence_id=sequence.sequence_id, frame_index=t, box_xyxy=b, instance_id=99)
            for t in range(LENGTH)
            for b in places
        ]
    write_annotations(folder, sequences, boxes)
    return Cohort.open(folder)


NAMES = tuple(f"s{number:02d}" for number in range(PATIENTS))
FOLD = Fold(NAMES[:28], NAMES[28:])


@pytest.fixture(scope="module")
def network() -> RetinaNet:
    torch.manual_seed(0)
    return RetinaNet(TOY.detector).eval()


def severity(cohort: Cohort, network: nn.Module, fold: Fold = FOLD) -> dict:
    index = CohortIndex.of(cohort, {"RCA": "RCA"})
    keys = [key for name in NAMES for key in index.lesion_frames(name, FRAMES)]
    store = load_frames(cohort, keys, size=TOY.detector.size, device=torch.device("cpu"))
    found = estimate_severity(index, fold, network, store, torch.float32)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def found(cohort: Cohort, network: RetinaNet) -> dict:
    return severity(cohort, network)


def changed(cohort: Cohort, **ifr: tuple[float, ...]) -> Cohort:
    """The same with other values."""
    others = {s: replace(q, ifr=ifr.get(s, q.ifr)) for s, q in cohort.sequences.items()}
    return Cohort(cohort.folder, others, cohort.boxes, cohort.copy)


def test_lesions_of_held_out_patients_are_told_apart(found: dict) -> None:
    assert found["trained_on"] == {"lesions": 28, "limiting": 14, "patients": 28}
    rows = {row["sequence_id"]: row for row in found["sequences"]}
    assert set(rows) == set(FOLD.validation)
    low = np.array([row["ifr"] <= 0.89 for row in rows.values()])
    assert low.tolist() == [bool(int(name[1:]) % 2) for name in rows]
    assert [row["head"] > 0.5 for row in rows.values()] == low.tolist()
    # All these boxes are equal, so that their size says nothing.
    alone = [row["lesions"][0]["box_size"] for row in rows.values()]
    assert alone == pytest.approx([0.5] * len(rows), abs=1e-3)
    lesions = rows[MIXED]["lesions"]
    assert [lesion["instance_id"] for lesion in lesions] == [36, 99]
    assert rows[MIXED]["head"] == max(lesion["head"] for lesion in lesions)


def test_only_training_sequences_with_values_on_one_side_teach(
    cohort: Cohort, network: RetinaNet, found: dict
) -> None:
    swapped = {name: (0.95,) if int(name[1:]) % 2 else (0.6,) for name in FOLD.validation}
    after = severity(changed(cohort, **swapped), network)
    assert after["heads"] == found["heads"]
    heads = [[row["head"] for row in each["sequences"]] for each in (found, after)]
    assert heads[0] == heads[1]
    mixed = severity(changed(cohort, s01=(0.9, 0.89)), network)
    assert mixed["trained_on"]["lesions"] == 27


def test_a_run_of_the_first_variant_leaves_the_file(cohort: Cohort, tmp_path: Path) -> None:
    detector = replace(TOY.detector, variants=("B", "BG"), steps=1)
    settings = replace(TOY, tasks=("detector",), detector=detector)
    study = Study.plan(cohort, tmp_path / "runs", settings)
    executor = Executor(study, cohort, World(torch.device("cpu")))
    for run in study.runs:
        if run.fold == 0:
            executor.execute(run, lambda *_: None)
    (written,) = (tmp_path / "runs").glob("*/severity.json")
    assert written.parent.name == "detector-RCA-B-64-fold0"
    assert json.loads(written.read_text())["reason"].endswith("10 of each are needed.")


def test_too_few_patients_are_a_sentence(cohort: Cohort, network: RetinaNet) -> None:
    unknown = {name: () for name in NAMES[:28:2][:5]}
    found = severity(changed(cohort, **unknown), network)
    assert found["sequences"] == [] and "heads" not in found
    assert found["reason"] == (
        "14 training patients with an iFR of 0.89 or less and 9 with a higher one: 10 of each are "
        "needed."
    )


def test_a_validation_part_without_ifr_has_no_scores(cohort: Cohort, network: RetinaNet) -> None:
    unknown = changed(cohort, **dict.fromkeys(FOLD.validation, ()))
    document = severity(unknown, network)
    assert document["sequences"] == [] and document["reason"] == "" and document["heads"]


def test_a_cohort_without_ifr_says_nothing(cohort: Cohort, network: RetinaNet) -> None:
    none = changed(cohort, **dict.fromkeys(NAMES, ()))
    index = CohortIndex.of(none, {"RCA": "RCA"})
    assert estimate_severity(index, FOLD, network, None, torch.float32) is None  # type: ignore[arg-type]


def test_another_detector_is_a_sentence(cohort: Cohort) -> None:
    assert "installed package" in severity(cohort, nn.Identity())["reason"]


def test_a_box_is_averaged_over_its_own_pixels(network: RetinaNet) -> None:
    """Two boxes of two images get what each would get alone, in order."""
    images = torch.randn(2, 1, 64, 64)
    first, second = torch.tensor([[0.0, 0, 32, 32]]), torch.tensor([[32.0, 32, 64, 64]])
    both = pool_regions(network, images, [torch.cat([first, second]), second])
    alone = pool_regions(network, images[1:], [second])
    assert both.shape == (3, both.shape[1])
    torch.testing.assert_close(both[2:], alone)
    constant = network.features(images)[0]
    # The finest stage has a stride of 4 pixels: the mean of 8 x 8 cells.
    expected = constant[0, :, 8:, 8:].mean(dim=(1, 2))
    torch.testing.assert_close(both[1, : len(expected)], expected, atol=0.05, rtol=0.05)
