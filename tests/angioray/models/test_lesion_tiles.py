"""Boxes computed on tiles with lesions: the losses and gradients of boxes computed everywhere."""

import pytest
import torch

from angioray.models.anchors import pyramid_anchors
from angioray.models.lesion_tiles import LesionTiles
from angioray.models.losses import match_anchors
from angioray.models.retinanet import RetinaNet
from angioray.models.settings import AnchorSettings, DetectionLossSettings, RetinaNetSettings
from tests.angioray.settings import TOY

FINE = RetinaNetSettings(
    size=384,  # maps of 48, 24, 12, 6 and 3 cells: the last two are no multiple of a tile
    backbone="resnet18",
    weights="none",
    frozen_batch_norm=False,
    levels=(3, 7),
    channels=16,
    anchors=AnchorSettings(ratios=(1.0, 0.5), scales=(1.0,), base_size_strides=4.0),
)
# In the middle, at two corners and along an edge, so that patches reach over every margin.
BOXES = torch.tensor(
    [
        [[40.0, 44, 80, 90], [0, 0, 30, 28]],
        [[96, 100, 128, 128], [0, 60, 25, 90]],
        [[0, 0, 0, 0], [0, 0, 0, 0]],
    ]
)


@pytest.mark.parametrize("settings", [FINE, TOY.detector], ids=["five levels", "toy"])
@pytest.mark.parametrize("spare", [0, 7])
def test_losses_and_gradients_are_those_of_boxes_everywhere(
    settings: RetinaNetSettings, spare: int
) -> None:
    torch.manual_seed(0)
    model = RetinaNet(settings).double()
    boxes = BOXES.double() * settings.size / 128
    images = torch.randn(3, 1, settings.size, settings.size, dtype=torch.float64)
    count = int(model.tiles.count(model.anchors, boxes, settings).sum())
    assert count > 2
    found = []
    for tiles in (None, count + spare):
        losses = model.loss(images, boxes, tiles)
        # The whole loss is in float32, as in training; only what is before it is exact.
        losses["box_loss"].backward()
        found.append((losses["box_loss"], [p.grad for p in model.parameters()]))
        model.zero_grad()
    everywhere, on_tiles = found
    torch.testing.assert_close(on_tiles[0], everywhere[0])
    pairs = list(zip(everywhere[1], on_tiles[1], strict=True))
    assert sum(one is not None and bool(one.any()) for one, _ in pairs) > 10
    for one, other in pairs:
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-7)


def test_tiles_by_hand() -> None:
    # Six cells of 8 pixels a side and two anchors each: four tiles, three of them cut by an edge.
    anchors = pyramid_anchors(
        AnchorSettings(ratios=(1.0, 4.0), scales=(1.0,), base_size_strides=1.0), [6], 48
    )
    tiles = LesionTiles([6], 1, 2)
    # The first anchor of the cell in row 1 and column 4: the second tile's, its first column.
    boxes = torch.stack([torch.zeros(1, 4), anchors[20:21]])
    settings = DetectionLossSettings()
    assert tiles.count(anchors, boxes, settings).tolist() == [0, 1]
    match = match_anchors(anchors, boxes, settings)
    assert tiles.choose(match, 1).tolist() == [4 + 1]
    assert sorted(tiles.choose(match, 99).tolist()) == list(range(8))
    of_second = tiles.anchors(torch.tensor([1])).view(4, 4, 2)
    assert of_second[1].tolist() == [[20, 21], [22, 23], [-1, -1], [-1, -1]]
    of_next_image = tiles.anchors(torch.tensor([5])).view(4, 4, 2)
    assert of_next_image[1, 0].tolist() == [72 + 20, 72 + 21]
    last = tiles.anchors(torch.tensor([3])).view(4, 4, 2)
    assert (last >= 0).sum() == 2 * 2 * 2 and last[1, 1].tolist() == [70, 71]


def test_the_step_on_tiles_is_one_graph() -> None:
    model = RetinaNet(TOY.detector)
    images, boxes = torch.randn(3, 1, 64, 64), BOXES / 2
    eager = model.loss(images, boxes, 16)
    compiled = torch.compile(model.loss, fullgraph=True, backend="aot_eager")(images, boxes, 16)
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)
