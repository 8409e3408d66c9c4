"""CONTRIBUTING's recipe for parts of another package, followed for real: one is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml

from angioray.cluster.flops import frame_flop
from angioray.evaluation.detection import detector_metrics
from angioray.models.backbone import TimmBackbone
from angioray.models.classifier import view_classifier
from angioray.models.retinanet import RetinaNet
from angioray.models.settings import RetinaNetSettings
from angioray.study.executor import Executor
from angioray.study.settings import DetectorTraining, StudySettings
from angioray.study.study import Study
from angioray.training.settings import AugmentationSettings
from angioray.training.step import World
from preprocess.cohort import Cohort
from tests.angioray.four_frames import FOUND, FRAMES
from tests.angioray.settings import TOY

SOURCE = """
import numpy as np
import torch
from torch import nn

from angioray.evaluation.measures import COUNTS, Ratio
from angioray.models.backbone import FeatureBackbone
from angioray.models.retinanet import RetinaNet


class Strided(FeatureBackbone):
    channels = (8, 8, 16, 16)

    def __init__(self, weights, norm_layer):
        super().__init__()
        widths = [1, 8, 8, 16, 16]
        self.stages = nn.ModuleList(
            nn.Conv2d(before, after, 4 if i == 0 else 2, 4 if i == 0 else 2)
            for i, (before, after) in enumerate(zip(widths, widths[1:]))
        )

    def forward(self, images):
        maps = []
        for stage in self.stages:
            images = stage(images).relu()
            maps.append(images)
        return maps


def boxes_per_frame(matched):
    best = matched.best
    counts = np.bincount(best.frame_position, minlength=len(best.frame_image_id)).astype(float)
    return Ratio(numerator=counts, denominator=np.ones(len(counts)), rules=COUNTS)


def inverted(images, generator):
    return -images


class Renamed(RetinaNet):
    pass


def renamed(settings, pretrained):
    return Renamed(settings, pretrained=pretrained)
