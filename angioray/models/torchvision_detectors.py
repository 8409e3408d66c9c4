"""torchvision's SSD, FCOS and Faster R-CNN, trained and judged as RetinaNet is.

Losses, matching and suppression are torchvision's own. With the levels 3 to 7 (FCOS) or 2 to 6 and
torchvision's anchors (Faster R-CNN) over a ResNet-50 with 256 channels, the networks are as well,
but for the ResNets' grey stem; SSD always is. All layers train, as RetinaNet's do. SSD learns from
three background boxes of a frame for each of its lesion boxes: frames without a lesion teach it
nothing.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from angioray.models.anchors import anchor_generator
from angioray.models.backbone import backbone_state, fold_frozen_norms, grey_resnet
from angioray.models.convolution import with_fast_gradients
from angioray.models.detector import DetectionBatch, Detector, norm_layer
from angioray.models.settings import FCOS, NMS_CANDIDATES, SSD, VGG, RetinaNetSettings

AS_IT_IS = {"image_mean": [0.0], "image_std": [1.0]}
"""Frames are normalised already, and have the network's size."""


class TorchvisionDetector(Detector):
    """One of torchvision's detectors, for grey frames and one class."""

    compiles = False

    def __init__(self, settings: RetinaNetSettings, *, pretrained: bool = True) -> None:
        """Build the network.

        Args:
            settings: its architecture, one of ``settings.TORCHVISION``, and weights.
            pretrained: False leaves the settings' weights alone.

        Raises:
            ValueError: the weights cannot be had, or do not fit the network.
        """
        super().__init__()
        weights = settings.weights if pretrained else "none"
        build = _ssd if settings.architecture == SSD else _over_pyramid
        self.model: Any = build(settings, weights)
        with_fast_gradients(self.model)
        # FCOS has no class for the background.
        self._lesion = 0 if settings.architecture == FCOS else 1

    def forward(self, images: Tensor) -> Any:
        """What the layers answer of float[B, 1, S, S], for their operations to be counted."""
        maps = list(self.model.backbone(images).values())
        if not isinstance(self.model, detection.FasterRCNN):
            return self.model.head(maps)
        heads = self.model.roi_heads
        regions = len(images) * heads.fg_bg_sampler.batch_size_per_image
        pooled = maps[0].new_empty(regions, maps[0].shape[1], *heads.box_roi_pool.output_size)
        return self.model.rpn.head(maps), heads.box_predictor(heads.box_head(pooled))

    def loss(self, images: Tensor, boxes: Tensor, tiles: int | None = None) -> dict[str, Tensor]:
        """torchvision's losses of one batch, under torchvision's names; ``tiles`` means nothing."""
        del tiles
        real = (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)
        targets = [
            {"boxes": each, "labels": torch.full((len(each),), self._lesion, device=each.device)}
            for each in boxes[real].split(real.sum(dim=1).tolist())
        ]
        with torch.autocast(images.device.type, enabled=False):
            losses: dict[str, Tensor] = self.model(list(images), targets)
        return losses

    @torch.no_grad()
    def detect(self, images: Tensor) -> DetectionBatch:
        """The best boxes of each image after non-maximum suppression, whatever their score."""
        with torch.autocast(images.device.type, enabled=False):
            found = self.model(list(images))
        # A box clamped away to nothing is no box.
        solid = [(f["boxes"][:, 2:] - f["boxes"][:, :2]).amin(dim=1) >= 1 for f in found]
        boxes, scores = (
            [f[name][keep] for f, keep in zip(found, solid, strict=True)]
            for name in ("boxes", "scores")
        )
        return DetectionBatch(
            pad_sequence(boxes, batch_first=True),
            pad_sequence(scores, batch_first=True, padding_value=-1.0),
        )


