"""Anchors and box offsets, against torchvision and by hand."""

import math

import pytest
import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou

from angioray.models.anchors import decode, encode, pairwise_iou, pyramid_anchors
from angioray.models.settings import AnchorSettings


def random_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 80
    return torch.cat([corner, corner + 4 + torch.rand(count, 2, generator=generator) * 40], dim=1)


def test_the_papers_pyramid_has_65472_anchors() -> None:
    anchors = pyramid_anchors(AnchorSettings(), [64, 32, 16, 8, 4], 512)
    assert anchors.shape == (12 * (64**2 + 32**2 + 16**2 + 8**2 + 4**2), 4)


def test_a_cells_anchors_by_hand() -> None:
    settings = AnchorSettings(ratios=(1.0, 4.0), scales=(1.0,), base_size_strides=4.0)
    first, second = pyramid_anchors(settings, [8], 64)[:2].tolist()
    assert first == [-16, -16, 16, 16]  # 32 x 32 around the first cell's corner
    assert second == [-8, -32, 8, 32]  # height over width is 4, the area stays


def test_encode_by_hand() -> None:
    anchor = torch.tensor([0.0, 0.0, 10.0, 20.0])
    box = torch.tensor([5.0, 5.0, 25.0, 15.0])
    expected = [(15 - 5) / 10, (10 - 10) / 20, math.log(2), math.log(0.5)]
    assert encode(box, anchor).tolist() == pytest.approx(expected)


def test_offsets_are_torchvisions() -> None:
    boxes, anchors = random_boxes(50, 0), random_boxes(50, 1)
    coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
    offsets = encode(boxes, anchors)
    torch.testing.assert_close(offsets, coder.encode_single(boxes, anchors))
    torch.testing.assert_close(decode(offsets, anchors), boxes)
    wild = offsets * 30
    torch.testing.assert_close(decode(wild, anchors), coder.decode_single(wild, anchors))


def test_iou_is_torchvisions_and_0_for_padding() -> None:
    anchors, boxes = random_boxes(40, 2), random_boxes(6, 3).view(2, 3, 4)
    boxes[1, 2] = 0
    iou = pairwise_iou(anchors, boxes)
    torch.testing.assert_close(iou[0], box_iou(anchors, boxes[0]))
    assert (iou[1, :, 2] == 0).all()
