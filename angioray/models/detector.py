"""What is asked of a detector network, of whatever architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class DetectionBatch:
    """Boxes of many frames, best first, padded to the same number.

    Attributes:
        boxes_xyxy: float32[N, D, 4] in network pixels.
        scores: float32[N, D]; padding has score -1.
    """

    boxes_xyxy: Tensor
    scores: Tensor


class Detector(nn.Module, ABC):
    """A network that learns from boxes and answers with boxes.

    Images are float[B, 1, S, S], normalised. Boxes are xyxy in network pixels. Called as a module,
    it does the work of a forward pass, of which operations and memory are counted.
    """

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