"""
ENTRY_POINTS = """
[angioray.backbones]
strided = my_package:Strided
[angioray.metrics]
boxes_per_frame = my_package:boxes_per_frame
[angioray.augmentations]
inverted = my_package:inverted
[angioray.detectors]
renamed = my_package:renamed
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with entry points, as pip would leave it."""
    site = tmp_path / "site"
    information = site / "my_package-1.0.dist-info"
    information.mkdir(parents=True)
    (site / "my_package.py").write_text(SOURCE)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("my_package", None)


@pytest.mark.usefixtures("installed")
def test_a_study_trains_with_the_parts_of_another_package(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    detector = replace(
        TOY.detector,
        backbone="strided",
        architecture="renamed",
        augmentation=AugmentationSettings(extra=("inverted",)),
    )
    settings = replace(TOY, view=replace(TOY.view, backbone="strided"), detector=detector)
    study = Study.plan(toy_cohort, tmp_path / "runs", settings)
    study.freeze(toy_cohort)
    executor = Executor(study, toy_cohort, World(torch.device("cpu")))
    for name in ("view-32-fold0", "detector-RCA-B-64-fold0"):
        metrics = executor.execute(study.run(name), lambda *_: None)
        assert frame_flop(settings, study.run(name)) > 0
    assert metrics["boxes_per_frame"] is not None and metrics["boxes_per_frame"] > 1
    kept = yaml.safe_load((tmp_path / "runs" / name / "settings.yaml").read_text())
    assert kept["settings"]["detector"]["backbone"] == "strided"


@pytest.mark.usefixtures("installed")
def test_a_registered_metric_is_one_of_all() -> None:
    metrics = detector_metrics(FRAMES, FOUND)
    assert metrics["boxes_per_frame"] == sum(len(scores) for _, scores in FOUND.values()) / 4


@pytest.mark.usefixtures("installed")
def test_a_registered_augmentation_changes_what_is_learned_from(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    from angioray.study.detector_task import DetectorTask
    from angioray.study.selection import CohortIndex
    from angioray.training.frames import load_frames

    images = []
    for extra in ((), ("inverted",)):
        plain = AugmentationSettings(brightness=0, contrast=0, extra=extra)
        settings = replace(TOY, detector=replace(TOY.detector, augmentation=plain))
        study = Study.plan(toy_cohort, tmp_path, settings)
        index, run = CohortIndex.of(toy_cohort, settings.view_classes), study.runs[-1]
        world = World(torch.device("cpu"))
        keys = DetectorTask.frames(study, index, run)
        store = load_frames(toy_cohort, keys, size=64, device=world.device)
        job = DetectorTask(study, index, run, store, world)
        images.append(job.batch(0, world, torch.float32)[0])
    assert torch.equal(images[0], -images[1])


def test_an_unknown_part_is_said() -> None:
    with pytest.raises(ValueError, match="backbone is 'resnet19'; it must be one of resnet18, "):
        DetectorTraining(backbone="resnet19")
    with pytest.raises(ValueError, match="architecture is 'mine': the nearest is retinanet; "):
        RetinaNetSettings(architecture="mine", weights="none")


def weights_of(name: str, folder: Path) -> str:
    """A file of random weights, for a download is what a test cannot have."""
    model = timm.create_model(name, in_chans=1, features_only=True)
    torch.save(model.state_dict(), folder / "weights.pth")
    return str(folder / "weights.pth")


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto"])
def test_any_model_of_timm_that_gives_features_is_a_backbone(name: str, tmp_path: Path) -> None:
    settings = RetinaNetSettings(
        backbone=f"timm:{name}", weights=weights_of(name, tmp_path), size=128, channels=32
    )
    model = RetinaNet(replace(settings, levels=(3, 6)))
    losses = model.loss(torch.randn(2, 1, 128, 128), torch.tensor([[[10.0, 10, 50, 50]]] * 2))
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert isinstance(model.body, TimmBackbone)
    assert all(p.grad is not None for p in model.body.parameters())
    assert view_classifier(f"timm:{name}", "none", 3)(torch.randn(2, 1, 64, 64)).shape == (2, 3)
    frozen = [type(m).__name__ for m in model.body.modules()]
    assert "BatchNorm2d" not in frozen


def test_timm_says_what_it_does_not_have() -> None:
    with pytest.raises(ValueError, match="timm cannot make no_such_model"):
        RetinaNet(replace(TOY.detector, backbone="timm:no_such_model"))
    with pytest.raises(ValueError, match="gives features at strides"):
        RetinaNet(replace(TOY.detector, backbone="timm:vit_tiny_patch16_224"))


def given(folder: Path, document: Any) -> str:
    path = folder / "splits.json"
    path.write_text(json.dumps(document))
    return str(path)


def planned(cohort: Cohort, folder: Path, splits: str) -> Study:
    return Study.plan(cohort, folder / "runs", replace(TOY, splits=splits))


def test_a_study_takes_folds_from_a_file(toy_cohort: Cohort, tmp_path: Path) -> None:
    patients = [f"P{number:02d}" for number in range(12)]
    fold = {"train": patients[:6] + patients[10:11], "validation": patients[6:10]}
    study = planned(toy_cohort, tmp_path, given(tmp_path, [fold]))
    assert {run.fold for run in study.runs} == {0}
    cut = study.splits["detector/RCA"][0]
    assert cut.train == (*(f"S{n:02d}RCA" for n in range(6)), "S10RCA")
    assert cut.validation == tuple(f"S{n:02d}RCA" for n in range(6, 10))
    study.freeze(toy_cohort)
    assert Study.open(tmp_path / "runs").splits == study.splits
    # Another study may take the folds of this one.
    again = planned(toy_cohort, tmp_path / "again", str(tmp_path / "runs" / "study.json"))
    assert again.splits == study.splits


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([{"train": ["P00"], "validation": ["P00", "P01"]}], "has sequence S00LCA on both sides"),
        ([{"train": ["P00"], "validation": []}], "has no sequence to validate on"),
        ([{"train": [], "validation": ["P00"]}], "has no sequence to train on"),
        ([{"train": ["P00"], "validation": ["P77"]}], "P77, which is no sequence and no patient"),
        ([{"train": ["P00"], "validation": ["../P1"]}], "../P1, which is no sequence and no"),
        ([{"train": ["P00"], "val": ["P01"]}], "a fold with train, val. Expected a list of"),
        ({"view": [{"train": ["P00"], "validation": ["P01"]}]}, "no folds for detector/LCA"),
        ("folds", "no folds for view"),
        ([], "no folds for view"),
        ({"splits": ["P00"]}, "no folds for view"),
        ([{"train": None, "validation": ["P00"]}], "a fold whose train is no list of names"),
        ([{"train": ["P00"], "validation": "P01"}], "a fold whose validation is no list of names"),
        ([{"train": [3], "validation": ["P01"]}], "a fold whose train is no list of names"),
    ],
)
def test_folds_that_cannot_be_are_refused(
    toy_cohort: Cohort, tmp_path: Path, document: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        planned(toy_cohort, tmp_path, given(tmp_path, document))


def test_a_file_of_folds_that_cannot_be_read_is_said(toy_cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text("[\nfolds: []")
    with pytest.raises(
        ValueError, match=r"splits\.json, line 2, is no JSON: .* Expected a list of"
    ):
        planned(toy_cohort, tmp_path, str(tmp_path / "splits.json"))
    with pytest.raises(ValueError, match=r"is a folder, expected a file\. Expected a list of"):
        planned(toy_cohort, tmp_path, str(tmp_path))
    with pytest.raises(
        ValueError, match=r"There is no file .*publishd\. .* published-test, .* are no"
    ):
        planned(toy_cohort, tmp_path, "publishd")


def test_a_patient_on_both_sides_of_a_detectors_fold_is_refused(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    settings: StudySettings = replace(TOY, tasks=("detector",))
    same = {name: replace(s, patient_id="P00") for name, s in toy_cohort.sequences.items()}
    cohort = Cohort(toy_cohort.folder, same, toy_cohort.boxes)
    splits = given(tmp_path, [{"train": ["S00RCA", "S00LCA"], "validation": ["S01RCA", "S01LCA"]}])
    with pytest.raises(ValueError, match="has patient P00 on both sides"):
        Study.plan(cohort, tmp_path / "runs", replace(settings, splits=splits))


@pytest.mark.parametrize(
    ("splits", "train", "validation"),
    [("published", range(4), range(4, 8)), ("published-test", range(8), range(8, 10))],
)
def test_the_parts_of_a_public_set_are_one_fold(
    toy_cohort: Cohort, tmp_path: Path, splits: str, train: range, validation: range
) -> None:
    parts = ["train"] * 4 + ["val"] * 4 + ["test"] * 4
    cohort = Cohort(
        toy_cohort.folder,
        {
            name: replace(s, part=parts[int(s.patient_id[1:])])
            for name, s in toy_cohort.sequences.items()
        },
        toy_cohort.boxes,
    )
    study = planned(cohort, tmp_path, splits)
    (cut,) = study.splits["detector/LCA"]
    assert cut.train == tuple(f"S{n:02d}LCA" for n in train)
    assert set(cut.validation) >= {f"S{n:02d}LCA" for n in validation}
    with pytest.raises(ValueError, match="has no sequence to"):
        planned(toy_cohort, tmp_path, splits)
