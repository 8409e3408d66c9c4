"""Convolutions whose weight gradient is faster on CPUs with AVX2 alone.

On two such cores, with channels last, the weight gradient of a 3 x 3 convolution over maps of 64 x
64 cells and more runs at a third to two thirds of the speed of the forward pass. Over tensors that
are contiguous row by row oneDNN has no such weakness, and copying them costs far less than it
brings. The stem has one input channel: there its patches are laid out and multiplied.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pair = tuple[int, int]

WIDE_CELLS = 48 * 48
"""Maps of fewer cells gain nothing."""


class Conv2d(nn.Conv2d):
    """A convolution that takes the faster way to its weight gradient."""

    def forward(self, input: Tensor) -> Tensor:
        """As ``torch.nn.Conv2d``."""
        if self.groups == 1 and self.dilation == (1, 1):
            return conv2d(input, self.weight, self.bias, self.stride, self.padding)  # type: ignore[arg-type]
        return super().forward(input)


def with_fast_gradients(model: nn.Module) -> None:
    """Let every plain convolution of a model take the faster way, in place."""
    for module in model.modules():
        if type(module) is nn.Conv2d and not isinstance(module.padding, str):
            module.__class__ = Conv2d


def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
) -> Tensor:
    """``torch.nn.functional.conv2d`` with one group and no dilation; the same numbers, rounding
    aside."""
    if _slow_as_it_is(input, weight):
        convolved: Tensor = WeightGradientByRows.apply(input, weight, bias, stride, padding)
        return convolved
    return F.conv2d(input, weight, bias, stride, padding)


def _slow_as_it_is(input: Tensor, weight: Tensor) -> bool:
    return (
        input.device.type == "cpu"
        and input.dtype == torch.float32
        and weight.requires_grad
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and weight.shape[-1] > 1
        and (weight.shape[1] == 1 or input.shape[-1] * input.shape[-2] >= WIDE_CELLS)
        and torch.backends.cpu.get_cpu_capability() == "AVX2"
    )


class WeightGradientByRows(torch.autograd.Function):
    """A convolution whose weight gradient is computed on contiguous copies."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
    ) -> Tensor:
        """The convolution as it is."""
        ctx.save_for_backward(input, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(input, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of input, weight and bias."""
        input, weight = ctx.saved_tensors
        of_input = of_bias = None
        if ctx.needs_input_grad[0]:
            of_input = _convolution_backward(gradient, input, weight, ctx, (True, False, False))[0]
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(dim=(0, 2, 3))
        if weight.shape[1] == 1:
            of_weight = _by_patches(gradient, input, weight, ctx.stride, ctx.padding)
        else:
            rows = (gradient.contiguous(), input.contiguous(), weight.contiguous())
            of_weight = _convolution_backward(*rows, ctx, (False, True, False))[1]
            of_weight = of_weight.contiguous(memory_format=torch.channels_last)
        return of_input, of_weight, of_bias, None, None


def _convolution_backward(
    gradient: Tensor, input: Tensor, weight: Tensor, ctx: Any, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, ...]:
    answers: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        gradient, input, weight, None, ctx.stride, ctx.padding, [1, 1], False, [0, 0], 1, wanted
    )
    return answers


def _by_patches(
    gradient: Tensor, input: Tensor, weight: Tensor, stride: Pair, padding: Pair
) -> Tensor:
    """The gradient of a weight with one input channel: patches of the input times the gradient."""
    patches = F.unfold(input, weight.shape[-2:], padding=padding, stride=stride)  # [B, K * K, L]
    by_cell = gradient.permute(0, 2, 3, 1).flatten(1, 2)  # [B, L, O]
    return torch.bmm(patches, by_cell).sum(dim=0).T.reshape(weight.shape)
