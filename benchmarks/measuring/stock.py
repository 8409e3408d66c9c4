"""The peers: torchvision's own models, trained as its reference scripts train them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import get_model
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from angioray.models.settings import AnchorSettings
from angioray.training.sampler import batch_positions
from measuring import Step

Loader = Iterator[tuple[Tensor, Tensor]]
"""Batches of uint8[B, 1, S, S] and their targets, on the host."""


def retinanet(
    anchors: AnchorSettings,
    size: int,
    *,
    backbone: str = "resnet50",
    frozen_batch_norm: bool = False,
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


def loader(
    pixels: Tensor, targets: Tensor, batch: int, device: torch.device, seed: int = 0
) -> Loader:
    """The batches that ours has of a seed: at hand on a CPU; by workers, pinned, for a GPU."""
    on_gpu = device.type == "cuda"
    batches = (
        batch_positions(population=len(pixels), batch_size=batch, seed=seed, step=step).tolist()
        for step in itertools.count()
    )
    return iter(
        torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(pixels, targets),
            batch_sampler=batches,  # type: ignore[arg-type]
            num_workers=8 if on_gpu else 0,
            pin_memory=on_gpu,
        )
    )


def detector_step(
    model: RetinaNet,
    optimiser: torch.optim.Optimizer,
    batches: Loader,
    device: torch.device,
    *,
    gradient_norm: float | None = None,
) -> Step:
    """One iteration of ``references/detection``: a list of images, losses read at every step.

    On a GPU it uses AMP as the script does: float16 and a gradient scaler.
    """
    amp = device.type == "cuda"
    scaler = torch.amp.GradScaler(device.type, enabled=amp)
    model.train()

    def step() -> None:
        pixels, boxes = next(batches)
        targets = [_target(frame.to(device)) for frame in boxes]
        with torch.autocast(device.type, torch.float16, enabled=amp):
            losses = model(images(pixels, device), targets)
            total = torch.stack(list(losses.values())).sum()
        assert total.item() < float("inf")
        _update(total, model, optimiser, scaler, gradient_norm)

    return step


def images(pixels: Tensor, device: torch.device) -> list[Tensor]:
    """uint8[B, 1, S, S] as the model takes them: three equal channels from 0 to 1."""
    return [image.to(device) for image in (pixels.float() / 255).expand(-1, 3, -1, -1)]


def _update(
    loss: Tensor,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    gradient_norm: float | None,
) -> None:
    """Gradients and weights, as both reference scripts have it."""
    optimiser.zero_grad()
    scaler.scale(loss).backward()
    if gradient_norm is not None:
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(model.parameters(), gradient_norm)
    scaler.step(optimiser)
    scaler.update()


def _target(boxes: Tensor) -> dict[str, Tensor]:
    real = boxes[(boxes[:, 2:] > boxes[:, :2]).all(dim=1)]
    return {
        "boxes": real,
        "labels": torch.ones(len(real), dtype=torch.int64, device=boxes.device),
    }


class StockClassifier:
    """torchvision's ResNet for two views, trained as ``references/classification`` does."""

    def __init__(self, name: str, device: torch.device) -> None:
        """Random weights."""
        self.model = get_model(name, weights=None, num_classes=2).to(device)
        self._device = device

    def images(self, pixels: Tensor) -> Tensor:
        """uint8[B, 1, S, S] as the model takes them: three channels, ImageNet's normalisation."""
        mean = torch.tensor([0.485, 0.456, 0.406], device=pixels.device)[:, None, None]
        std = torch.tensor([0.229, 0.224, 0.225], device=pixels.device)[:, None, None]
        return (pixels.float() / 255 - mean) / std

    def step(
        self,
        batches: Loader,
        optimiser: torch.optim.Optimizer,
        *,
        gradient_norm: float | None = None,
    ) -> Step:
        """One iteration: float32, AMP on a GPU."""
        model, device = self.model, self._device
        amp = device.type == "cuda"
        scaler = torch.amp.GradScaler(device.type, enabled=amp)

        def step() -> None:
            pixels, labels = next(batches)
            inputs = self.images(pixels).to(device)
            with torch.autocast(device.type, torch.float16, enabled=amp):
                loss = F.cross_entropy(model(inputs), labels.to(device))
            _update(loss, model, optimiser, scaler, gradient_norm)

        return step