class _Backbone(nn.Module):
    """A backbone in the precision of its images, whose maps are float32.

    torchvision computes anchors, boxes and scores in the precision of the maps: in bfloat16 an
    anchor beyond 256 px would be off by a pixel, and equal scores could not be ranked.
    """

    def __init__(self, backbone: nn.Module, *, image_channels: int, maps: int | None) -> None:
        """Take over a backbone.

        Args:
            backbone: gives its maps by name, the finest first.
            image_channels: how often it wants the grey channel.
            maps: how many of its maps are used; None for all.
        """
        super().__init__()
        self.backbone = backbone
        self.out_channels: Any = getattr(backbone, "out_channels", None)
        self._image_channels, self._maps = image_channels, maps

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The maps of float[B, 1, S, S] or bfloat16, by name: float32[B, C, side, side]."""
        whole = images.dtype == torch.float32
        with nullcontext() if whole else torch.autocast(images.device.type, images.dtype):
            maps = self.backbone(images.expand(-1, self._image_channels, -1, -1))
        return {name: maps[name].float() for name in islice(maps, self._maps)}


def _ssd(settings: RetinaNetSettings, weights: str) -> Any:
    model = detection.ssd300_vgg16(
        weights=None,
        weights_backbone=None,
        num_classes=2,
        score_thresh=0.0,
        nms_thresh=settings.nms_iou,
        detections_per_img=settings.max_predictions,
        topk_candidates=NMS_CANDIDATES,
        **AS_IT_IS,
    )
    if weights != "none":
        _load_vgg(model.backbone, weights)
    model.backbone = _Backbone(model.backbone, image_channels=3, maps=None)
    return model


def _load_vgg(backbone: Any, weights: str) -> None:
    """Fill the 13 convolutions of VGG-16, the first layers of SSD's backbone, in their order."""
    state = backbone_state(VGG, weights)
    given = [value for key, value in state.items() if key.startswith("features.")]
    layers = chain(backbone.features.parameters(), backbone.extra[0].parameters())
    own = list(islice(layers, 2 * 13))
    if [value.shape for value in given] != [layer.shape for layer in own]:
        raise ValueError(
            f"The weights in {weights} do not fit the network: expected the {len(own)} tensors "
            f"`features.*` of torchvision's {VGG}, found {len(given)} tensors of that name."
        )
    with torch.no_grad():
        for layer, value in zip(own, given, strict=True):
            layer.copy_(value)


def _over_pyramid(settings: RetinaNetSettings, weights: str) -> Any:
    channels, (first, last) = settings.channels, settings.levels
    stages = range(first, min(last, 5) + 1)
    resnet = grey_resnet(settings.backbone, weights, norm_layer(settings), stages=stages[-1] - 1)
    fold_frozen_norms(resnet)
    pyramid = BackboneWithFPN(
        resnet,
        {f"layer{level - 1}": str(level - first) for level in stages},  # as RoI pooling names them
        [resnet.inplanes // 2 ** (5 - level) for level in stages],
        channels,
        LastLevelP6P7(channels, channels) if last > 6 else LastLevelMaxPool(),
    )
    backbone = _Backbone(pyramid, image_channels=1, maps=last - first + 1)
    strides = [2**level for level in range(first, last + 1)]
    # Sizes are multiples of the coarsest stride, so nothing is padded or resized.
    image = {"min_size": settings.size, "max_size": settings.size, "size_divisible": 1, **AS_IT_IS}
    if settings.architecture == FCOS:
        return detection.FCOS(
            backbone,
            num_classes=1,
            anchor_generator=AnchorGenerator(
                tuple((stride,) for stride in strides), ((1.0,),) * len(strides)
            ),
            score_thresh=0.0,
            nms_thresh=settings.nms_iou,
            detections_per_img=settings.max_predictions,
            topk_candidates=NMS_CANDIDATES,
            **image,
        )
    return detection.FasterRCNN(
        backbone,
        num_classes=2,
        rpn_anchor_generator=anchor_generator(settings.anchors, strides),
        box_score_thresh=0.0,
        box_nms_thresh=settings.nms_iou,
        box_detections_per_img=settings.max_predictions,
        **image,
    )
