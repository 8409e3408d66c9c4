"""The view classifier: a network that names the artery, trained in two stages (paper, 3.1)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from angioray.models.backbone import FeatureBackbone, feature_backbone, grey_resnet
from angioray.models.settings import RESNETS


class FeatureClassifier(nn.Module):
    """Any other backbone than the ResNets, under the mean of its last used feature map."""

    def __init__(self, backbone: FeatureBackbone, classes: int, stages: int = 4) -> None:
        super().__init__()
        self.body = backbone
        self.last = nn.Identity()
        self._stages = stages
        self.fc = nn.Linear(backbone.channels[stages - 1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (float[B, K]) of float[B, 1, S, S], normalised."""
        logits: Tensor = self.fc(self.last(self.body(images)[self._stages - 1]).mean(dim=(2, 3)))
        return logits


def view_classifier(
    backbone: str,
    weights: str,
    classes: int,
    *,
    norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    stages: int = 4,
) -> nn.Module:
    """A network over grey frames whose last layer, ``fc``, has one unit for each class.

    Args:
        backbone: which.
        weights: as in :func:`grey_resnet`.
        classes: the views, or whatever else it tells apart.
        norm_layer: builds the normalisation of a given number of channels.
        stages: of the backbone that are used, 1 to 4.

    Raises:
        ValueError: there is no such backbone, or its weights cannot be had.
    """
    if backbone not in RESNETS:
        body = feature_backbone(backbone, weights, norm_layer)
        return FeatureClassifier(body, classes, stages)
    resnet: nn.Module = grey_resnet(backbone, weights, norm_layer, stages=stages)
    for unused in range(stages + 1, 5):
        setattr(resnet, f"layer{unused}", nn.Identity())
    features = resnet.fc.in_features // 2 ** (4 - stages)  # type: ignore[union-attr]
    resnet.fc = nn.Linear(features, classes)
    return resnet


def last_stage(model: nn.Module) -> nn.Module:
    """The module that gives the last feature map, which Grad-CAM explains."""
    stage: nn.Module = model.get_submodule(
        "last" if isinstance(model, FeatureClassifier) else "layer4"
    )
    return stage


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
