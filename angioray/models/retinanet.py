"""RetinaNet on a ResNet pyramid, for one class: stenosis (paper, section 3.2)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from angioray.models.anchors import decode, pyramid_anchors
from angioray.models.backbone import (
    FeatureBackbone,
    detector_part,
    feature_backbone,
    fold_frozen_norms,
    grey_resnet,
)
from angioray.models.convolution import Conv2d, with_fast_gradients
from angioray.models.detector import DetectionBatch, Detector, norm_layer
from angioray.models.lesion_tiles import LesionTiles
from angioray.models.losses import box_loss, classification_loss, match_anchors
from angioray.models.settings import NMS_CANDIDATES, RESNETS, RetinaNetSettings


class RetinaNet(Detector):
    """A backbone, a feature pyramid and two sub-networks, with the anchors of one image size."""

    anchors: Tensor

    def __init__(
        self,
        settings: RetinaNetSettings,
        *,
        pretrained: bool = True,
        resnet: ResNet | None = None,
    ) -> None:
        """Build the network.

        Args:
            settings: its architecture and weights.
            pretrained: False leaves the settings' weights alone, as when a checkpoint is about to
                fill it.
            resnet: takes this backbone instead of one with the settings' weights.
        """
        super().__init__()
        norm = norm_layer(settings)
        self.settings = settings
        weights = settings.weights if pretrained else "none"
        first, last = settings.levels
        # layer1 ends at level 2, layer4 at level 5; what no level needs is not built.
        stages = min(last, 5) - 1
        self.body: FeatureBackbone | None = None
        if resnet is not None or settings.backbone in RESNETS:
            resnet = resnet or grey_resnet(settings.backbone, weights, norm, stages=stages)
            fold_frozen_norms(resnet)
            self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
            self.stages = nn.ModuleList(
                [resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4][:stages]
            )
            channels = [resnet.inplanes // 2 ** (5 - level) for level in range(2, 6)]
        else:
            self.body = feature_backbone(settings.backbone, weights, norm)
            with_fast_gradients(self.body)
            channels = list(self.body.channels)
        self._stages = stages
        widths = [channels[level - 2] for level in range(first, min(last, 5) + 1)]
        self.pyramid = FeaturePyramidNetwork(
            widths,
            settings.channels,
            LastLevelP6P7(settings.channels, settings.channels) if last > 5 else None,
        )
        self.head = RetinaNetHead(settings.channels, settings.anchors.per_cell, num_classes=1)
        with_fast_gradients(self.pyramid)
        with_fast_gradients(self.head)
        scoring = self.head.classification_head
        scoring.cls_logits = _Float32Conv2d(scoring.cls_logits)
        cells = [settings.size // 2**level for level in range(first, last + 1)]
        anchors = pyramid_anchors(settings.anchors, cells, settings.size)
        self.register_buffer("anchors", anchors, persistent=False)
        reach = len(self.head.regression_head.conv) + 1
        self.tiles = LesionTiles(cells, reach, settings.anchors.per_cell)
        if pretrained and (state := detector_part(settings.weights)):
            self._load(state)

    def _load(self, state: dict[str, Tensor]) -> None:
        """Take over pyramid and sub-networks; the backbone has its weights already."""
        own = {
            key: value
            for key, value in self.state_dict().items()
            if key.startswith(("pyramid.", "head."))
        }
        unlike = [key for key in own if key not in state or state[key].shape != own[key].shape]
        if unlike or state.keys() - own.keys():
            raise ValueError(
                f"The detector in {self.settings.weights} has another architecture "
                f"({next(iter(unlike), 'more levels')} differs). Set `levels`, `channels` and "
                "`anchors` as it was pretrained with, or pretrain one with these settings."
            )
        self.load_state_dict(state, strict=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Score and place every anchor.

        Args:
            images: float[B, 1, S, S], normalised.

        Returns:
            Logits (float[B, A]) and offsets from the anchors (float[B, A, 4]).
        """
        return self.answers(self.features(images))

    def answers(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The same of images that went through the backbone."""
        answers = self.head(self.maps(features))
        return answers["cls_logits"].squeeze(-1), answers["bbox_regression"]

    def features(self, images: Tensor) -> list[Tensor]:
        """What each stage of the backbone makes of images: float[B, C, S / 4, S / 4] and on."""
        if self.body is not None:
            return list(self.body(images))[: self._stages]
        found = []
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found

    def maps(self, features: list[Tensor]) -> list[Tensor]:
        """The pyramid over the backbone's stages: float[B, C, side, side] of each level."""
        first, last = self.settings.levels
        used = {str(level): features[level - 2] for level in range(first, len(features) + 2)}
        return list(self.pyramid(used).values())[: last - first + 1]

    def lesion_tiles(self, boxes: Tensor) -> NDArray[np.int64]:
        """How many tiles of each frame have a lesion anchor (int64[N]), for ``loss``.

        Args:
            boxes: float[N, G, 4] xyxy in network pixels, padded with boxes of no area.
        """
        counts = self.tiles.count(self.anchors, boxes, self.settings)
        found: NDArray[np.int64] = counts.cpu().numpy()
        return found

    def loss(self, images: Tensor, boxes: Tensor, tiles: int | None = None) -> dict[str, Tensor]:
        """Losses of one batch: ``classification_loss`` and ``box_loss``, in float32.

        Args:
            images: float[B, 1, S, S], normalised.
            boxes: float32[B, G, 4] xyxy in network pixels, padded with boxes of no area.
            tiles: compute boxes only on so many tiles, at least as many as have a lesion anchor in
                this batch; None computes them everywhere, for the same losses.
        """
        return self.loss_of(self.features(images), boxes, tiles)

    def loss_of(
        self, features: list[Tensor], boxes: Tensor, tiles: int | None = None
    ) -> dict[str, Tensor]:
        """The same of a batch that went through the backbone."""
        maps = self.maps(features)
        logits = self.head.classification_head(maps).squeeze(-1)
        match = match_anchors(self.anchors, boxes, self.settings)
        if tiles is None:
            at = torch.arange(match.foreground.numel(), device=boxes.device)
            offsets = self.head.regression_head(maps).flatten(0, 1)
        else:
            chosen = self.tiles.choose(match, tiles)
            at = self.tiles.anchors(chosen)
            offsets = self.tiles.offsets(self.head.regression_head, maps, chosen)
        return {
            "classification_loss": classification_loss(logits.float(), match, self.settings),
            "box_loss": box_loss(offsets.float(), at, self.anchors, boxes, match, self.settings),
        }

    @torch.no_grad()
    def detect(self, images: Tensor) -> DetectionBatch:
        """The best boxes of each image after non-maximum suppression, whatever their score."""
        return self.best_boxes(*self(images))

    @torch.no_grad()
    def best_boxes(self, logits: Tensor, offsets: Tensor) -> DetectionBatch:
        """The same of what the network answered: float[B, A] and float[B, A, 4]."""
        return DetectionBatch.of_candidates(*self.candidates(logits, offsets), self.settings)

    def candidates(self, logits: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """The best K boxes before suppression: float32[B, K, 4] xyxy, scores float32[B, K]."""
        scores, best = logits.float().sigmoid().topk(min(NMS_CANDIDATES, logits.shape[1]))
        index = best[..., None].expand(-1, -1, 4)
        boxes = decode(offsets.float().gather(1, index), self.anchors[best])
        return boxes.clamp(0, self.settings.size), scores


class _Float32Conv2d(Conv2d):
    """A convolution that leaves autocast where its model is judged.

    bfloat16 has eight bits: half of all scores would equal another and could not be ranked. In
    training it is rounding like any other.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        """Take over a layer's weight and bias."""
        super().__init__(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            padding=layer.padding,  # type: ignore[arg-type]
            device="meta",
        )
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, input: Tensor) -> Tensor:
        device = input.device.type
        # Networks on no device at all, whose operations are counted, know no autocast.
        if self.training or not torch.amp.is_autocast_available(device):
            return super().forward(input)
        with torch.autocast(device, enabled=False):
            return super().forward(input.float())
