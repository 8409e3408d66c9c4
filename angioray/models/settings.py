"""The settings of the networks. Nothing here imports PyTorch, so that a command starts at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Annotated

from angioray.extensions import registered
from preprocess.console.names import instead
from preprocess.console.settings import (
    SOME,
    Count,
    NotNegative,
    Positive,
    Proportion,
    Settings,
    bounds,
)

RESNETS = ("resnet18", "resnet34", "resnet50")
TIMM = "timm:"
"""Begins the name of a backbone that timm has."""
RETINANET = "retinanet"
GRADCAM = "gradcam"
PATCHES = "patches"
SSD = "ssd300_vgg16"
FCOS = "fcos_resnet50_fpn"
FASTER_RCNN = "fasterrcnn_resnet50_fpn"
TORCHVISION = (SSD, FCOS, FASTER_RCNN)
"""Architectures that are torchvision's own, under torchvision's names."""
SSD_SIZE = 300
"""Side of the only input that ``ssd300_vgg16`` takes."""
VGG = "vgg16"
"""The backbone of ``ssd300_vgg16``."""
GROUPS = 32
"""FCOS normalises its channels in so many groups."""

UNUSED = {
    SSD: ("anchors", "backbone", "frozen_batch_norm", "levels", "channels"),
    FCOS: ("anchors",),
    FASTER_RCNN: (),
    GRADCAM: ("anchors", "channels"),
    PATCHES: ("anchors", "backbone", "levels", "channels"),
}
"""Settings that architectures do not use, beside those of RetinaNet's losses."""

MEASURED_BOXES = 5
"""The most boxes per frame that a measure of the paper asks for."""
NMS_CANDIDATES = 1000
"""Best boxes of an image that enter non-maximum suppression."""

Level = Annotated[int, bounds(2, 7)]

NAMED_WEIGHTS = ("imagenet", "phantom", "none")
"""Values of a `weights` setting that are no path."""


def unknown_architecture(name: str) -> Iterator[str]:
    """What is wrong with the name of a detector's architecture, in words."""
    known = (RETINANET, *UNUSED, *registered("detectors"))
    if name not in known:
        yield f"architecture is {name!r}: {instead(name, known)}"


def unknown_backbone(name: str) -> Iterator[str]:
    """What is wrong with the name of a backbone, in words."""
    if name not in RESNETS and not name.startswith(TIMM) and name not in registered("backbones"):
        known = ", ".join((*RESNETS, f"{TIMM}NAME", *registered("backbones")))
        yield f"backbone is {name!r}; it must be one of {known}"


@dataclass(frozen=True, kw_only=True)
class AnchorSettings(Settings):
    """The anchors at every cell of every pyramid level (paper, section 3.2: A = 12)."""

    ratios: Annotated[tuple[Positive, ...], SOME] = (1.0, 0.5, 2.0, 4.0)
    """Height over width, above 0."""
    scales: Annotated[tuple[Positive, ...], SOME] = (1.0, 2**0.5, 2.0)
    """Multiples of a level's base size, above 0."""
    base_size_strides: Positive = 4.0
    """A level's base size, in strides of that level (4: 32 px at stride 8, as RetinaNet has it)."""

    @property
    def per_cell(self) -> int:
        """Anchors at one cell."""
        return len(self.ratios) * len(self.scales)


@dataclass(frozen=True, kw_only=True)
class DetectionLossSettings(Settings):
    """Which anchors are lesions, and what a mistake costs."""

    focal_alpha: Proportion = 0.25
    """Weight of lesion anchors against background, 0 to 1."""
    focal_gamma: NotNegative = 2.0
    """How strongly easy anchors are played down, 0 or more."""
    smooth_l1_beta: NotNegative = 1 / 9
    """Offset at which the box loss turns from quadratic to linear, 0 or more."""
    box_weight: NotNegative = 1.0
    """Weight of the box loss against the classification loss, 0 or more."""
    foreground_iou: Annotated[float, bounds(above=0, most=1)] = 0.5
    """An anchor of at least this IoU with a box is a lesion, above 0 to 1."""
    background_iou: Proportion = 0.4
    """An anchor of less than this IoU with every box is background, 0 to `foreground_iou`."""

    def conflicts(self) -> Iterator[str]:
        """Thresholds out of their order."""
        if self.background_iou > self.foreground_iou:
            yield (
                f"background_iou is {self.background_iou:g}; it must be at most foreground_iou, "
                f"which is {self.foreground_iou:g}"
            )


