"""The view classifier: a network that names the artery, trained in two stages (paper, 3.1)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from angioray.models.backbone import FeatureBackbone, feature_backbone, grey_resnet
from angioray.models.settings import RESNETS


class FeatureClassifier(nn.Module):
    """Any other backbone than the ResNets, under the mean of its last feature map."""

    def __init__(self, backbone: FeatureBackbone, classes: int) -> None:
        super().__init__()
        self.body = backbone
        self.last = nn.Identity()
        self.fc = nn.Linear(backbone.channels[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (float[B, K]) of float[B, 1, S, S], normalised."""
        logits: Tensor = self.fc(self.last(self.body(images)[-1]).mean(dim=(2, 3)))
        return logits


def view_classifier(backbone: str, weights: str, classes: int) -> nn.Module:
    """A network over grey frames whose last layer, ``fc``, has one unit for each view class.

    Raises:
        ValueError: there is no such backbone, or its weights cannot be had.
    """
    if backbone not in RESNETS:
        return FeatureClassifier(feature_backbone(backbone, weights), classes)
    resnet: nn.Module = grey_resnet(backbone, weights)
    resnet.fc = nn.Linear(resnet.fc.in_features, classes)  # type: ignore[union-attr,arg-type]
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
