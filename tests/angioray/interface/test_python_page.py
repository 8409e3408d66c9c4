"""The Python interface: its page does what it says, and predictions take any frames."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import angioray
from angioray.interface.system import System, grey_frames
from angioray.study.executor import Executor
from angioray.study.study import Study
from angioray.training.step import World
from preprocess.cohort import NO_LESION, Box, Cohort, write_annotations
from tests.angioray.settings import TOY
from tests.preprocess.tiny_archive import noise, write_cine

PAGE = Path(__file__).parents[3] / "docs" / "python.md"


@pytest.fixture(scope="module")
def here(toy_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy cohort and a finished study of it."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "cohort").symlink_to(toy_cohort.folder)
    study = Study.plan(toy_cohort, folder / "runs", TOY)
    study.freeze(toy_cohort)
    torch.set_num_threads(1)
    executor = Executor(study, toy_cohort, World(torch.device("cpu")))
    for run in study.runs:
        executor.execute(run, lambda *_: None)
    return folder


@pytest.fixture(scope="module")
def system(here: Path) -> System:
    return angioray.load(here / "runs")


def test_the_page_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["frames"][0].shape == (1, 64, 64)
    assert names["table"].loc["S00RCA", "frames_with_boxes"] == 5
    assert str(names["cohort"]).endswith("24 cines of 12 patients, LCA, RCA, 100 boxes)")


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import angioray, sys; angioray.__version__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'cohort'"):
        _ = angioray.cohort  # type: ignore[attr-defined]


def test_a_cine_is_what_the_cohort_holds(toy_cohort: Cohort) -> None:
    cohort = angioray.Cohort(toy_cohort.folder)
    assert [cine.id for cine in cohort] == list(toy_cohort.sequences)
    cine = cohort["S03LCA"]
    np.testing.assert_array_equal(cine.frames, toy_cohort.cine_8bit("S03LCA"))
    assert cine.phases == ["no_contrast", "introducing", *["optimal"] * 5, "vanishing"]
    assert list(cine.boxes) == [2, 3, 4, 5, 6]
    with pytest.raises(KeyError, match="no sequence 'S99'"):
        cohort["S99"]
    assert "S99" not in cohort and "S03LCA" in cohort


@pytest.mark.parametrize(
    ("view", "phase", "frames"),
    [("RCA", "optimal", 12 * 5), (None, "reference", 20), ("LCA", None, 12 * 8)],
)
def test_a_data_set_has_the_frames_that_were_asked_for(
    toy_cohort: Cohort, view: str | None, phase: str | None, frames: int
) -> None:
    dataset = angioray.Cohort(toy_cohort.folder).frames(view=view, phase=phase)
    assert len(dataset) == frames
    frame, target = dataset[0]
    sequence_id, t = target["sequence_id"], target["frame_index"]
    expected = toy_cohort.boxes_by_frame.get((sequence_id, t), [])
    assert target["boxes"].tolist() == [list(box.box_xyxy) for box in expected]
    assert target["image_id"] == toy_cohort.image_id(sequence_id, t)
    np.testing.assert_array_equal(frame[0].numpy(), toy_cohort.cine_8bit(sequence_id)[t])


def test_areas_to_ignore_come_with_their_frames(toy_cohort: Cohort, tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    shutil.copytree(toy_cohort.folder, folder)
    (first, *_) = toy_cohort.sequences.values()
    area = Box(
        sequence_id=first.sequence_id,
        frame_index=0,
        box_xyxy=(4, 6, 20, 10),
        instance_id=NO_LESION,
        ignored=True,
    )
    write_annotations(folder, toy_cohort.sequences.values(), [area])
    for size, expected in ((None, [4, 6, 20, 10]), (first.width // 2, [2, 3, 10, 5])):
        _, target = angioray.Cohort(folder).frames(phase=None, size=size)[0]
        assert target["ignored"].tolist() == [expected]
        assert target["boxes"].dtype == target["ignored"].dtype == torch.float32
        assert target["boxes"].shape == (0, 4) and not len(target["labels"])


def test_frames_and_boxes_are_resized_alike(toy_cohort: Cohort) -> None:
    cohort = angioray.Cohort(toy_cohort.folder)
    whole, half = cohort.frames(phase="reference"), cohort.frames(phase="reference", size=32)
    assert half[0][0].shape == (1, 32, 32)
    torch.testing.assert_close(half[0][1]["boxes"], whole[0][1]["boxes"] / 2)


def test_what_a_cohort_has_not_is_said(toy_cohort: Cohort) -> None:
    cohort = angioray.Cohort(toy_cohort.folder)
    with pytest.raises(ValueError, match="no view 'LCX', but LCA, RCA"):
        cohort.frames(view="LCX")
    with pytest.raises(ValueError, match="phase is 'best', expected no_contrast"):
        cohort.frames(phase="best")


def test_a_known_cine_is_judged_by_the_fold_that_held_its_patient_out(
    toy_cohort: Cohort, system: System
) -> None:
    cine = angioray.Cohort(toy_cohort.folder)["S00RCA"]
    result = system.predict(cine, frames=[4])
    fold = next(
        fold
        for fold, cut in enumerate(system.study.splits["detector/RCA"])
        if "S00RCA" in cut.validation
    )
    alone = System(system.study.folder)
    alone.study = replace(
        alone.study, runs=tuple(run for run in alone.study.runs if run.fold == fold)
    )
    assert result.view == alone.predict(cine, frames=[4]).view
    if result.view == "RCA":
        np.testing.assert_array_equal(result.boxes[4], alone.predict(cine, frames=[4]).boxes[4])
    assert len(result) == 8 and not len(result.boxes[3])


def test_a_cine_without_a_reference_frame_is_named_by_the_middle_of_its_optimal_interval(
    toy_cohort: Cohort, system: System
) -> None:
    labelled = replace(toy_cohort.sequences["S00RCA"], optimal_start=6, vanishing_start=7)

    def probabilities(reference_frame: int | None) -> dict[str, float]:
        cohort = angioray.Cohort(toy_cohort.folder)
        sequence = replace(labelled, reference_frame=reference_frame)
        cohort.opened = Cohort(toy_cohort.folder, {"S00RCA": sequence}, ())
        return system.predict(cohort["S00RCA"], frames=[]).probabilities

    assert probabilities(None) == probabilities(6) != probabilities(4)


def test_frames_in_memory_are_answered_like_the_same_in_a_file(
    system: System, tmp_path: Path
) -> None:
    frames = noise(14, 96, seed=2)
    write_cine(tmp_path / "IM0001", frames)
    file, array = system.predict(tmp_path / "IM0001"), system.predict(frames)
    assert file.view == array.view and len(file) == 14
    for one, other in zip(file.boxes, array.boxes, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((48, 64), "uint8"),
        ((1, 200, 100), "uint16"),
        ((3, 1, 64, 64), "float32"),
        ((3, 64, 64, 1), "int16"),
        ((2, 70, 90, 3), "uint8"),
        ((20, 3, 150, 160), "float64"),
        ((7, 700, 900), "uint8"),
    ],
)
def test_frames_of_any_size_type_and_number(
    system: System, shape: tuple[int, ...], dtype: str
) -> None:
    height, width = shape[-2:] if shape[-1] not in (1, 3) else shape[-3:-1]
    plain = np.random.default_rng(0).integers(0, 200, (height, width))
    frames = np.zeros(shape, dtype)
    if len(shape) == 4 and shape[-1] in (1, 3):
        frames[:] = plain[:, :, None]
    else:
        frames[:] = plain
    for given in (frames, torch.from_numpy(frames.astype("int32"))):
        result = system.predict(given)
        assert len(result) == (1 if len(shape) == 2 else shape[0])
        assert result.view in ("LCA", "RCA")
        boxes = np.concatenate(result.boxes)
        assert len(boxes) and (boxes >= 0).all()
        assert boxes[:, 2].max() <= width and boxes[:, 3].max() <= height
        assert boxes[:, 2].max() > width / 2 and boxes[:, 3].max() > height / 2
    assert len(result.table()) == len(boxes)


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (np.zeros(5), r"shape \(5,\); expected \[H, W\]"),
        (np.zeros((0, 4, 4)), "expected"),
        (np.full((2, 8, 8), np.nan), "no finite numbers"),
        (np.arange(2 * 8 * 8 * 3).reshape(2, 8, 8, 3), "in colour"),
        (np.array([["a", "b"]]), "no finite numbers"),
    ],
)
def test_what_are_no_frames_is_said(frames: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        grey_frames(frames)


def test_other_types_are_shown_from_their_least_to_their_greatest_value() -> None:
    shown = grey_frames(np.array([[100, 200], [300, 355]], np.uint16))
    assert shown.tolist() == [[[0, 100], [200, 255]]]
