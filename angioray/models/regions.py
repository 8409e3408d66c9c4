"""What a detector sees in given boxes: the features of its stages, averaged over each box."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import roi_align

from angioray.models.retinanet import RetinaNet

NO_FEATURES = "Of all detectors, RetinaNet alone gives features of regions."
"""Why nothing is learned from those of another one."""


@torch.no_grad()
def pool_regions(network: RetinaNet, images: Tensor, boxes: list[Tensor]) -> Tensor:
    """Features of boxes (float32[K, C]), those of the images' first to last box in turn.

    Args:
        network: the detector, for judging.
        images: [B, 1, S, S], normalised.
        boxes: for each image float32[G, 4], xyxy in network pixels.
    """
    maps = network.features(images)
    maps += network.maps(maps)
    size = network.settings.size
    pooled = [
        roi_align(
            each.float(), boxes, output_size=1, spatial_scale=each.shape[-1] / size, aligned=True
        )
        for each in maps
    ]
    return torch.cat([each.flatten(1) for each in pooled], dim=1)
