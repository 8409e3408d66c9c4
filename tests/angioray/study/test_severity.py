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
from angioray.study.severity_questions import QUESTIONS
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


def severity(cohort: Cohort, network: nn.Module, question: str = "ifr") -> dict:
    index = CohortIndex.of(cohort, {"RCA": "RCA"})
    keys = [key for name in NAMES for key in index.lesion_frames(name, FRAMES)]
    store = load_frames(cohort, keys, size=TOY.detector.size, device=torch.device("cpu"))
    found = estimate_severity(index, FOLD, network, store, torch.float32)
    assert found is not None and found["questions"].keys() == {question}
    return found["questions"][question]


@pytest.fixture(scope="module")
def found(cohort: Cohort, network: RetinaNet) -> dict:
    return severity(cohort, network)


def changed(cohort: Cohort, **ifr: tuple[float, ...]) -> Cohort:
    """The same with other values."""
    others = {s: replace(q, ifr=ifr.get(s, q.ifr)) for s, q in cohort.sequences.items()}
    return Cohort(cohort.folder, others, cohort.boxes, cohort.copy)


def test_lesions_of_held_out_patients_are_told_apart(found: dict) -> None:
    assert found["trained_on"] == {"lesions": 28, "yes": 14, "patients": 28}
    rows = {row["sequence_id"]: row for row in found["sequences"]}
    assert set(rows) == set(FOLD.validation)
    low = np.array([row["yes"] for row in rows.values()])
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
    answer = json.loads(written.read_text())["questions"]["ifr"]
    assert answer["reason"].endswith("10 of each are needed.")


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


def graded(cohort: Cohort, dark: str | None, light: str | None) -> Cohort:
    """Without iFR, the lesions graded: dark ones and light ones; the second one of two is light."""
    none = changed(cohort, **dict.fromkeys(NAMES, ()))
    is_dark = {number + 1: bool(number % 2) for number in range(PATIENTS)}
    boxes = tuple(
        replace(b, grade=dark if is_dark.get(b.instance_id) else light) for b in none.boxes
    )
    return Cohort(cohort.folder, none.sequences, boxes, cohort.copy)


def test_grades_are_asked_by_the_same_head(cohort: Cohort, network: RetinaNet, found: dict) -> None:
    """The answers are those that iFR gave, for dark lesions are the narrow ones."""
    answer = severity(graded(cohort, "p50_70", "p20_50"), network, "stenosis")
    assert answer == found
    rows = {row["sequence_id"]: row["yes"] for row in answer["sequences"]}
    assert rows[MIXED] and sum(rows.values()) == 4


@pytest.mark.parametrize(
    ("dark", "light", "yes", "no"),
    [("p100", None, 14, 0), ("p20_50", "p0_20", 0, 28), ("p90_98", "mild", 14, 0)],
)
def test_half_of_the_diameter_is_the_cut(
    cohort: Cohort, network: RetinaNet, dark: str, light: str | None, yes: int, no: int
) -> None:
    answer = severity(graded(cohort, dark, light), network, "stenosis")
    assert answer["sequences"] == [] and answer["reason"] == (
        f"{yes} training patients with a stenosis of 50 % or more and {no} with a lesser one: "
        "10 of each are needed."
    )


def test_a_lesion_has_its_highest_grade_and_a_sequence_its_worst_lesion(cohort: Cohort) -> None:
    (stenosis,) = (question for question in QUESTIONS if question.name == "stenosis")

    def asked(*grades: tuple[int, int, str | None]) -> tuple[object, ...]:
        """The answers for lesions 36 and 99, and for their sequence."""
        by_place = {(lesion, frame): grade for lesion, frame, grade in grades}
        boxes = tuple(
            replace(b, grade=by_place.get((b.instance_id, b.frame_index))) for b in cohort.boxes
        )
        known = Cohort(cohort.folder, cohort.sequences, boxes, cohort.copy)
        lesions = (stenosis.of_lesion(known, MIXED, lesion) for lesion in (36, 99))
        return (*lesions, stenosis.of_sequence(known, MIXED))

    assert asked() == (None, None, None)
    assert asked((36, 2, "p20_50"), (36, 4, "p70_90")) == (True, None, True)
    assert asked((36, 2, "p20_50")) == (False, None, None), "the other lesion may be worse"
    assert asked((36, 2, "p20_50"), (99, 2, "p0_20")) == (False, False, False)


def test_another_detector_is_a_sentence(cohort: Cohort) -> None:
    assert "RetinaNet alone" in severity(cohort, nn.Identity())["reason"]


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
