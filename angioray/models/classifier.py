"""The view classifier: a ResNet that names the artery, trained in two stages (paper, 3.1)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import ResNet

from angioray.models.backbone import grey_resnet
from angioray.models.settings import Backbone


def view_classifier(backbone: Backbone, weights: str, classes: int) -> ResNet:
    """A ResNet over grey frames whose last layer has one unit per view class."""
    model = grey_resnet(backbone, weights)
    model.fc = nn.Linear(model.fc.in_features, classes)
    return model


def set_stage(model: nn.Module, *, frozen: bool) -> None:
    """Train only ``layer4`` and the last layer (``frozen``), or everything.

    Frozen layers also keep their batch statistics, so that they give the same features all along.
    """
    model.train()
    for name, child in model.named_children():
        trained = not frozen or name in ("layer4", "fc")
        child.requires_grad_(trained)
        child.train(trained)


def view_loss(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Cross entropy of one batch (natural logarithm), in float32.

    Args:
        model: gives logits float[B, K].
        images: float[B, 1, S, S], normalised.
        labels: int64[B], class indices.
    """
    return {"cross_entropy": F.cross_entropy(model(images).float(), labels)}
