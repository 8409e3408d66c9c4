"""torchvision's detectors: they lose and find what torchvision's own networks lose and find."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection, resnet18, vgg

from angioray.models.architectures import build_detector
from angioray.models.backbone import GREY_MEAN, GREY_STD, grey_resnet
from angioray.models.detector import Detector
from angioray.models.settings import (
    FASTER_RCNN,
    FCOS,
    SSD,
    AnchorSettings,
    RetinaNetSettings,
)

FROM_NOTHING = RetinaNetSettings(weights="none", frozen_batch_norm=False)
SETTINGS = {
    SSD: replace(FROM_NOTHING, architecture=SSD, size=300),
    FCOS: replace(FROM_NOTHING, architecture=FCOS, size=128),
    FASTER_RCNN: replace(
        FROM_NOTHING,
        architecture=FASTER_RCNN,
        size=128,
        levels=(2, 6),
        anchors=AnchorSettings(ratios=(0.5, 1.0, 2.0), scales=(1.0,), base_size_strides=8.0),
    ),
}
"""Under which each is the network of the paper that torchvision implements."""
SMALL = {
    SSD: SETTINGS[SSD],
    FCOS: replace(SETTINGS[FCOS], backbone="resnet18", levels=(3, 4), channels=32),
    FASTER_RCNN: replace(SETTINGS[FASTER_RCNN], backbone="resnet18", levels=(3, 4), channels=32),
}

EACH = [FCOS, FASTER_RCNN, pytest.param(SSD, marks=pytest.mark.slow)]


def torchvisions(settings: RetinaNetSettings, detector: Detector) -> Any:
    """torchvision's own network of three channels, with the weights of ours."""
    image = {"image_mean": [GREY_MEAN] * 3, "image_std": [GREY_STD] * 3}
    alike = {"weights": None, "weights_backbone": None, **image}
    side = {"min_size": settings.size, "max_size": settings.size}
    if settings.architecture == SSD:
        kept = {"score_thresh": 0, "nms_thresh": 0.5, "detections_per_img": 100}
        made = detection.ssd300_vgg16(num_classes=2, topk_candidates=1000, **kept, **alike)
    elif settings.architecture == FCOS:
        kept = {"score_thresh": 0, "nms_thresh": 0.5, "detections_per_img": 100}
        made = detection.fcos_resnet50_fpn(num_classes=1, **kept, **side, **alike)
    else:
        made = detection.fasterrcnn_resnet50_fpn(num_classes=2, box_score_thresh=0, **side, **alike)
    weights = {
        key.removeprefix("model.").replace("backbone.backbone.", "backbone."): value
        for key, value in detector.state_dict().items()
    }
    stem = "backbone.body.conv1.weight"
    if stem in weights:
        weights[stem] = weights[stem].expand(-1, 3, -1, -1) / 3
    made.load_state_dict(weights)
    return made


def examples(settings: RetinaNetSettings) -> tuple[Tensor, Tensor]:
    """Three frames with grey levels from 0 to 1, and boxes; the second has none."""
    frames = torch.rand(3, 1, settings.size, settings.size)
    boxes = torch.zeros(3, 4, 4)
    boxes[0, 0] = torch.tensor([10.0, 20, 45, 50])
    boxes[2, :2] = torch.tensor([[80.0, 70, 120, 125], [12, 60, 31, 83]])
    return frames, boxes


