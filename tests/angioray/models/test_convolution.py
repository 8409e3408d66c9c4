"""The faster way to a weight gradient gives the gradient."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from angioray.models.convolution import Conv2d, WeightGradientByRows, with_fast_gradients


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "biased"),
    [(3, 3, 1, True), (3, 3, 2, False), (1, 7, 2, False), (1, 3, 1, True)],
)
def test_gradients_are_those_of_differences(
    channels: int, kernel: int, stride: int, biased: bool
) -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        return values.requires_grad_()

    inputs = drawn(2, channels, 9, 8), drawn(4, channels, kernel, kernel)
    bias = drawn(4) if biased else None
    padding = (kernel // 2,) * 2
    assert torch.autograd.gradcheck(
        WeightGradientByRows.apply, (*inputs, bias, (stride, stride), padding)
    )


def gradients(model: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """Of the sum of squared answers."""
    model.zero_grad()
    model(images).square().mean().backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_a_model_trains_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 7, stride=2, padding=3), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)
    ).to(memory_format=torch.channels_last)
    images = torch.randn(2, 1, 100, 100)
    expected = gradients(model, images)
    with_fast_gradients(model)
    assert [type(layer) for layer in model] == [Conv2d, nn.ReLU, Conv2d]
    taken: list[torch.Size] = []
    own = WeightGradientByRows.apply

    def watched(input: torch.Tensor, *others: object) -> torch.Tensor:
        taken.append(input.shape)
        return own(input, *others)

    monkeypatch.setattr(WeightGradientByRows, "apply", watched)
    for capability, times in (("AVX512", 0), ("AVX2", 2)):
        monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda c=capability: c)
        taken.clear()
        found = gradients(model, images)
        assert len(taken) == times
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        model(images)
    with torch.autocast("cpu", torch.bfloat16):
        model(images)
    assert len(taken) == 2
    model[2](torch.randn(1, 8, 40, 40))
    assert len(taken) == 2
    assert torch.equal(model[0](images), F.conv2d(images, model[0].weight, model[0].bias, 2, 3))
