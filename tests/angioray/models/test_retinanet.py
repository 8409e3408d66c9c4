"""RetinaNet is torchvision's: with its weights, the same answers, losses, gradients and boxes."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from angioray.models.backbone import GREY_MEAN, GREY_STD
from angioray.models.retinanet import RetinaNet
from angioray.models.settings import RetinaNetSettings
from angioray.training.frames import normalise

SETTINGS = RetinaNetSettings(
    size=128,
    backbone="resnet18",
    weights="none",
    frozen_batch_norm=False,
    smooth_l1_beta=0,  # theirs is L1
    max_predictions=20,
)
STAGES = {f"stages.{i}": f"layer{i + 1}" for i in range(4)}
NAMES = {
    "stem.0": "backbone.body.conv1",
    "stem.1": "backbone.body.bn1",
    **{ours: f"backbone.body.{theirs}" for ours, theirs in STAGES.items()},
    "pyramid": "backbone.fpn",
    "head": "head",
}
"""What torchvision calls our modules."""
LOSSES = {"classification_loss": "classification", "box_loss": "bbox_regression"}

PIXELS = torch.randint(
    0, 256, (3, 1, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)
# Two lesions, one of them so small that no anchor fits it well; one at an edge; and none.
BOXES = torch.tensor(
    [
        [[40.0, 44, 80, 90], [100, 20, 104, 31]],
        [[96, 100, 128, 128], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0]],
    ]
)


@pytest.fixture
def both() -> tuple[RetinaNet, detection.RetinaNet]:
    """Ours with weights at random, and theirs with the same weights."""
    torch.manual_seed(0)
    ours = RetinaNet(SETTINGS)
    for parameter in ours.head.parameters():  # far from what it begins with
        nn.init.normal_(parameter, std=0.02)
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18",
        weights=None,
        norm_layer=nn.BatchNorm2d,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    scales = SETTINGS.anchors.scales
    theirs = detection.RetinaNet(
        backbone,
        num_classes=1,
        min_size=SETTINGS.size,
        max_size=SETTINGS.size,
        image_mean=[GREY_MEAN] * 3,
        image_std=[GREY_STD] * 3,
        anchor_generator=AnchorGenerator(
            tuple(tuple(4 * 2**level * scale for scale in scales) for level in range(3, 8)),
            (SETTINGS.anchors.ratios,) * 5,
        ),
        score_thresh=0.0,
    )
    state = {theirs_called(name): value for name, value in ours.state_dict().items()}
    stem = state["backbone.body.conv1.weight"]
    # Three equal channels, each with a third of our kernel.
    state["backbone.body.conv1.weight"] = stem.expand(-1, 3, -1, -1) / 3
    theirs.load_state_dict(state)
    return ours, theirs


def theirs_called(name: str) -> str:
    """Torchvision's name of our tensor."""
    (room,) = (room for room in NAMES if name.startswith(f"{room}."))
    return NAMES[room] + name.removeprefix(room)


def test_answers_losses_and_gradients_are_torchvisions(
    both: tuple[RetinaNet, detection.RetinaNet],
) -> None:
    ours, theirs = (model.double() for model in both)
    images = (PIXELS.double() / 255 - GREY_MEAN) / GREY_STD
    torch.testing.assert_close(normalise(PIXELS).double(), images, rtol=0, atol=1e-5)
    targets = [
        {"boxes": boxes, "labels": torch.zeros(len(boxes), dtype=torch.int64)}
        for boxes in (each[each[:, 2] > each[:, 0]] for each in BOXES)
    ]
    answers: dict[str, Tensor] = {}
    theirs.head.register_forward_hook(lambda module, given, found: answers.update(found))
    expected = theirs(coloured(torch.float64), targets)
    features = [torch.empty(1, 1, side, side) for side in (16, 8, 4, 2, 1)]
    anchors = theirs.anchor_generator(ImageList(images, [(128, 128)]), features)[0]
    torch.testing.assert_close(ours.anchors, anchors.double())
    logits, offsets = ours.answers(ours.features(images))
    torch.testing.assert_close(logits, answers["cls_logits"].squeeze(-1), rtol=0, atol=1e-6)
    torch.testing.assert_close(offsets, answers["bbox_regression"], rtol=0, atol=1e-6)
    losses = ours.loss(images, BOXES, tiles=int(ours.lesion_tiles(BOXES).sum()))
    for name, theirs_name in LOSSES.items():
        torch.testing.assert_close(losses[name].float(), expected[theirs_name].float())
    torch.stack(list(losses.values())).sum().backward()
    torch.stack(list(expected.values())).sum().backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        found, gradient = parameter.grad, gradients[theirs_called(name)]
        assert found is not None and gradient is not None and found.any(), name
        if name == "stem.0.weight":
            gradient = gradient[:, :1]  # a third of the kernel, and three channels: the same
        scale = gradient.abs().max()
        torch.testing.assert_close(found / scale, gradient / scale, rtol=0, atol=1e-3, msg=name)


def test_boxes_are_torchvisions(both: tuple[RetinaNet, detection.RetinaNet]) -> None:
    ours, theirs = (model.eval() for model in both)
    found = ours.detect(normalise(PIXELS))
    for i, expected in enumerate(theirs(coloured())):
        boxes, scores = expected["boxes"], expected["scores"]
        # Theirs also gives what is left of boxes outside of the image: lines and points.
        solid = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1) >= 1
        assert not solid.all()
        torch.testing.assert_close(found.scores[i], scores[solid][: SETTINGS.max_predictions])
        kept = boxes[solid][: SETTINGS.max_predictions]
        torch.testing.assert_close(found.boxes_xyxy[i], kept, rtol=1e-4, atol=1e-3)


def coloured(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """The pixels as torchvision takes them."""
    return list((PIXELS.to(dtype) / 255).expand(-1, 3, -1, -1))
