"""Grad-CAM (Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74), and its sanity check."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def grad_cam(
    model: nn.Module, images: Tensor, class_index: int, layer: nn.Module
) -> tuple[Tensor, Tensor]:
    """Maps of what speaks for one class: a layer's channels weighted by their mean gradients.

    Args:
        model: gives logits float[N, K]; used in evaluation mode and left as it was.
        images: float[N, 1, H, W], normalised as the model takes them.
        class_index: the class that is explained, 0 to K - 1.
        layer: the module whose output is weighted, usually the last convolutional block
            (``model.layer4``); it gives float[N, C, h, w].

    Returns:
        The maps (float32[N, H, W], 0 to 1): each divided by its greatest value, all 0 where nothing
        speaks for the class. And the logits (float[N, K]).
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        kept.append(output)

    was_training = model.training
    model.eval()
    hook = layer.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            # With frozen weights only the images can carry a gradient to the layer.
            logits = model(images.detach().requires_grad_())
            (gradients,) = torch.autograd.grad(logits[:, class_index].sum(), kept[-1])
    finally:
        hook.remove()
        model.train(was_training)
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    maps = (weights * kept[-1].detach()).sum(dim=1, keepdim=True).relu().float()
    maps = F.interpolate(maps, size=images.shape[-2:], mode="bilinear", align_corners=False)
    greatest = maps.amax(dim=(2, 3), keepdim=True)
    relative = torch.where(greatest > 0, maps / greatest.clamp_min(1e-12), 0.0)[:, 0]
    return relative, logits.detach()


def randomised(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """A copy of a network with all weights drawn anew: what a map would be had nothing been learnt.

    The sanity check of Adebayo et al. 2018 (arXiv 1810.03292): a map that stays as it is under
    random weights shows the picture, not the network.
    """
    copied = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in copied.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    return copied


def map_correlations(maps: Tensor, others: Tensor) -> Tensor:
    """Pearson correlation of each map with its counterpart (float64[N]; both float[N, H, W]).

    NaN where a map is the same everywhere.
    """
    first, second = ((m - m.mean(dim=1, keepdim=True)) for m in _flat(maps, others))
    norms = first.norm(dim=1) * second.norm(dim=1)
    return (first * second).sum(dim=1) / torch.where(norms > 0, norms, torch.nan)


def _flat(*maps: Tensor) -> tuple[Tensor, ...]:
    return tuple(m.double().flatten(1) for m in maps)
