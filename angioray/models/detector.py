"""What is asked of a detector network, of whatever architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d, batched_nms

from angioray.models.settings import RetinaNetSettings


@dataclass(frozen=True)
class DetectionBatch:
    """Boxes of many frames, best first, padded to the same number.

    Attributes:
        boxes_xyxy: float32[N, D, 4] in network pixels.
        scores: float32[N, D]; padding has score -1.
    """

    boxes_xyxy: Tensor
    scores: Tensor

    @classmethod
    def of_candidates(
        cls, boxes: Tensor, scores: Tensor, settings: RetinaNetSettings
    ) -> DetectionBatch:
        """The best boxes of each image after non-maximum suppression.

        Args:
            boxes: float32[N, K, 4] xyxy, within the image.
            scores: float32[N, K]; what is no candidate has score -1.
            settings: ``nms_iou``, and ``max_predictions`` of an image.
        """
        N, K = scores.shape
        image = torch.arange(N, device=scores.device).repeat_interleave(K)
        # A box clamped away to nothing is no box.
        solid = (boxes[..., 2:] - boxes[..., :2]).amin(dim=-1) >= 1
        kept = batched_nms(boxes.flatten(0, 1).float(), scores.flatten(), image, settings.nms_iou)
        survives = torch.zeros(N * K, dtype=torch.bool, device=scores.device)
        survives[kept] = True
        scores = torch.where(survives.view(N, K) & solid, scores, -1.0)
        scores, order = scores.topk(min(settings.max_predictions, K))
        return cls(boxes.gather(1, order[..., None].expand(-1, -1, 4)), scores)


class Detector(nn.Module, ABC):
    """A network that learns from boxes and answers with boxes.

    Images are float[B, 1, S, S], normalised. Boxes are xyxy in network pixels. Called as a module,
    it does the work of a forward pass, of which operations and memory are counted.
    """

    compiles = True
    """Whether ``loss`` becomes one graph: no shape in it depends on what frames show."""

    @abstractmethod
    def loss(self, images: Tensor, boxes: Tensor, tiles: int | None = None) -> dict[str, Tensor]:
        """The losses of a batch by name, in float32; training lowers their sum.

        Args:
            images: some perhaps without a lesion.
            boxes: float32[B, G, 4], padded with boxes of no area.
            tiles: as many as ``lesion_tiles`` counts in any batch, or more.
        """

    @abstractmethod
    def detect(self, images: Tensor) -> DetectionBatch:
        """The best boxes of each image, whatever their score; without gradients."""

    def lesion_tiles(self, boxes: Tensor) -> NDArray[np.int64]:
        """How many parts of each frame ``loss`` must look at more closely (int64[N]); here none.

        Args:
            boxes: float[N, G, 4], padded with boxes of no area.
        """
        return np.zeros(len(boxes), np.int64)


def norm_layer(settings: RetinaNetSettings) -> Callable[[int], nn.Module]:
    """What builds a detector's batch norms, given their channels.

    Raises:
        ValueError: they are to keep the statistics of weights, and there are none.
    """
    if not settings.frozen_batch_norm:
        return nn.BatchNorm2d
    if settings.weights == "none":
        raise ValueError(
            "frozen_batch_norm keeps the statistics of pretrained weights, but weights are `none`. "
            "Set frozen_batch_norm to false, or give weights."
        )
    frozen: Callable[[int], nn.Module] = FrozenBatchNorm2d
    return frozen
