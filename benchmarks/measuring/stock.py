"""The peers: torchvision's own models, trained as its reference scripts train them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from angioray.boxes import AnchorSettings
from measuring import Step

Loader = Iterator[tuple[Tensor, Tensor]]
"""Batches of uint8[B, 1, S, S] and their targets, on the host."""


def retinanet(
    anchors: AnchorSettings,
    size: int,
    *,
    backbone: str = "resnet50",
    frozen_batch_norm: bool = False,
    channels_last: bool = False,
) -> RetinaNet:
    """torchvision's RetinaNet over P3 to P7, with the same anchors and layers as ours."""
    pyramid = resnet_fpn_backbone(
        backbone_name=backbone,
        weights=None,
        norm_layer=FrozenBatchNorm2d if frozen_batch_norm else nn.BatchNorm2d,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    strides = [2**level for level in range(3, 8)]
    generator = AnchorGenerator(
        sizes=tuple(
            tuple(stride * anchors.base_size_strides * scale for scale in anchors.scales)
            for stride in strides
        ),
        aspect_ratios=(anchors.ratios,) * len(strides),
    )
    return RetinaNet(
        pyramid, num_classes=2, anchor_generator=generator, min_size=size, max_size=size
    )


def detector_step(
    model: RetinaNet,
    optimiser: torch.optim.Optimizer,
    batches: Loader,
    device: torch.device,
) -> Step:
    """One iteration of ``references/detection``: a list of images, losses read at every step.

    On a GPU it uses AMP as the script does: float16 and a gradient scaler.
    """
    amp = device.type == "cuda"
    scaler = torch.amp.GradScaler(device.type, enabled=amp)
    model.train()

    def step() -> None:
        pixels, boxes = next(batches)
        images = [image.to(device) for image in (pixels.float() / 255).expand(-1, 3, -1, -1)]
        targets = [_target(frame.to(device)) for frame in boxes]
        with torch.autocast(device.type, torch.float16, enabled=amp):
            losses = model(images, targets)
            total = torch.stack(list(losses.values())).sum()
        assert total.item() < float("inf")
        optimiser.zero_grad()
        scaler.scale(total).backward()
        scaler.step(optimiser)
        scaler.update()

    return step


def _target(boxes: Tensor) -> dict[str, Tensor]:
    real = boxes[(boxes[:, 2:] > boxes[:, :2]).all(dim=1)]
    return {
        "boxes": real,
        "labels": torch.ones(len(real), dtype=torch.int64, device=boxes.device),
    }


def classifier_step(
    batches: Loader, device: torch.device, set_stage: Callable[[nn.Module], None]
) -> Step:
    """One iteration of ``references/classification`` with ResNet-50: float32, AMP on a GPU."""
    model = resnet50(weights=None, num_classes=2).to(device)
    set_stage(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, 1e-5)
    amp = device.type == "cuda"
    scaler = torch.amp.GradScaler(device.type, enabled=amp)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    def step() -> None:
        pixels, labels = next(batches)
        images = ((pixels.float() / 255 - mean) / std).to(device)
        with torch.autocast(device.type, torch.float16, enabled=amp):
            loss = F.cross_entropy(model(images), labels.to(device))
        optimiser.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()

    return step
