"""The box sub-network, computed only on tiles of the feature maps that have a lesion.

Only lesion anchors enter the box loss, and a handful of the pyramid's thousands of cells have any.
The sub-network is a chain of 3 x 3 convolutions, so its answer on a tile of cells depends on a
small patch of the pyramid around it: cut out, the patch gives the same answer and the same
gradients. It needs a tenth of the sub-network's operations and shortens a step by a fifth.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.retinanet import RetinaNetRegressionHead

from angioray.models.losses import Match, match_anchors
from angioray.models.settings import DetectionLossSettings

TILE = 4
"""Side of a tile in cells: a lesion's anchors cover about five cells, so one to four tiles."""

COUNTED_AT_ONCE = 64
"""Frames whose anchors are matched together when tiles are counted."""


class LesionTiles(nn.Module):
    """The tiles of a pyramid's maps, and where the patch around each of them lies."""

    cells: Tensor
    index: Tensor
    inside: Tensor

    def __init__(self, sides: Sequence[int], reach: int, per_cell: int) -> None:
        """Lay out tiles and patches.

        Args:
            sides: of each level's square map, in cells.
            reach: how far the sub-network sees from a cell, in cells: its 3 x 3 convolutions.
            per_cell: anchors of a cell.
        """
        super().__init__()
        self._reach, self._per_cell = reach, per_cell
        self._cells_of_image = sum(side**2 for side in sides)
        cells, index, inside = [], [], []
        first_cell = first_place = 0
        for side in sides:
            tiles = -(-side // TILE)
            padded = tiles * TILE + 2 * reach
            corners = torch.arange(tiles)[:, None] * TILE
            own = corners + torch.arange(TILE)
            numbers = _grid(own, side) + first_cell
            cells.append(torch.where(_both(own < side), numbers, -1))
            patch = corners + torch.arange(TILE + 2 * reach)
            # The margin around each map is as wide as the sub-network sees, so that a tile at the
            # edge finds the zeros there that padding would give it.
            index.append(_grid(patch, padded) + first_place)
            inside.append(_both((patch >= reach) & (patch < side + reach)))
            first_cell += side**2
            first_place += padded**2
        # A tile's cells (int64[T, TILE, TILE]), -1 beyond the edge of a map; the places of its
        # patch among the rows of all padded maps (int64[T, P, P]), and which are no padding.
        self.register_buffer("cells", torch.cat(cells), persistent=False)
        self.register_buffer("index", torch.cat(index), persistent=False)
        self.register_buffer("inside", torch.cat(inside), persistent=False)

    def count(self, anchors: Tensor, boxes: Tensor, settings: DetectionLossSettings) -> Tensor:
        """How many tiles of each frame have a lesion anchor.

        Args:
            anchors: float[A, 4] xyxy, cell by cell.
            boxes: float[N, G, 4] xyxy, padded with boxes of no area.
            settings: the thresholds of a match.

        Returns:
            int64[N].
        """
        parts = boxes.split(COUNTED_AT_ONCE)
        return torch.cat(
            [self._with_lesion(match_anchors(anchors, part, settings)).sum(1) for part in parts]
        )

    def choose(self, match: Match, count: int) -> Tensor:
        """The tiles of a batch that have a lesion anchor, filled up to ``count`` with others.

        Returns:
            int64[count], counted over the whole batch (image times T, plus tile).
        """
        found = self._with_lesion(match).flatten().to(torch.float32)
        # The number of tiles is fixed, for shapes must not change from step to step; those that
        # fill it up have no lesion anchor and add nothing to the loss.
        best: Tensor = found.topk(min(count, len(found)), sorted=False).indices
        return best

    def anchors(self, tiles: Tensor) -> Tensor:
        """The anchors of tiles, both counted over the whole batch; -1 where a tile has no cell.

        Returns:
            int64[N * TILE * TILE * per_cell], tile by tile, cell by cell.
        """
        image, tile = tiles // len(self.cells), tiles % len(self.cells)
        cells = self.cells[tile].flatten(1)
        cells = cells[..., None]
        each = torch.arange(self._per_cell, device=tiles.device)
        first = (image[:, None, None] * self._cells_of_image + cells) * self._per_cell
        return torch.where(cells >= 0, first + each, -1).flatten()

    def offsets(
        self, head: RetinaNetRegressionHead, maps: Sequence[Tensor], tiles: Tensor
    ) -> Tensor:
        """What the box sub-network answers on some tiles.

        Args:
            head: the sub-network.
            maps: float[B, C, S, S] of each level.
            tiles: int64[N], counted over the whole batch.

        Returns:
            float[N * TILE * TILE * per_cell, 4], the offsets of the tiles' anchors.
        """
        image, tile = tiles // len(self.cells), tiles % len(self.cells)
        rows = torch.cat([self._in_rows(level) for level in maps], dim=1)
        index = self.index[tile] + (image * rows.shape[1])[:, None, None]
        patches = rows.flatten(0, 1).index_select(0, index.flatten())
        x = patches.view(*index.shape, -1).permute(0, 3, 1, 2)
        inside = self.inside[tile][:, None]
        for convolution, activation in head.conv:
            x = activation(F.conv2d(x, convolution.weight, convolution.bias))
            inside = inside[:, :, 1:-1, 1:-1]
            # What lies outside the map is padding to the next convolution, and padding is zero.
            x = x * inside
        answers: Tensor = F.conv2d(x, head.bbox_reg.weight, head.bbox_reg.bias)
        return answers.permute(0, 2, 3, 1).reshape(-1, 4)

    def _with_lesion(self, match: Match) -> Tensor:
        """Which tiles have a lesion anchor (bool[B, T])."""
        cells = match.foreground.unflatten(1, (-1, self._per_cell)).any(dim=2)
        own = self.cells.flatten(1)
        found: Tensor = cells[:, own.clamp(min=0)] & (own >= 0)
        return found.any(dim=2)

    def _in_rows(self, level: Tensor) -> Tensor:
        """A map with its margin of zeros, a place per row (float[B, places, C])."""
        side = level.shape[-1]
        after = self._reach + -side % TILE
        padded = F.pad(level, [self._reach, after, self._reach, after])
        return padded.permute(0, 2, 3, 1).flatten(1, 2)


def _grid(along: Tensor, width: int) -> Tensor:
    """Places along one axis (int64[t, P]) as places in a plane (int64[t * t, P, P])."""
    return (along[:, None, :, None] * width + along[None, :, None, :]).flatten(0, 1)


def _both(along: Tensor) -> Tensor:
    """What holds along one axis (bool[t, P]), in a plane where it holds along both."""
    return (along[:, None, :, None] & along[None, :, None, :]).flatten(0, 1)