@dataclass(frozen=True, kw_only=True)
class RetinaNetSettings(DetectionLossSettings):
    """The detector's architecture, what it is taught and what it answers."""

    size: Annotated[int, bounds(32)] = 512
    """Side of the square input in pixels, 32 or more, a multiple of the coarsest stride."""
    architecture: str = RETINANET
    """`retinanet`; torchvision's `ssd300_vgg16`, `fcos_resnet50_fpn` or `fasterrcnn_resnet50_fpn`,
    with its own losses; `gradcam`, which learns without boxes and finds them in activation maps;
    `patches`, a classifier of patches slid over the frame; or a detector of an installed package
    (`angioray.detectors`)."""
    backbone: str = "resnet50"
    """Under the pyramid: `resnet18`, `resnet34`, `resnet50`, `timm:` and a model of timm that gives
    features, or a backbone of an installed package (`angioray.backbones`)."""
    weights: str = "imagenet"
    """`imagenet`, `phantom`, `none`, or the path of a state dict of the backbone, or of a whole
    detector that `angioray.pretrain` wrote; torchvision's detectors take its backbone alone."""
    frozen_batch_norm: bool = True
    """Keep the statistics that came with the weights; needs weights."""
    levels: tuple[Level, Level] = (3, 7)
    """First and last pyramid level; level l has a stride of 2^l pixels, 2 to 7."""
    channels: Count = 256
    """Channels of the pyramid and of both sub-networks."""
    anchors: AnchorSettings = field(default_factory=AnchorSettings)
    """Shapes of the anchors."""
    nms_iou: Proportion = 0.5
    """Of two boxes overlapping by more than this IoU the better one stays, 0 to 1."""
    max_predictions: Annotated[int, bounds(MEASURED_BOXES, NMS_CANDIDATES)] = 100
    """Boxes kept per frame in predictions.json, 5 to 1000: the paper uses the best 1 and 5, COCO's
    AP 100."""

    def conflicts(self) -> Iterator[str]:
        """A backbone that is not there, and an input or a pyramid that does not fit."""
        yield from super().conflicts()
        yield from unknown_architecture(self.architecture)
        yield from unknown_backbone(self.backbone)
        if self.architecture == PATCHES and self.weights in ("imagenet", "phantom"):
            yield (
                f"weights is {self.weights}, which the architecture patches does not have; it must "
                "be none, or a file that `python -m angioray.pretrain` made for it"
            )
        if self.architecture == SSD:
            yield from self._conflicts_of_ssd()
        if self.architecture in (FCOS, FASTER_RCNN) and self.backbone not in RESNETS:
            yield (
                f"backbone is {self.backbone!r}; {self.architecture} takes one of "
                f"{', '.join(RESNETS)}"
            )
        if self.architecture == FCOS and self.channels % GROUPS:
            yield f"channels is {self.channels}; {FCOS} needs a multiple of {GROUPS}"
        if self.architecture in (RETINANET, FCOS, FASTER_RCNN):
            yield from self._conflicts_of_levels()

    def _conflicts_of_ssd(self) -> Iterator[str]:
        if self.size != SSD_SIZE:
            yield f"size is {self.size}; {SSD} takes frames of {SSD_SIZE} px alone"
        if self.weights == "phantom":
            yield (
                f"weights is 'phantom', which a ResNet learned; {SSD} has the backbone {VGG}: take "
                "`imagenet`, `none` or a file of its weights"
            )

    def _conflicts_of_levels(self) -> Iterator[str]:
        first, last = self.levels
        stride = 2**last
        if first > min(last, 5):
            yield (
                f"levels is {list(self.levels)}; it must begin with 5 or less, and end no lower "
                "than it begins"
            )
        elif self.size % stride:
            yield (
                f"size is {self.size}; it must be a multiple of {stride}, the stride of level "
                f"{last}: take {max(1, self.size // stride) * stride}, or fewer levels"
            )

    @property
    def pretrained_backbone(self) -> str:
        """The network whose published weights `imagenet` means."""
        return VGG if self.architecture == SSD else self.backbone

    @property
    def unused(self) -> tuple[str, ...]:
        """The settings that the architecture does not use, whatever their values."""
        if self.architecture not in UNUSED:
            return ()
        losses = (each.name for each in fields(DetectionLossSettings))
        return (*losses, *UNUSED[self.architecture])
