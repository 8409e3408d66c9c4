"""A small U-Net (Ronneberger et al. 2015, doi 10.1007/978-3-319-24574-4_28)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (8, 16, 32, 64)
"""Of each level, the finest first; each level has half the side of the one before."""


class UNet(nn.Module):
    """One channel in, the logits of one mask of the same size out.

    Convolutions are padded and followed by batch norm, which the paper's are not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(map(_convolutions, (1, *CHANNELS), CHANNELS))
        pairs = list(pairwise(CHANNELS))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairs)
        self.join = nn.ModuleList(_convolutions(2 * a, a) for a, _ in pairs)
        self.mask = nn.Conv2d(CHANNELS[0], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (float[B, 1, S, S]) of images of that shape; S is a multiple of 8."""
        levels: list[Tensor] = []
        for down in self.down:
            images = down(functional.max_pool2d(images, 2) if levels else images)
            levels.append(images)
        images = levels.pop()
        for up, join in zip(reversed(self.up), reversed(self.join), strict=True):
            images = join(torch.cat([levels.pop(), up(images)], dim=1))
        logits: Tensor = self.mask(images)
        return logits


def _convolutions(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        *(
            layer
            for channels in (before, after)
            for layer in (
                nn.Conv2d(channels, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            )
        )
    )
