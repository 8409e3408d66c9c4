"""Lesion or none, learned without boxes: where the boxes lie, and that the AUC beats chance."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from angioray.models.architectures import build_detector
from angioray.models.cam_detector import CamDetector
from angioray.models.peaks import peak_boxes
from angioray.models.settings import RetinaNetSettings
from angioray.study.settings import DetectorTraining

SMALL = RetinaNetSettings(
    architecture="gradcam",
    size=128,
    backbone="resnet18",
    weights="none",
    frozen_batch_norm=False,
    levels=(3, 4),
)
NOWHERE = [0.0, 0.0, 0.0, 0.0]
SIDE = 128 * 35 / 512


class Planted(nn.Module):
    """A classifier whose last map is its image at stride 16, and whose answer is the map's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.layer4 = nn.AvgPool2d(16)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (float[B, 1])."""
        mean: torch.Tensor = self.layer4(images).mean(dim=(2, 3))
        return mean * 64


def test_boxes_lie_around_the_peaks_of_the_activation_map() -> None:
    detector = CamDetector(SMALL)
    detector.classifier = Planted()
    images = torch.zeros(2, 1, 128, 128)
    images[0, 0, 32:48, 80:96] = 2.0  # a cell with its centre at x 88, y 40
    images[0, 0, 96:112, 16:32] = 1.0  # and one at x 24, y 104
    images[1, 0, 32:48, 80:96] = -1.0  # speaks against a lesion
    found = detector.detect(images)
    boxes, scores = found.boxes_xyxy[0], found.scores[0]
    centres = (boxes[:2, :2] + boxes[:2, 2:]) / 2
    assert (centres - torch.tensor([[88.0, 40.0], [24.0, 104.0]])).abs().max() <= 0.5
    torch.testing.assert_close(boxes[:2, 2:] - boxes[:2, :2], torch.full((2, 2), SIDE))
    probability = torch.tensor(3.0).sigmoid()  # the map's 64 cells sum to 3
    torch.testing.assert_close(scores[:2], torch.stack([probability, probability / 2]))
    assert (scores[2:] == -1).all() and (found.scores[1] == -1).all()


def test_where_boxes_are_changes_no_loss_and_no_gradient() -> None:
    torch.manual_seed(0)
    detector = CamDetector(SMALL).train()
    images = torch.randn(2, 1, 128, 128)
    losses = [
        detector.loss(images, torch.tensor([[NOWHERE, box], [NOWHERE, NOWHERE]]))
        for box in ([10.0, 10, 30, 30], [90.0, 60, 95, 99])
    ]
    assert losses[0] == losses[1] and losses[0].keys() == {"classification_loss"}
    logits = detector(images)[:, 0]
    expected = -(logits[0].sigmoid().log() + (-logits[1]).sigmoid().log()) / 2
    torch.testing.assert_close(losses[0]["classification_loss"], expected)


@pytest.mark.slow
def test_it_learns_lesion_or_none_and_looks_at_the_lesion() -> None:
    torch.manual_seed(0)
    images = 0.5 * torch.randn(48, 1, 64, 64)
    boxes = torch.zeros(48, 1, 4)
    for number in range(0, 48, 2):
        x, y = (8 + 40 * torch.rand(2)).int().tolist()
        images[number, 0, y : y + 10, x : x + 10] += 2
        boxes[number, 0] = torch.tensor([x, y, x + 10, y + 10])
    detector = CamDetector(replace(SMALL, size=64, levels=(3, 3))).train()
    optimiser = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    for step in range(21):
        batch = torch.arange(8) + 8 * (step % 3)
        detector.loss(images[batch], boxes[batch])["classification_loss"].backward()
        optimiser.step()
        optimiser.zero_grad()
    found = detector.eval().detect(images[24:])
    truth = torch.arange(24) % 2 == 0
    assert roc_auc_score(truth, found.scores[:, 0]) > 0.9
    best, true = found.boxes_xyxy[truth, 0], boxes[24:][truth, 0]
    apart = ((best[:, :2] + best[:, 2:]) - (true[:, :2] + true[:, 2:])).abs().amax(dim=1) / 2
    assert (apart <= 8).float().mean() > 0.7  # a cell of the map is 8 px wide


@pytest.mark.parametrize("backbone", ["resnet18", "timm:resnet10t"])
def test_unused_stages_are_not_built_and_features_may_come_from_timm(backbone: str) -> None:
    detector = build_detector(replace(SMALL, backbone=backbone))
    assert isinstance(detector, CamDetector)
    assert detector.classifier.fc.in_features == 256  # type: ignore[union-attr]
    assert detector.detect(torch.randn(1, 1, 128, 128)).boxes_xyxy.shape == (1, 100, 4)


def test_the_weights_that_come_along_are_a_backbone_to_start_from() -> None:
    settings = replace(SMALL, weights="phantom", frozen_batch_norm=True)
    assert build_detector(settings).detect(torch.randn(1, 1, 128, 128)).scores.shape == (1, 100)


def test_without_healthy_frames_it_says_which_variant_to_choose() -> None:
    detector = CamDetector(SMALL)
    boxes = torch.tensor([[[1.0, 1, 9, 9]], [NOWHERE]])
    assert detector.lesion_tiles(boxes).tolist() == [0, 0]
    with pytest.raises(ValueError, match="Choose the variant NL or BGNL"):
        detector.lesion_tiles(boxes[:1])
    with pytest.raises(ValueError, match=r"variants has BG, .* must be NL, BGNL or both"):
        DetectorTraining(architecture="gradcam", variants=("NL", "BG"))
    DetectorTraining(architecture="gradcam", variants=("NL", "BGNL"))


def test_a_plateau_is_one_peak_and_each_box_has_its_own() -> None:
    scores = torch.zeros(1, 8, 8)
    scores[0, 2, 2:7] = 0.5  # five equal places in a row, wider than a box
    scores[0, 6, 0], scores[0, 6, 2] = 0.9, 0.8
    found = peak_boxes(scores, first=8, stride=16, side=64, settings=SMALL)
    assert [round(s, 1) for s in found.scores[0].tolist() if s >= 0] == [0.9, 0.5]
    wide = peak_boxes(scores, first=8, stride=16, side=32, settings=SMALL)
    assert [round(s, 1) for s in wide.scores[0].tolist() if s >= 0] == [0.9, 0.8, 0.5]
    assert wide.boxes_xyxy[0, 0].tolist() == [0, 88, 32, 120]  # moved into the frame