@pytest.mark.parametrize("architecture", EACH)
def test_losses_and_boxes_are_those_of_torchvisions_own_network(architecture: str) -> None:
    torch.manual_seed(0)
    settings = SETTINGS[architecture]
    ours = build_detector(settings).train()
    theirs = torchvisions(settings, ours).train()
    frames, boxes = examples(settings)
    images = (frames - GREY_MEAN) / GREY_STD
    label = 0 if architecture == FCOS else 1
    targets = [
        {"boxes": boxes[i, :count], "labels": torch.full((count,), label)}
        for i, count in enumerate((1, 0, 2))
    ]
    given = list(frames.expand(-1, 3, -1, -1))
    torch.manual_seed(1)  # Faster R-CNN draws boxes to learn from
    expected = theirs(given, targets)
    torch.manual_seed(1)
    losses = ours.loss(images, boxes)
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-3), name
    found = ours.eval().detect(images)
    for i, answer in enumerate(theirs.eval()(given)):
        sides = answer["boxes"][:, 2:] - answer["boxes"][:, :2]
        solid = sides.amin(dim=1) >= 1
        real = found.scores[i] >= 0
        close = partial(torch.testing.assert_close, rtol=0)
        close(found.boxes_xyxy[i, real], answer["boxes"][solid], atol=0.05)
        close(found.scores[i, real], answer["scores"][solid], atol=1e-4)
        assert real.any()


@pytest.mark.parametrize("architecture", EACH)
def test_a_batch_without_any_box_is_learned_from(architecture: str) -> None:
    torch.manual_seed(0)
    detector = build_detector(SMALL[architecture]).train()
    images, boxes = examples(SMALL[architecture])
    losses = detector.loss(images, torch.zeros_like(boxes))
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert total.isfinite()
    # SSD compares with as many background boxes as three times its lesion boxes: with none.
    assert (total > 0) == (architecture != SSD)


@pytest.mark.parametrize("architecture", EACH)
def test_in_bfloat16_scores_and_places_stay_float32(architecture: str) -> None:
    torch.manual_seed(0)
    detector = build_detector(SMALL[architecture]).eval()
    images, boxes = examples(SMALL[architecture])
    whole = detector.detect(images)
    with torch.autocast("cpu", torch.bfloat16):
        halved = detector.detect(images.bfloat16())
        losses = detector.train().loss(images.bfloat16(), boxes)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    for found in (whole, halved):
        assert found.scores.dtype == found.boxes_xyxy.dtype == torch.float32
    assert len(halved.scores.unique()) >= 0.9 * len(whole.scores.unique())


def saved(network: nn.Module, folder: Path) -> str:
    path = folder / "weights.pth"
    torch.save(network.state_dict(), path)
    return str(path)


def test_ssd_begins_with_the_convolutions_of_vgg(tmp_path: Path) -> None:
    published = nn.ModuleDict({"features": vgg.make_layers(vgg.cfgs["D"])})
    detector = build_detector(replace(SETTINGS[SSD], weights=saved(published, tmp_path)))
    found = [m for m in detector.modules() if isinstance(m, nn.Conv2d)][:13]
    expected = [m for m in published.modules() if isinstance(m, nn.Conv2d)]
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)
    with pytest.raises(ValueError, match=r"expected the 26 tensors `features\.\*` .* found 0"):
        build_detector(replace(SETTINGS[SSD], weights=saved(resnet18(), tmp_path)))


@pytest.mark.parametrize("architecture", [FCOS, FASTER_RCNN])
def test_a_detector_begins_with_the_backbone_of_phantoms(architecture: str) -> None:
    settings = replace(
        SMALL[architecture], levels=(3, 4), weights="phantom", frozen_batch_norm=True
    )
    found = dict(build_detector(settings).named_parameters())
    expected = grey_resnet("resnet18", "phantom", stages=3)
    for name, weights in expected.named_parameters():
        if "conv" in name and "layer4" not in name:
            assert torch.equal(found[f"model.backbone.backbone.body.{name}"], weights)
    with pytest.raises(ValueError, match="frozen_batch_norm keeps the statistics"):
        build_detector(replace(settings, weights="none"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"architecture": SSD}, "size is 512; ssd300_vgg16 takes frames of 300 px alone"),
        ({"architecture": SSD, "size": 300, "weights": "phantom"}, "which a ResNet learned"),
        ({"architecture": FCOS, "channels": 40}, "needs a multiple of 32"),
        ({"architecture": FCOS, "size": 192}, "size is 192; it must be a multiple of 128"),
        ({"architecture": FASTER_RCNN, "backbone": "timm:resnet10t"}, "takes one of resnet18"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        RetinaNetSettings(**changes)
