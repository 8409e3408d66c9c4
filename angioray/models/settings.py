"""The settings of the networks. Nothing here imports PyTorch, so that a command starts at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from angioray.extensions import registered

RESNETS = ("resnet18", "resnet34", "resnet50")
TIMM = "timm:"
"""Begins the name of a backbone that timm has."""
RETINANET = "retinanet"

NAMED_WEIGHTS = ("imagenet", "phantom", "none")
"""Values of a `weights` setting that are no path."""


def unknown_backbone(name: str) -> list[str]:
    """What is wrong with the name of a backbone, in words."""
    if name in RESNETS or name.startswith(TIMM) or name in registered("backbones"):
        return []
    known = ", ".join((*RESNETS, f"{TIMM}NAME", *registered("backbones")))
    return [f"backbone is {name!r}, expected one of {known}"]


@dataclass(frozen=True, kw_only=True)
class AnchorSettings:
    """The anchors at every cell of every pyramid level (paper, section 3.2: A = 12)."""

    ratios: tuple[float, ...] = (1.0, 0.5, 2.0, 4.0)
    """Height over width."""
    scales: tuple[float, ...] = (1.0, 2**0.5, 2.0)
    """Multiples of a level's base size."""
    base_size_strides: float = 4.0
    """A level's base size, in strides of that level (4: 32 px at stride 8, as RetinaNet has it)."""

    def __post_init__(self) -> None:
        if not self.ratios or not self.scales:
            raise ValueError("Anchors need at least one ratio and one scale.")
        if min(*self.ratios, *self.scales, self.base_size_strides) <= 0:
            raise ValueError(
                f"Anchors of ratios {list(self.ratios)}, scales {list(self.scales)} and base size "
                f"{self.base_size_strides} cannot be: all of them must be more than 0."
            )

    @property
    def per_cell(self) -> int:
        """Anchors at one cell."""
        return len(self.ratios) * len(self.scales)


@dataclass(frozen=True, kw_only=True)
class DetectionLossSettings:
    """Which anchors are lesions, and what a mistake costs."""

    focal_alpha: float = 0.25
    """Weight of lesion anchors against background, 0 to 1."""
    focal_gamma: float = 2.0
    """How strongly easy anchors are played down, 0 or more."""
    smooth_l1_beta: float = 1 / 9
    """Offset at which the box loss turns from quadratic to linear."""
    box_weight: float = 1.0
    """Weight of the box loss against the classification loss."""
    foreground_iou: float = 0.5
    """An anchor of at least this IoU with a box is a lesion, 0 to 1."""
    background_iou: float = 0.4
    """An anchor of less than this IoU with every box is background, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class RetinaNetSettings(DetectionLossSettings):
    """The detector's architecture, what it is taught and what it answers."""

    size: int = 512
    """Side of the square input in pixels, a multiple of the coarsest stride."""
    network: str = RETINANET
    """`retinanet`, or a detector of an installed package (`angioray.detectors`)."""
    backbone: str = "resnet50"
    """Under the pyramid: `resnet18`, `resnet34`, `resnet50`, `timm:` and a model of timm that gives
    features, or a backbone of an installed package (`angioray.backbones`)."""
    weights: str = "imagenet"
    """`imagenet`, `phantom`, `none`, or the path of a state dict of the backbone, or of a whole
    detector that `angioray.pretrain` wrote."""
    frozen_batch_norm: bool = True
    """Keep the statistics that came with the weights; needs weights."""
    levels: tuple[int, int] = (3, 7)
    """First and last pyramid level; level l has a stride of 2^l pixels, 2 to 7."""
    channels: int = 256
    """Channels of the pyramid and of both sub-networks."""
    anchors: AnchorSettings = field(default_factory=AnchorSettings)
    """Shapes of the anchors."""
    nms_iou: float = 0.5
    """Of two boxes overlapping by more than this IoU the better one stays, 0 to 1."""
    max_predictions: int = 100
    """Boxes kept per frame in predictions.json: the paper uses the best 1 and 5, COCO's AP 100."""
