"""Frozen batch norms folded into convolutions: the same numbers, gradients and training."""

import pytest
import torch
from torch import nn
from torchvision.models import get_model
from torchvision.ops import FrozenBatchNorm2d

from angioray.models.backbone import fold_frozen_norms


def with_statistics(name: str) -> nn.Module:
    """A ResNet whose frozen statistics are drawn, so that no scale is 1 by chance."""
    torch.manual_seed(1)
    model = get_model(name, weights=None, norm_layer=FrozenBatchNorm2d)
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.weight.uniform_(0.3, 0.7)
            module.bias.normal_(0, 0.2)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    return model


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_folding_changes_neither_the_answers_nor_the_training(name: str) -> None:
    plain, folded = with_statistics(name), with_statistics(name)
    fold_frozen_norms(folded)
    assert not any(isinstance(module, FrozenBatchNorm2d) for module in folded.modules())
    images = torch.randn(2, 3, 32, 32)
    for model in (plain, folded):
        model.double()
        optimiser = torch.optim.SGD(model.parameters(), 1e-2, weight_decay=1e-2)
        for _ in range(3):
            model(images.double()).square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()
    torch.testing.assert_close(plain(images.double()), folded(images.double()))
    trained = dict(folded.named_parameters())
    assert {name for name, _ in plain.named_parameters()} == trained.keys()
    for key, parameter in plain.named_parameters():
        torch.testing.assert_close(parameter, trained[key])
